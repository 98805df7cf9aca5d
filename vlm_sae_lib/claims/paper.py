"""The claims of the paper, of its versions, and of summaries of it, each judged by what the experiments conclude."""

from collections.abc import Sequence
from dataclasses import dataclass

from vlm_sae_lib.claims.evidence import Evidence, together
from vlm_sae_lib.claims.verdict import Conclusion, Verdict

ABSTRACT = "the abstract, all versions"
SUMMARIES = "summaries in circulation"
EVERY = "At every layer, under both encoders, latents of the ×4 Matryoshka SAE score above "


@dataclass(frozen=True)
class Claim:
    """One claim.

    Attributes:
        text: the claim, in our words.
        where: who makes it, and where.
        evidence: what the paper shows for it, with its tables and figures.
        rests_on: (experiment, how the conclusion begins) of the conclusions that decide it; empty if none can.
        remark: what a reader should know before believing the verdict.
    """

    text: str
    where: str
    evidence: str
    rests_on: tuple[tuple[str, str], ...] = ()
    remark: str = ""


@dataclass(frozen=True)
class Judgement:
    """A claim with its verdict, and the conclusions behind it, each with its experiment."""

    claim: Claim
    verdict: Verdict
    conclusions: tuple[tuple[str, Conclusion], ...]


def judge(claim: Claim, evidence: Evidence) -> Judgement:
    """The verdict of a claim: that of its conclusions together."""
    found = tuple((name, evidence.conclusion(name, beginning)) for name, beginning in claim.rests_on)
    return Judgement(claim, together([conclusion.verdict for _, conclusion in found]), found)


def judged(evidence: Evidence, claims: Sequence[Claim] | None = None) -> list[Judgement]:
    """Every claim with its verdict."""
    return [judge(claim, evidence) for claim in (CLAIMS if claims is None else claims)]


CLAIMS = (
    Claim(
        "Sparse autoencoders make single neurons of a vision-language model far more monosemantic.",
        ABSTRACT,
        "Mean score of CLIP's last layer .0135 for raw neurons, .12 to .23 for SAE neurons (Tables 1a, A2).",
        (
            ("layers", EVERY + "raw neurons."),
            ("layers", EVERY + "raw neurons, rectified"),
            ("layers", EVERY + "random directions"),
        ),
        "A signed raw neuron weighs all pictures about alike, so that its score is the mean similarity of the "
        "whole set by construction. The fair rivals are the last two.",
    ),
    Claim(
        "Already at ε = 1 about nine neurons in ten score above the original ones.",
        "§4.2, Figure 5a",
        "Read from the sorted curves of Figure 5a.",
        (("layers", "At ε = 1 about 90 %"),),
        "The bar is low: what random directions reach that fire as often stands in the same line.",
    ),
    Claim(
        "The wider the dictionary, the better its best neurons.",
        "§4.2, Table 1a",
        "The best score of the last layer grows from .57 to 1.00 (BatchTopK) as ε goes from 1 to 64.",
        (("layers", "The best neuron gets better"),),
        "A latent active on two pictures scores their similarity; two near-duplicates give 1.00. So the best is also "
        "read among latents that are active on at least ten pictures.",
    ),
    Claim(
        "The mean score rises up to ε of about 4 to 8 and falls for very wide dictionaries.",
        "§4.2, Table A2",
        "Matryoshka, last layer: .16, .20, .23, .22, .19, .13 for ε = 1, 2, 4, 8, 16, 64.",
        (("layers", "At the last layer the mean is highest"),),
    ),
    Claim(
        "Matryoshka autoencoders are more monosemantic than BatchTopK ones.",
        "contribution 2; Tables 1a, A2",
        "Mean at ε = 4, last layer: .23 against .19; at ε = 64 equal.",
        (("layers", "Matryoshka SAEs score above BatchTopK"),),
    ),
    Claim(
        "Matryoshka autoencoders pay for it with some reconstruction.",
        "Table A9",
        "Two to three points of R² at ε up to 8.",
        (("layers", "Matryoshka SAEs rebuild less"),),
    ),
    Claim(
        "Sparsity is a main factor: the fewer latents may be active, the more monosemantic they are.",
        "the abstract of v2 and v3; Table A11, Figure 5b",
        "Mean .37, .19, .16, .07 for K = 1, 10, 20, 50.",
        (
            ("sparsity", "The smaller K"),
            ("sparsity", "At every K the SAE's latents score above random"),
        ),
        "Sparse codes score higher whatever they mean; the second line asks what is left of the claim.",
    ),
    Claim(
        "The score agrees with what people see.",
        "contribution 1; Figure 4, Table A1",
        "82.8 % agreement over bins of equal weight; 56 % for the smallest differences, 100 % for the largest.",
        (
            ("agreement", "Of two neurons the one with the larger MS"),
            ("agreement", "The larger the difference in MS"),
            ("agreement", "It tells SAE latents apart"),
        ),
        "Nobody was asked here: three observers who know the truth of each picture stand in for people. The "
        "paper's own study can be recomputed by whoever has its archive; the page says how.",
    ),
    Claim(
        "It is so for other vision-language models and other encoders.",
        "§4.2, Tables 1b, A4, A7",
        "SigLIP, AIMv2 and WebSSL: best scores from .01 to between .59 and .92.",
        (
            ("towers", "In every tower, and under both encoders, SAE latents score above raw neurons"),
            ("towers", "In every tower, and under both encoders, SAE latents score above random directions"),
            ("towers", "Two encoders rank an SAE's latents alike"),
        ),
    ),
    Claim(
        "Different neurons learn different concepts.",
        "App. G",
        "Of 75 million pairs of neurons 16,000 share any of their top pictures, 20 share most of them.",
        (("uniqueness", "Fewer than one pair of neurons in a thousand"),),
        "Only latents that fire on sixteen training pictures can be compared; the page says how many are left out, and "
        "what sets of pictures dealt by chance would share.",
    ),
    Claim(
        "The levels of a Matryoshka autoencoder follow expert-made hierarchies, such as iNaturalist's tree of life.",
        "the abstract of v1; App. E.3 of v3, Table A8",
        "Mean depth 3.33, 2.92, 3.85, 3.86, 4.06 over five levels; no control, no interval, three neurons in level 0.",
        (
            ("hierarchy", "Later levels lie deeper"),
            ("hierarchy", "Depth rises more than in a plain BatchTopK"),
            ("hierarchy", "Depth rises more than that of plain latents"),
        ),
        "Later levels fire more rarely, and rare latents lie deeper in any dictionary.",
    ),
    Claim(
        "Intervening on an SAE's latents in CLIP's tower steers what LLaVA says, its language model untouched.",
        ABSTRACT + "; Table 3",
        "Similarity of word and pictures .212 without, .259 with steering, on a white page.",
        (
            ("similarity", "Steering a latent brings the answer's word closer"),
            ("similarity", "It is the latent that does it"),
            ("similarity", "The gain is not the damage done"),
        ),
    ),
    Claim(
        "Concepts can be inserted that way, better than by a difference of means.",
        "§4.3, Table 2a",
        "Concept there and prompt followed: 42.4 % against 35.8 %.",
        (
            ("diff_mean", "An SAE latent inserts concepts and leaves the rest right"),
            ("diff_mean", "An SAE latent inserts better than the difference of means"),
        ),
        "The paper's judge is a language model; ours knows the truth of each picture.",
    ),
    Claim(
        "Concepts can be suppressed that way, better than by a difference of means.",
        "§4.3, Table 2b",
        "Concept gone and unrelated pictures kept: 52.5 % against 33.3 %.",
        (
            ("diff_mean", "An SAE latent suppresses concepts and leaves the rest right"),
            ("diff_mean", "An SAE latent suppresses better than the difference of means"),
        ),
    ),
    Claim(
        "Steering leaves the rest of the answer alone.",
        "§4.3, the columns “prompt followed” and “unrelated kept” of Table 2",
        "85.8 % and 81.4 %.",
        (("similarity", "The other answers about the picture stay right"),),
    ),
    Claim(
        "Steering improves the accuracy of image captions by 12.7 %.",
        SUMMARIES,
        "None. The number stands in no version of the paper and not in its code; no such experiment is reported.",
        (("captioning", "Intervening on SAE latents improves captioning accuracy by"),),
        "Whatever holds here is our own experiment, mostly on pictures made worse on purpose; it lends the number no "
        "support.",
    ),
    Claim(
        "The gain in monosemanticity is the autoencoder's doing.",
        "not said, but meant throughout",
        "No control in the paper: no other directions, no untrained autoencoder, no untrained tower.",
        (
            ("origins", "It takes a trained tower"),
            ("origins", "It takes a trained autoencoder"),
            ("origins", "Principal components, rectified"),
            ("origins", "Independent components"),
            ("origins", "Directions to the centres of k-means"),
        ),
    ),
    Claim(
        "A loss term can train for the score, at little cost in reconstruction.",
        "MonoLoss (arXiv 2602.12403), after the paper",
        "On ImageNet with BatchTopK on CLIP: score .437 to .602, R² .846 to .840.",
        (
            ("monoloss", "It raises that score at the same R² too"),
            ("monoloss", "With λ chosen on other pictures, less than a hundredth of R²"),
        ),
        "Their score is computed with the autoencoder's own inputs; the page also asks encoders the loss never saw.",
    ),
    Claim(
        "People prefer the pictures of neurons that score higher.",
        "§4.2.1",
        "71 annotators, 1,000 pairs.",
        remark="It takes people. A reader for the published study is part of the library.",
    ),
)
