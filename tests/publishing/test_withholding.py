"""What an edition shows of a run: no picture that has no licence to be published, wherever in a page it could stand."""

import base64
import html

import nbformat
import pytest
import rasters
from nbformat.v4 import new_output
from PIL import Image
from tiny_vlm import PROMPTS, TinySae, shared_vlm, tiny_pictures
from toy_notebooks import toy_notebook, write_checkout

from vlm_sae_lib import paths
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.publishing import editions, notebooks, withholding
from vlm_sae_lib.publishing.runner import Run, run
from vlm_sae_lib.show.explorer import Neuron, explorer_data, explorer_html, without_pictures
from vlm_sae_lib.terms import INAT2021, POCKET, Credit, credited

TAXON = "00042_Animalia_Arthropoda_Insecta_Coleoptera_Coccinellidae_Coccinella_septempunctata"
SETUP = """import matplotlib.pyplot as plt
import numpy as np
from vlm_sae_lib import load_pictures, pocket_pictures
from vlm_sae_lib.show.neurons import Strip, neuron_strips
from vlm_sae_lib.show.style import use_style
use_style()
photos = load_pictures("inat2021:{root}")
(Strip("a latent", [0, 1]), [plt.plot([1, 2]), plt.show()]);"""
CELLS = {
    "strips": 'neuron_strips([Strip("a latent", [0, 1])], dict(photos))\nplt.show()',
    "by itself": "plt.imshow(np.asarray(photos.picture(0)))\nplt.show()",
    "a last line": 'neuron_strips([Strip("a latent", [0])], dict(photos))',
    "a widget": "import io, ipywidgets\nphotos.picture(0).save(file := io.BytesIO(), 'png')\n"
                "ipywidgets.VBox([ipywidgets.Image(value=file.getvalue())])",
    "a table": "import pandas as pd\npd.DataFrame({'name': ['a ladybird']})",
    "our own": "plt.imshow(np.asarray(pocket_pictures(1, 0).picture(0)));\nplt.show()\n"
               "from vlm_sae_lib.show.pictures import picture_grid\n"
               "picture_grid([pocket_pictures(1, 0).picture(0)])\nplt.show()",
}  # fmt: skip


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two signed pictures of iNaturalist."""
    root = tmp_path_factory.mktemp("photos")
    (root / TAXON).mkdir()
    for i in range(2):
        rasters.sign(Image.new("RGB", (64, 64), "green")).save(root / TAXON / f"{i}.jpg")
    return root


@pytest.fixture
def edition_of(tmp_path, monkeypatch, photos):
    """Run one notebook of some cells under `light` and write the edition's source."""
    monkeypatch.delenv("VLM_SAE_RUNS", raising=False)
    monkeypatch.setenv("VLM_SAE_ROOT", str(tmp_path))

    def make(*cells: str):
        notebook = toy_notebook("01_toy", SETUP.format(root=photos), *cells)
        write_checkout(tmp_path, {"01_toy": notebook})
        for name, text in (("_toc.yml", "root: a\n"), ("_config.yml", "title: A book\n")):
            (tmp_path / name).write_text(text + (tmp_path / name).read_text() if (tmp_path / name).exists() else text)
        (tmp_path / "book").mkdir()
        run(Run(profile="light"), lambda line: None)
        return editions.write_source("light")

    return make


def test_a_run_shows_its_pictures_and_its_edition_none_of_them(edition_of):
    folder = edition_of(*CELLS.values())
    run_of = paths.runs("light") / "notebooks"
    before, after = rasters.in_folder(run_of), rasters.in_folder(folder)
    assert sum(rasters.is_signed(picture) for _, picture in before) == 5, "four figures and a widget's state"
    assert [name for name, picture in after if rasters.is_signed(picture)] == []
    assert len(after) == 7, "a chart, four figures with tiles, one with a raster of ours that does not say so, a grid"
    shown = notebooks.read(folder / "notebooks" / "01_toy.ipynb")
    assert notebooks.problems(shown) == [] and "widgets" not in shown.metadata
    assert not [o for cell in notebooks.code_cells(shown) for o in cell.outputs if o.get("metadata")]
    said = [cell.source for cell in shown.cells if "Not shown here" in cell.source]
    assert len(said) == 4 and sum("You will NOT distribute the dataset images" in text for text in said) == 2
    assert "<td>a ladybird</td>" in (folder / "notebooks" / "01_toy.ipynb").read_text(), "what its tables say stays"


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        ("photos.picture(0)", "image/"),
        (
            "from IPython.display import HTML\n"
            "from vlm_sae_lib.show.explorer import data_uri\n"
            "HTML(f'<img src=\"{data_uri(photos.picture(0), 64)}\">')",
            "text/html",
        ),
    ],
)
def test_an_output_that_shows_a_picture_and_says_nothing_is_refused_by_its_cell(edition_of, cell, kind):
    with pytest.raises(UserError, match=f"01_toy: cell 7 shows {kind}.* does not say that it may be published"):
        edition_of(cell)
    assert not editions.source_folder("light").exists()


def notebook_of(data: dict, **metadata) -> nbformat.NotebookNode:
    notebook = toy_notebook("01_toy")
    notebooks.code_cells(notebook)[-1].outputs = [new_output("display_data", data=data, metadata=metadata)]
    return notebook


PNG = base64.b64encode(b"\x89PNG and so on").decode()


@pytest.mark.parametrize(
    "data",
    [
        {"text/plain": "<Figure size 640x480 with 1 Axes>"},
        {"text/markdown": "The data: 3, 4. **yes**"},
        {"text/html": "<div><style scoped>td {color: red}</style><table><tr><td>3 &lt; 4</td></tr></table></div>"},
        {"text/latex": "$x$"},
    ],
)
def test_text_and_tables_stay_as_they_are(data):
    shown = withholding.withhold(notebook_of(data))
    assert notebooks.code_cells(shown)[-1].outputs[0].data == data
    assert len(shown.cells) == len(notebook_of(data).cells)


@pytest.mark.parametrize(
    "data",
    [
        {"image/png": PNG},
        {"image/jpeg": PNG},
        {"image/svg+xml": f'<svg><image href="data:image/png;base64,{PNG}"/></svg>'},
        {"text/html": f"<p style=\"background:url('data:image/png;base64,{PNG}')\">"},
        {"text/html": "<canvas></canvas>"},
        {"text/html": "<SCRIPT>draw([255, 0, 0])</SCRIPT>"},
        {"text/html": '<img src="photo.jpg">'},
        {"text/markdown": f"![photo](data:image/png;base64,{PNG})"},
        {"application/javascript": "draw()"},
        {"application/pdf": PNG},
        {"text/html": '<div class="steering-explorer">of an older library</div>'},
    ],
)  # fmt: skip
def test_whatever_could_hold_a_picture_must_say_that_it_may_be_published(data):
    with pytest.raises(ValueError):
        withholding.withhold(notebook_of(data))
    if next(iter(data)).startswith("image/"):
        withholding.withhold(notebook_of(data, publishable=True))
    else:
        with pytest.raises(ValueError):
            withholding.withhold(notebook_of(data, publishable=True))


def test_of_a_figure_that_says_what_of_it_may_be_published_nothing_else_is_left():
    stated = {"svg": "<svg>tiles</svg>", "png": "dGlsZXM=", "terms": ["inat2021"]}
    shown = withholding.withhold(notebook_of({"image/svg+xml": "<svg>1</svg>", "image/png": PNG}, publishable=stated))
    output = notebooks.code_cells(shown)[-1].outputs[0]
    assert output.data == {"image/svg+xml": "<svg>tiles</svg>", "image/png": "dGlsZXM="}
    assert any("You will NOT distribute" in cell.source for cell in shown.cells)
    with pytest.raises(ValueError, match="shows image/png"):  # of which nothing is said
        withholding.withhold(notebook_of({"image/png": PNG}, publishable={"svg": "<svg/>", "terms": ["inat2021"]}))


def signed_in(fragment: str) -> int:
    return sum(rasters.is_signed(picture) for picture in rasters.in_bytes(fragment.encode()))


def test_the_explorer_is_made_anew_with_tiles_and_says_the_same():
    photo, page = (rasters.sign(picture) for picture in tiny_pictures(2))
    pictures = {"a beetle": credited(photo, Credit(INAT2021, 5, TAXON)), "a page": credited(page, Credit(POCKET))}
    neurons = [Neuron(3, "beetle", 30.0, [photo, page]), Neuron(4, "red", 2.0, [photo.copy()])]
    data = explorer_data(shared_vlm(), TinySae(), pictures, neurons, (0, 2), PROMPTS[:2], max_new_tokens=4)
    before = explorer_html(data)
    after, terms = without_pictures(before)
    assert terms == ["inat2021"] and without_pictures(after) == (after, terms)
    # in the data two pictures and three tops, in the markup the first picture and the first neuron's two tops
    assert signed_in(before) == 5 + 3 and signed_in(after) == 2 + 1
    for text in (*data["texts"], "a beetle", "red (latent 4)"):
        assert html.escape(text, quote=True) in after
    shown = withholding.withhold(notebook_of({"text/html": before}))
    assert notebooks.code_cells(shown)[-1].outputs[0].data["text/html"] == after
    assert any("You will NOT distribute" in cell.source for cell in shown.cells)


@pytest.mark.parametrize("old", ['"tops": ["data:,"]', '"tops": [{"src": "data:,"}]'])
def test_an_explorer_whose_pictures_do_not_say_their_terms_is_refused(old):
    inline = f'{{"pictures": [], "neurons": [{{{old}}}]}}'
    with pytest.raises(ValueError, match="before its pictures said"):
        without_pictures(f'<script type="application/json" class="se-data">{inline}</script>')
