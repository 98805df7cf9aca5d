"""What is done to a page before it is written, and how results are set in tables."""

import json
import re
from types import SimpleNamespace

import pytest
import yaml
from book_extensions import extension
from PIL import Image

from vlm_sae_lib import paths
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
    words = extension("experiments").in_words
    assert words(["effect/gain_of/x"]) == ("", ["gain of, x"])
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


def result(value: float, controls: dict[str, str] | None = None) -> dict:
    return {"value": value, "ci_low": value - 0.1, "ci_high": value + 0.1, "n": 10, "split": "test",
            "controls": controls or {}, "paper_value": None, "source": None}  # fmt: skip


def lines_of(results: dict[str, dict]) -> list[str]:
    names = [name for name in results if not name.startswith("beside")]
    return extension("experiments").table_lines(SimpleNamespace(results=results), names, 2)


def test_a_control_has_a_column_of_its_own_with_its_whole_interval():
    lines = lines_of({"a/b/one": result(0.5, {"random": "beside"}), "a/b/two": result(0.6), "beside": result(0.2)})
    assert lines[:2] == ["a, b:", ""]
    assert lines[2] == "| result | here, with its 95 % interval | random | n | split |"
    assert lines[4] == "| one | 0.50 [0.40, 0.60] | 0.20 [0.10, 0.30] | 10 | test |"
    assert lines[5] == "| two | 0.60 [0.50, 0.70] | – | 10 | test |"


def test_many_controls_have_a_row_each():
    several = {f"control {i}": "beside" for i in range(4)}
    lines = lines_of({"effect/gain": result(0.5, several), "beside": result(0.2)})
    assert lines[2].startswith("| gain | ")
    assert [line.split(" | ")[0] for line in lines[3:]] == [f"| ↳ *control {i}*" for i in range(4)]


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
