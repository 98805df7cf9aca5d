"""What is done to a page before it is written, and how results are set in tables."""

import json
import re
from types import SimpleNamespace

import pytest
import yaml
from book_extensions import extension
from docutils import nodes
from docutils.utils import new_document
from PIL import Image
from sphinx import addnodes

from vlm_sae_lib import paths
from vlm_sae_lib.claims import counting
from vlm_sae_lib.claims.paper import CLAIMS


@pytest.fixture(scope="module")
def lightness():
    return extension("lightness")


@pytest.fixture(scope="module")
def reach():
    return extension("reach")


def file(name: str) -> SimpleNamespace:
    return SimpleNamespace(filename=name, attributes={})


def test_a_script_goes_where_a_page_has_no_use_for_it(lightness):
    formula, words = '<span class="math notranslate">', "<p>words</p>"
    for name in ("../vendor/mathjax/startup.js", "vendor/html-manager/embed.js", "mystnb.1.css"):
        assert not lightness.needed(file(name), words)
    assert lightness.needed(file("../vendor/mathjax/startup.js"), formula)
    assert lightness.needed(file("doctools.js"), words)
    config = SimpleNamespace(filename=None, attributes={"body": "window.MathJax = {}"})
    assert lightness.needed(config, formula) and not lightness.needed(config, words)


def test_all_pictures_but_the_first_wait_and_have_their_size(lightness, tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    body = '<img alt="a" src="../_images/a.png"><p>-</p><img alt="b" src="../_images/a.png" width="5"><img src="x">'
    first, second, other = re.findall("<img[^>]*>", lightness.patient(body, {"a.png": tmp_path / "a.png"}))
    assert "loading" not in first and 'width="30" height="20"' in first
    assert 'loading="lazy"' in second and second.count("width=") == 1
    assert other == '<img src="x">'
    (tmp_path / "a.svg").write_text('<svg xmlns="x" width="614" height="200" viewBox="0 0 1 1"><path width="1"/></svg>')
    (tmp_path / "b.svg").write_text('<svg viewBox="0 0 9 9"><rect width="5" height="5"/></svg>')
    told = [lightness.patient(f'<img src="_images/{n}">', {n: tmp_path / n}) for n in ("a.svg", "b.svg")]
    assert 'width="614" height="200"' in told[0] and "width" not in told[1]


def test_icons_that_nobody_asks_for_lose_their_glyph(lightness):
    style = 'a{b:c}.fa-bars:before,.fa-navicon:before{content:"\\f0c9"}.fa-yen:before{content:"\\f157"}'
    assert lightness.with_icons(style, {"fa-navicon"}) == style.partition(".fa-yen")[0]


def test_rules_of_which_nothing_can_have_the_class_go(lightness):
    script = 'e.add("tip-" + side); f = `bs-pop-${n}`; g("shown"); h("a-b" + k)'
    can_be = lightness.possible('<p class="card x">', script)
    assert all(map(can_be, ("card", "shown", "tip-left", "bs-pop-end", "a-b-c")))
    assert not any(map(can_be, ("toast", "carding", "x-small", "tip2", "shown-off")))
    kept = (
        ".toast,.card{a:b}p:not(.toast, .y){a:b}a[href$='.toast']{a:b}.card .tip-left::after{a:b}"
        "@media print{.card{a:b}}@keyframes toast{12.5%{a:b}}/*! (c) www.toast.org */"
    )
    style = kept + ".toast .card,.carousel.card{a:b}@media print{.card{a:b}.toast:is(.card,.x){a:b}}/* .card */.y{a:b}"
    assert lightness.with_classes(style, can_be) == kept + "@media print{.card{a:b}}"


def test_words_of_code_in_the_colour_of_all_code_lose_their_mark(lightness):
    light = """
html[data-theme="light"] .highlight { background: #fefefe; color: #080808 }
html[data-theme="light"] .highlight .n { color: #080808 } /* Name */
html[data-theme="light"] .highlight .p { color: #080808 }
html[data-theme="light"] .highlight .b { color: #080808; font-weight: bold }
html[data-theme="light"] .highlight .k { color: #6730C5 }"""
    dark = light.replace('"light"', '"dark"').replace("#080808", "#f8f8f2")
    dark = dark.replace(".p { color: #f8f8f2", ".p { color: #ff0000")
    plain = lightness.colourless(light + dark)
    assert plain == {"n", "w"}
    code = '<span class="k">a</span><span class="w"> </span><span class="n">b</span>'
    page = f'<span class="n">c</span><div class="highlight"><pre>{code}</pre></div><p><span class="n">d</span></p>'
    assert lightness.uncoloured(page, plain) == page.replace('<span class="w"> </span><span class="n">b</span>', " b")


def test_a_page_loses_the_room_between_its_lines_but_not_in_code(lightness):
    page = "<p>\n\n   a\n  b</p>\n<pre>x\n\n   y\n</pre>  \n  <script>\n  s\n</script>\n\n<textarea>\n  t</textarea>\n"
    assert lightness.dense(page) == (
        "<p>\na\nb</p>\n<pre>x\n\n   y\n</pre>\n<script>\n  s\n</script>\n<textarea>\n  t</textarea>\n"
    )
    assert lightness.dense(lightness.dense(page)) == lightness.dense(page)


def test_a_table_gets_a_box_and_its_empty_corner_a_word(reach):
    done = reach.reachable('<table class="t"><tr><th></th><th>n</th></tr><tr><td></td></tr></table>')
    assert done.startswith('<div class="table-box"><table') and done.endswith("</table></div>")
    assert re.findall("<th.*?</th>", done) == ['<th><span class="visually-hidden">row</span></th>', "<th>n</th>"]
    own = '<div class="table-scroll" tabindex="0"><table></table></div>'
    assert reach.reachable(own) == own
    assert reach.reachable('<summary aria-label="Toggle hidden content">Show code</summary>').startswith("<summary>")


def test_an_interval_in_a_table_is_not_torn(reach):
    done = reach.reachable("<p>0.5 [0.4, 0.6]</p><table><td>0.5 [−0.4, 1,000.6], or so [Pach, 2025 b]</td></table>")
    assert "<p>0.5 [0.4, 0.6]</p>" in done and "<td>0.5 [−0.4,\u00a01,000.6], or so [Pach, 2025 b]</td>" in done


def test_names_of_results_are_told_in_words():
    words = extension("result_table").in_words
    assert words(["effect/gain_of/x"]) == ("", ["gain of, x"])
    assert words(["f1/batch_top_k ×1", "auroc/jump_relu"])[1] == ["F1, BatchTopK ×1", "AUROC, JumpReLU"]
    assert words(["block_4/some_mean/a", "block_4/some_mean/b"]) == ("block_4, some mean", ["a", "b"])


def test_a_word_shows_what_it_means_and_a_definition_cannot_become_markup(reach):
    link = '<a class="reference internal" href="glossary.html#term-{0}">{0}</a>'
    body = link.format("latent") + link.format("unknown")
    done = reach.explained(body, {"term-latent": '"a" <b>'})
    assert 'title="&quot;a&quot; &lt;b&gt;"' in done and done.count("title=") == 1
    assert done.endswith(link.format("unknown"))


def test_a_long_definition_ends_with_a_sentence(reach):
    said = reach.meaning(SimpleNamespace(astext=lambda: "One sentence. " * 60))
    assert len(said) <= reach.LONGEST and said.endswith("sentence.")


@pytest.fixture
def words():
    return extension("words")


GLOSSARY = "# G\n```{glossary}\nlatent\n  A unit.\n\nSAE\nsparse autoencoder\n  A network.\n\nL0\n  A mean.\n```\n"


def linked(words, text: str, seen: set[str]) -> list[str]:
    """The words of a text that become links, each with its term."""
    paragraph = nodes.paragraph("", text)
    entries = words.entries_of(GLOSSARY)
    first = {term: terms[0] for terms in entries for term in terms}
    found = words.words_of(entries)
    words.link(paragraph[0], words.pattern_of(found), [(term, first[term]) for term in found.values()], seen)
    assert paragraph.astext() == text
    return [f"{one.astext()}: {one['reftarget']}" for one in paragraph.findall(addnodes.pending_xref)]


def test_the_first_use_of_a_word_leads_to_the_glossary_and_the_second_does_not(words):
    seen = set()
    text = "Latents of a sparse\nautoencoder: one latent, two SAEs, L0."
    assert linked(words, text, seen) == ["Latents: latent", "sparse\nautoencoder: sparse autoencoder", "L0: L0"]
    assert seen == {"latent", "SAE", "L0"} and linked(words, "A latent.", seen) == []


def test_lines_are_joined_and_nothing_else(words):
    emphasis = nodes.emphasis("", "", nodes.Text("b"))
    texts = [nodes.Text(text) for text in ("sparse", "\n", "a", "c")]
    paragraph = nodes.paragraph("", "", *texts[:3], emphasis, texts[3])
    words.join_lines(nodes.section("", paragraph))
    assert [child.astext() for child in paragraph.children] == ["sparse\na", "b", "c"] and paragraph[1] is emphasis
    assert all(child.parent is paragraph for child in paragraph.children)


def test_a_word_within_a_link_that_was_written_as_html_is_left_alone(words):
    document = new_document("page")
    document += nodes.paragraph("", "", nodes.raw("", "<a>", format="html"), nodes.Text("a latent"))
    document += nodes.paragraph("", "", nodes.Text("a latent"), nodes.literal("", "latent"))
    document += nodes.container("", nodes.paragraph("", "", nodes.Text("an SAE")), design_component="dropdown")
    open_, folded = (list(words.texts_of(document, folded=folded)) for folded in (False, True))
    assert [text.parent for text in open_] == [document[1]] and [text.astext() for text in folded] == ["an SAE"]


@pytest.mark.parametrize("text", ["latent-wise", "latently", "sae", "dictionary_latent", "NL0"])
def test_a_part_of_another_word_is_no_use_of_it(words, text):
    assert linked(words, text, set()) == []


def test_every_other_form_belongs_to_a_term_of_the_glossary(words):
    glossary = (paths.root() / "book" / "glossary.md").read_text(encoding="utf-8")
    terms = {term for terms in words.entries_of(glossary) for term in terms}
    assert set(words.ALSO) | words.NOT <= terms and len(terms) > 60


def result(value: float, controls: dict[str, str] | None = None, **more) -> dict:
    return {"value": value, "ci_low": value - 0.1, "ci_high": value + 0.1, "n": 10, "split": "test", "seeds": [0, 1],
            "interval": "Student's t over the trainings", "controls": controls or {}, "paper_value": None,
            "source": None, "unit": None} | more  # fmt: skip


@pytest.fixture
def lines_of(monkeypatch):
    monkeypatch.setitem(counting.COUNTED, "toy", (("*pictures", "pictures"), ("*", counting.NEURONS)))

    def lines(results: dict[str, dict]) -> list[str]:
        names = [name for name in results if not name.startswith("beside")]
        return extension("result_table").lines(SimpleNamespace(results=results), "toy", names, 2)

    return lines


def test_a_control_has_a_column_of_its_own_with_its_whole_interval(lines_of):
    lines = lines_of({"a/b/one": result(0.5, {"random": "beside"}), "a/b/two": result(0.6), "beside": result(0.2)})
    assert lines[:2] == ["a, b:", ""]
    assert lines[2] == "| result | here, with its 95 % interval | random | n neurons of 2 trainings | pictures |"
    assert lines[3].split(" | ")[-2] == "---:"
    assert lines[4] == "| one | 0.50 [0.40, 0.60] | 0.20 [0.10, 0.30] | 10 | test |"
    assert lines[5] == "| two | 0.60 [0.50, 0.70] | – | 10 | test |"


def test_many_controls_have_a_row_each_with_their_n(lines_of):
    several = {f"control {i}": "beside" for i in range(4)}
    lines = lines_of({"effect/gain": result(0.5, several), "beside": result(0.2, n=7)})
    assert lines[2].startswith("| gain | ")
    assert lines[3:7] == [f"| ↳ *control {i}* | 0.20 [0.10, 0.30] | 7 | test |" for i in range(4)]


def test_an_n_that_counts_several_things_says_so_in_each_row(lines_of):
    lines = lines_of({"gain": result(0.5), "of pictures": result(0.6), "none": result(0.1, n=None)})
    assert lines[0] == "| result | here, with its 95 % interval | n | pictures |"
    assert [line.split(" | ")[2] for line in lines[2:5]] == ["10 neurons of 2 trainings", "10 pictures", "–"]


def test_below_a_table_stands_what_its_intervals_are_and_that_they_are_not_corrected(lines_of):
    drawn, dealt = "200 bootstrap draws of the pictures", "smallest and largest of 10 dealings"
    lines = lines_of({"a": result(0.5), "b": result(0.5, seeds=[0, 1]), "c": result(0.6, interval=drawn)})
    assert lines[4].startswith("| c | 0.60 [0.50, 0.70] (a) |")
    told = "In brackets: intervals of 95 %, Student's t over 2 trainings; (a) 200 bootstrap draws of the pictures."
    assert f"{told} Not corrected for their number." in lines
    mixed = lines_of({"a": result(0.5), "b": result(0.5), "c": result(0.6, interval=dealt)})
    assert mixed[0].startswith("| result | here | ") and any("where nothing else is said" in line for line in mixed)
    units = lines_of({"a": result(0.5, unit="MS"), "b": result(0.5, unit="MS")})
    assert any(line.startswith("The values: MS. In brackets: ") for line in units)
    none = lines_of({"a": result(0.5, ci_low=None, ci_high=None)})
    assert none[0] == "| result | here | n neurons of 2 trainings | pictures |" and "" in none and len(none) == 4


def test_every_claim_has_an_address_and_a_title_of_its_own():
    keys, titles = [claim.key for claim in CLAIMS], [claim.title for claim in CLAIMS]
    assert len(set(keys)) == len(set(titles)) == len(CLAIMS)
    assert all(re.fullmatch("[a-z]+(-[a-z]+)*", key) for key in keys) and max(map(len, titles)) <= 42


def test_the_style_can_hide_every_word():
    page = extension("claims_page")
    style = (paths.root() / "book" / "_static" / "book.css").read_text(encoding="utf-8")
    for verdict in page.MARKS:
        word = page.marked(verdict)
        assert f"body:has(#show-{word.removeprefix('is-')}:checked) .claim:not(.{word})" in style


def test_what_is_to_be_cited_is_told_alike_everywhere():
    cited = yaml.safe_load((paths.root() / "CITATION.cff").read_text(encoding="utf-8"))
    archived = json.loads((paths.root() / ".zenodo.json").read_text(encoding="utf-8"))
    book = yaml.safe_load((paths.root() / "_config.yml").read_text(encoding="utf-8"))
    project = (paths.root() / "pyproject.toml").read_text(encoding="utf-8")
    assert cited["title"] == archived["title"] == book["title"]
    assert cited["version"] == archived["version"] == re.search(r'^version = "(.+)"', project, re.M)[1]
    assert cited["license"] == archived["license"] == re.search(r'license = \{ text = "(.+)" \}', project)[1]
    ours, theirs = ([one["name"] for one in several] for several in (cited["authors"], archived["creators"]))
    assert ours == theirs == [book["author"]]
    paper = extension("citing").of_paper(cited["references"][0])
    assert paper.startswith("@inproceedings{pach2025sparse,") and paper.count("{") == paper.count("}")
