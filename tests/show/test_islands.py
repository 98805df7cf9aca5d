"""The strip of a claim, and the tables of the islands."""

import shutil

import numpy as np
import pandas as pd
import pytest
from island_results import CLAIM, TEN, put, where
from matplotlib import pyplot as plt

from vlm_sae_lib import paths
from vlm_sae_lib.claims.claim import By, Claim
from vlm_sae_lib.claims.islands import ask, evidences
from vlm_sae_lib.files import read_json, write_json
from vlm_sae_lib.pocket.islands import ISLANDS
from vlm_sae_lib.pretraining.islands import seeds
from vlm_sae_lib.profiles import load_profile
from vlm_sae_lib.records.provenance import settings_hash
from vlm_sae_lib.show.island_tables import dials, models, provenance
from vlm_sae_lib.show.islands import strip


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def rows(lines):
    """The cells of a table's rows, by the island."""
    cells = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in lines[2:]]
    return {row[0]: row[1:] for row in cells}


def labels(axis):
    return [tick.get_text() for tick in axis.get_yticklabels()]


def marks(axis, marker="o"):
    """(place, row, whether it is hollow) of each mark."""
    lines = [line for line in axis.lines if line.get_marker() == marker]
    return [(line.get_xdata()[0], line.get_ydata()[0], line.get_markerfacecolor() == "white") for line in lines]


def test_a_strip_has_a_mark_for_each_island_a_diamond_for_all_and_the_words(tmp_path):
    answers = ask(CLAIM, where(tmp_path, home=0.2, twin=0.3, atoll=0.1, fjord=-0.2))
    figure = strip(answers)
    (axis,) = figure.axes
    assert labels(axis) == ["published island", "twin", "atoll", "fjord", "over islands"]
    found = marks(axis)
    assert [place for place, _, _ in found] == pytest.approx([0.2, 0.3, 0.1, -0.2])
    assert [hollow for _, _, hollow in found] == [False, True, False, False]
    ((diamond, last, _),) = marks(axis, "D")
    assert last == 4 and diamond == pytest.approx(answers.overall.effects[0].combined.value)
    verticals = [line.get_xdata()[0] for line in axis.lines if len(line.get_xdata()) == 2]
    assert verticals == pytest.approx([0, -0.05, 0.05])
    (beside,) = axis.child_axes
    assert labels(beside) == ["holds", "holds", "holds", "reversed", answers.overall.word.value]
    low, high = axis.get_xlim()
    assert low < -0.2 and high > 0.3 and high - low < 1, "three islands' wide interval does not squeeze their marks"
    assert len(marks(axis, "<")) + len(marks(axis, ">")) == 2, "and arrows say that it goes on"


@pytest.mark.parametrize(("n", "across"), [(1, 1), (2, 2), (3, 3), (4, 2), (12, 3)])
def test_each_effect_has_a_panel_and_each_row_of_panels_the_words(tmp_path, n, across):
    claim = Claim(
        "it", "It", "It works.", "", "", tuple(By("layers", f"e{i}", 0.05, f"over the rival {i}") for i in range(n))
    )
    for island in ("", "atoll"):
        put(tmp_path, island, **{f"e{i}": 0.1 * i + TEN for i in range(n)})
    figure = strip(ask(claim, evidences(tmp_path)))
    shown = [axis for axis in figure.axes if axis.get_visible()]
    titles = [" ".join(axis.get_title(loc="left").split()) for axis in shown]
    assert titles == [f"over the rival {i}" for i in range(n)]
    assert [bool(axis.child_axes) for axis in shown] == [i % across == across - 1 for i in range(n)]


def test_effects_of_no_size_can_be_drawn(tmp_path):
    for island in ("", "atoll"):
        put(tmp_path, island, gain=np.zeros(10))
    low, high = strip(ask(CLAIM, evidences(tmp_path))).axes[0].get_xlim()
    assert low < -0.05 and high > 0.05


def test_the_dials_are_those_of_the_generator():
    told = rows(dials())
    assert list(told) == [name or "published island" for name in ISLANDS]
    for name, (grown, species, habitat, shares, width, own) in told.items():
        island = ISLANDS["" if name == "published island" else name]
        assert (grown == "grown") is (island.tree_seed is not None) and int(species) == island.species
        assert shares == f"the {island.genus_trait}" and int(width) == island.width
        assert (habitat == "independent") is (island.habitat == 0) and ("LLaVA" in own or own == "all") is (
            "llava" in island.trains
        )


@pytest.fixture
def records(tmp_path):
    """The record of one trained island, its exams the published island's."""
    island, made = ISLANDS["skerry"], {}
    for model in island.trains:
        exam = pd.read_csv(paths.pocket() / model / "exam.csv").astype(object)
        exam = exam.where(exam.notna(), None).to_dict("records")
        made[model] = {"exam": exam, "weights": {"model.safetensors": model[0] * 64}}
    machine = {"processor": "AVX2", "threads": 2}
    path = tmp_path / "records" / "skerry.json"
    write_json(path, {"island": island.as_dict(), "seeds": seeds(island), "made on": machine, "models": made})
    return path.parent


def test_how_good_the_models_are_is_read_from_the_records_and_what_is_not_trained_is_said_to_be(records):
    told = rows(models(records))
    assert told["skerry"][0] == told["published island"][0] and told["skerry"][0].startswith("0.998 [0.996, ")
    assert told["skerry"][-1] == "none" and told["atoll"] == ["not trained yet"] * 5
    assert told["twin"] == ["not trained yet"] * 2 + ["the published one's"] * 3
    path = records / "skerry.json"
    content = read_json(path)
    content["models"]["clip"]["exam"] = [
        row | {"accuracy": 0.5, "ci_low": 0.4, "ci_high": 0.6} for row in content["models"]["clip"]["exam"]
    ]
    write_json(path, content)
    assert rows(models(records))["skerry"][0] == "0.500 [0.400, 0.600], n = 3,000"


def test_results_of_other_code_or_of_settings_that_changed_are_named(records, tmp_path):
    shutil.copytree(paths.published_results() / "pocket", tmp_path / "results" / "pocket")
    home = read_json(tmp_path / "results" / "pocket" / "layers.json")
    settings = settings_hash(load_profile("island-skerry"))

    def told(**inputs):
        content = home | {"inputs": home["inputs"] | {"settings": settings} | inputs}
        write_json(tmp_path / "results" / "island-skerry" / "layers.json", content)
        return rows(provenance(records, evidences(tmp_path / "results")))

    found = told()
    assert found["skerry"][-1].endswith("experiments, by the code that made the published one's")
    assert found["skerry"][0].startswith("CLIP `cccccccccc`") and "CLIP 40001" in found["skerry"][1]
    assert found["skerry"][2] == "AVX2, 2 threads" and found["atoll"] == ["not trained yet", "–", "–", "none yet"]
    assert "by other code than the published one's: layers" in told(code="0")["skerry"][-1]
    assert "with settings that have changed since: layers" in told(settings="0")["skerry"][-1]
