"""The role ``{result}``: a number in the book's prose, read from the published results.

``{result}`03_monosemanticity_score/mean_ms_sae` `` prints the value; ``…/mean_ms_sae:interval`` adds its interval and
``:n`` prints the number of cases behind it. Of an experiment's result ``:counted`` prints that number with what it
counts, and of how many where some were left out: "285 of 512 latents". A name that no results file holds is a warning,
and so a failed build.

In another edition than the published one, a notebook's page reads the results of that profile's own run.
"""

from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxRole

from vlm_sae_lib import paths
from vlm_sae_lib.claims.counting import n_and_what
from vlm_sae_lib.files import read_json
from vlm_sae_lib.publishing.edition_switch import PUBLISHED
from vlm_sae_lib.records.results import Results


def places_for(page: str, edition: str) -> tuple[Path, ...]:
    """The folders in which a page's results lie; ``page`` as Sphinx names it, without ending."""
    if edition != PUBLISHED and page.startswith("notebooks/"):
        return (paths.results(edition),)
    return paths.published_results(), paths.published_results() / "pocket"  # notebooks, experiments


def text_of(reference: str, page: str = "", edition: str = PUBLISHED) -> str:
    """The text for ``<notebook>/<result>[:interval|:n|:counted]``; ``KeyError`` says what is missing."""
    name, _, what = reference.partition(":")
    notebook, _, result = name.partition("/")
    places = places_for(page, edition)
    path = next((place / f"{notebook}.json" for place in places if (place / f"{notebook}.json").exists()), None)
    if path is None:
        raise KeyError(f"there are no published results of {notebook!r}")
    results = read_json(path)["results"]
    if result not in results:
        raise KeyError(f"{notebook} has no result {result!r}; it has {', '.join(sorted(results))}")
    entry = results[result]
    if what == "":
        return number(entry["value"])
    if what == "n":
        return number(entry["n"])
    if what == "interval":
        low, high = entry["ci_low"], entry["ci_high"]
        return f"{number(entry['value'])} ({number(low)} to {number(high)})"
    if what == "counted":
        return " ".join(n_and_what(Results.read(path), notebook, result))
    raise KeyError(f"{what!r} is none of 'interval', 'n' and 'counted'")


def number(value: float | int | str | list | None) -> str:
    """Two decimals for a fraction, thousands apart for a count, a dash for what is not defined."""
    if isinstance(value, list):
        return ", ".join(map(number, value))
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    if isinstance(value, int) or float(value).is_integer() and abs(value) >= 100:
        return f"{int(value):,}"
    return f"{value:.2f}".replace("-", "−")


class ResultRole(SphinxRole):
    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        try:
            return [nodes.Text(text_of(self.text, self.env.docname, self.config.edition))], []
        except KeyError as error:
            message = self.inliner.reporter.warning(f"result: {error.args[0]}", line=self.lineno)
            return [self.inliner.problematic(self.rawtext, self.rawtext, message)], [message]


def setup(app: Sphinx) -> dict:
    app.add_config_value("edition", PUBLISHED, "env")
    app.add_role("result", ResultRole())
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
