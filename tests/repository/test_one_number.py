"""One question, one number: what two pages print of one thing is equal, or the page says why it is not.

Every result of notebooks 2 to 5 is either compared here with an experiment's, or listed as standing on its page alone,
so that a new one must be placed.
"""

import json
import re
from dataclasses import dataclass
from functools import cache

import pytest

from vlm_sae_lib import paths
from vlm_sae_lib.records.results import Results

N2, N3, N4, N5 = "02_sae_training", "03_monosemanticity_score", "04_taxonomy_alignment", "05_llava_steering"
KINDS = {"batch_top_k": "BatchTopK", "matryoshka": "Matryoshka", "matryoshka_batch_top_k": "Matryoshka"}
CODES = {
    "raw": "raw", "rectified_cut": "rectified, cut", "random_directions": "random for Matryoshka ×4",
    "matryoshka_x4": "Matryoshka ×4", "batch_top_k_x4": "BatchTopK ×4",
}  # fmt: skip
WHICH = {
    "ms_mean": "mean", "ms_mean_active": "mean of at least 10 pictures", "ms_best": "best",
    "insertion": "insertion/success", "insertion_both": "insertion/both", "insertion_rest": "insertion/rest",
    "suppression": "suppression/success", "suppression_both": "suppression/both",
    "suppression_rest": "suppression/rest", "a blank page": "white", "ordinary pictures": "pictures",
    "steeper_than_frequency": "beyond frequency", "beyond_matched": "beyond matched",
    "batch_top_k_by_frequency": "BatchTopK, sorted by frequency", "steered": "SAE",
    "batch_top_k_frequency_matched": "BatchTopK, frequency-matched", "random direction": "random direction",
}  # fmt: skip


@dataclass(frozen=True)
class Twice:
    """Results of a page and those of an experiment that ask the same.

    Attributes:
        page: a notebook, or an experiment.
        pattern: of the page's results, whole names; its groups, put into other words, fill ``other``.
        why: what the page says where the numbers differ; empty where they may not.
    """

    page: str
    pattern: str
    experiment: str
    other: str
    why: str = ""

    def twins(self):
        for name in results(self.page):
            found = re.fullmatch(self.pattern, name)
            if found:
                words = [CODES.get(w) or WHICH.get(w) or KINDS.get(w) or w for w in found.groups()]
                yield name, self.other.format(*words)


TRAVELS = "the one that travels with the book"
MORE_TRIES = "there they have more, so that the rates of the arms that stand on both pages differ"
OVER = "(self-supervised|second CLIP)"
TABLE = (
    Twice(N2, r"(R²|L0), (BatchTopK|Matryoshka) SAE, ε = (\d)", "layers", "block_5/{0}/{1} ×{2}", "one trained pair"),
    Twice(N2, r"R², (BatchTopK|Matryoshka) SAE, (block_\d|projection)", "layers", "{1}/R²/{0} ×4",
          "these single trainings"),
    Twice(N2, r"R², Matryoshka SAE, ε = 1, K = (10|20)", "sparsity", "R²/K = {0}", "one training each at ε = 1"),
    Twice(N3, rf"(ms_mean|ms_mean_active|ms_best)/{OVER}/(raw)", "layers", "block_5/{1}/{0}/{2}"),
    Twice(N3, rf"(ms_mean|ms_mean_active)/{OVER}/(rectified_cut|random_directions|matryoshka_x4|batch_top_k_x4)",
          "layers", "block_5/{1}/{0}/{2}", TRAVELS),
    Twice(N3, rf"(ms_best)/{OVER}/(matryoshka_x4|batch_top_k_x4)", "layers", "block_5/{1}/{0}/{2}", TRAVELS),
    Twice(N3, r"ms_width/(self-supervised)/(\w+)_x(\d)", "layers", "block_5/{0}/mean of at least 10 pictures/{1} ×{2}",
          "One training of each width"),
    Twice(N3, rf"truth_spearman/{OVER}/(matryoshka_x4)", "towers",
          "first CLIP/block_5/rank agreement of {0} and the truth/{1}", "rank correlations of one training"),
    Twice(N3, r"uniqueness/matryoshka_x4", "uniqueness", "share of pairs above 0", "the one training that travels"),
    Twice(N4, r"depth_of_random_pairs", "hierarchy", "depth of random pairs"),
    Twice(N4, r"depth_mean/matryoshka/level_(\d)", "hierarchy", "shipped/depth/mean/level {0}"),
    Twice(N4, r"depth_rounded_mean/matryoshka/level_(\d)", "hierarchy", "shipped/depth/rounded_mean/level {0}"),
    Twice(N4, r"depth_mean/(batch_top_k_by_frequency|batch_top_k_frequency_matched)/level_(\d)", "hierarchy",
          "depth/{0}/level {1}", "one training of each"),
    Twice(N4, r"depth_slope/matryoshka", "hierarchy", "slope/train/mean", "one training of each"),
    Twice(N4, r"depth_slope/(steeper_than_frequency|beyond_matched|batch_top_k_by_frequency)", "hierarchy",
          "slope/train/mean/{0}", "one training of each"),
    Twice("towers", rf"first CLIP/block_5/{OVER}/(mean|best)/((?:BatchTopK|Matryoshka) ×4|raw)", "layers",
          "block_5/{0}/{1}/{2}"),
    Twice("keeping_the_rest", r"(success|rest|both)/(bare model)", "diff_mean", "insertion/{0}/{1}"),
    Twice("keeping_the_rest", r"(success|rest|both)/(DiffMean)", "diff_mean", "insertion/{0}/{1}", MORE_TRIES),
    Twice("keeping_the_rest", r"(success|rest|both)/latent that detects, error dropped", "diff_mean",
          "insertion/{0}/SAE", MORE_TRIES),
    Twice("keeping_the_rest", r"(success|rest|both)/latent that detects", "diff_mean",
          "insertion/{0}/SAE, error kept", MORE_TRIES),
    Twice("origins", rf"MS/{OVER}/SAE", "layers", "block_5/{0}/mean/Matryoshka ×4"),
    Twice("origins", r"F1/(all factors)/shipped SAE", "factors", "f1/{0}/Matryoshka ×4, shipped"),
)  # fmt: skip
STEERING = (
    Twice(N5, r"((?:insertion|suppression)(?:_both|_rest)?)/all/(steered)", "diff_mean", "{0}/{1}",
          "experiments/diff_mean"),
    Twice(N5, r"((?:insertion|suppression)(?:_both|_rest)?)/all/(random direction)", "diff_mean", "{0}/{1}s",
          "experiments/diff_mean"),
    Twice(N5, r"similarity on (a blank page|ordinary pictures)/all/(bare model|random direction)", "similarity",
          "{0}/similarity/{1}", "experiments/similarity"),
)  # fmt: skip
ALONE = {
    N2: r"never fired.*|push.*|random push.*|share of .*|top-16.*|.*PCA.*|.*untrained.*|R² (gained|on the training).*"
        r"|R² that Matryoshka pays.*|R², .*K = 5|R², BatchTopK.*K = .*",
    N3: r"mean_cosine/.*|.*shuffled_(code|pictures)|ms_gap/.*|share_above/.*|.*/rectified|ms_best/.*"
        r"|uniqueness/random_sets|truth_spearman/.*",
    N4: r"ms_mean/.*|node_depth_slope/.*|depth_mean/(random_groups|shuffled_labels)/.*"
        r"|depth_slope/batch_top_k_frequency_matched",
    N5: r".*/(class|colour|habitat|order|pattern|species)/.*|.*(random latent|unsteered|times best control)"
        r"|insertion_blank/.*|similarity on .*/steered",
}  # fmt: skip


@cache
def results(page):
    folder = paths.published_results() if page[0].isdigit() else paths.published_results() / "pocket"
    return Results.read(folder / f"{page}.json").results


@cache
def text_of(page):
    """The prose of a page, without line breaks."""
    if page[0].isdigit():
        cells = json.loads((paths.notebooks() / f"{page}.ipynb").read_text(encoding="utf-8"))["cells"]
        text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    else:
        text = (paths.root() / "book" / "experiments" / f"{page}.md").read_text(encoding="utf-8")
    return " ".join(text.split())


def printed(row):
    return None if row["value"] is None else round(row["value"], 3)


@pytest.mark.parametrize("row", TABLE + STEERING, ids=lambda row: f"{row.page}: {row.pattern[:30]}")
def test_what_stands_on_two_pages_is_one_number_or_the_page_says_why(row):
    pairs = list(row.twins())
    assert pairs, "no result of the page is called so any more"
    missing = [other for _, other in pairs if other not in results(row.experiment)]
    assert not missing
    ours, theirs = results(row.page), results(row.experiment)
    differ = [(a, printed(ours[a]), printed(theirs[b])) for a, b in pairs if printed(ours[a]) != printed(theirs[b])]
    assert not differ or row.why, differ
    assert not row.why or row.why in text_of(row.page), f"the page does not say: {row.why}"


@pytest.mark.parametrize("page", [N2, N3, N4, N5])
def test_every_result_of_a_notebook_is_compared_or_stands_alone(page):
    compared = {name for row in TABLE + STEERING if row.page == page for name, _ in row.twins()}
    left = [name for name in results(page) if name not in compared and not re.fullmatch(ALONE[page], name)]
    assert not left
