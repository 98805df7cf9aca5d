"""A claim put to every island of the pocket world, each with its own results."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from vlm_sae_lib import paths
from vlm_sae_lib.claims.claim import Claim
from vlm_sae_lib.claims.evidence import Evidence
from vlm_sae_lib.claims.judging import Judgement, judge
from vlm_sae_lib.claims.overall import OverallEffect, overall
from vlm_sae_lib.claims.paper import CLAIMS
from vlm_sae_lib.claims.rule import Decision
from vlm_sae_lib.claims.verdict import Verdict
from vlm_sae_lib.experiments import running
from vlm_sae_lib.pocket.islands import HOME, ISLANDS, Island
from vlm_sae_lib.profiles import load_profile
from vlm_sae_lib.profiles.named import ISLAND
from vlm_sae_lib.records.effects import ENOUGH

SILENT, NOT_RUN = "no LLaVA of its own", "no results yet"


@dataclass(frozen=True)
class Answer:
    """What came of a claim on one island; without a judgement where it was not asked, and ``why`` says why not."""

    island: Island
    judgement: Judgement | None = None
    why: str = ""

    @property
    def apart(self) -> bool:
        """Whether it is a second look at the published island's pictures, and so no island that counts."""
        return bool(self.island.name) and self.island.same_pictures


@dataclass(frozen=True)
class Answers:
    """What came of one claim on all islands."""

    claim: Claim
    each: tuple[Answer, ...]

    @property
    def elsewhere(self) -> bool:
        """Whether it has been asked anywhere but on the published island."""
        return any(one.judgement is not None and one.island is not HOME for one in self.each)

    @cached_property
    def counted(self) -> dict[str, Judgement]:
        """The judgements of the islands that count, by the island's name."""
        return {
            one.island.name: one.judgement for one in self.each
            if one.judgement is not None and not one.apart and one.judgement.verdict is not Verdict.UNTESTED
        }  # fmt: skip

    @property
    def words(self) -> Counter[Verdict]:
        """How many of the islands that count have each word."""
        return Counter(judgement.verdict for judgement in self.counted.values())

    @cached_property
    def overall(self) -> Decision[OverallEffect]:
        return overall(self.counted)


def profile_of(island: Island) -> str:
    """The profile whose results are an island's."""
    return f"{ISLAND}{island.name}" if island.name else running.PUBLISHED_PROFILE


def evidences(results: Path | None = None) -> dict[str, Evidence]:
    """Where each island's results lie, by its name.

    Args:
        results: the folder of all results, the published ones by default.
    """
    folder = results or paths.published_results()
    return {name: Evidence(folder / profile_of(island)) for name, island in ISLANDS.items()}


def files(where: Mapping[str, Evidence]) -> list[Path]:
    """Every results file of the islands that there is."""
    return [path for evidence in where.values() for path in sorted(evidence.folder.glob("*.json"))]


def ask(claim: Claim, where: Mapping[str, Evidence]) -> Answers:
    """Judge a claim on every island; one that no effect decides is asked nowhere.

    An island that lacks an effect which the published one has is not asked: its word would be about less.
    """
    return Answers(claim, tuple(_ask(claim, ISLANDS[name], evidence, where) for name, evidence in where.items()))


def experiments_run(island: Island, evidence: Evidence) -> tuple[list[str], list[str]]:
    """Which of the experiments that decide claims have results there, and which could have some and have not."""
    profile = load_profile(profile_of(island))
    names = dict.fromkeys(by.experiment for claim in CLAIMS for by in claim.decided_by)
    can = [name for name in names if running.possible(name, profile)]
    return [name for name in can if evidence.has(name)], [name for name in can if not evidence.has(name)]


def _ask(claim: Claim, island: Island, evidence: Evidence, where: Mapping[str, Evidence]) -> Answer:
    experiments = list(dict.fromkeys(by.experiment for by in claim.decided_by))
    if not experiments:
        return Answer(island, why="no effect decides it")
    if not all(running.possible(name, load_profile(profile_of(island))) for name in experiments):
        return Answer(island, why=SILENT)
    if not all(evidence.has(name) for name in experiments):
        return Answer(island, why=NOT_RUN)
    lacking = _deciding(claim, where[HOME.name]) - _deciding(claim, evidence)
    if lacking:
        return Answer(island, why=f"without the effect “{min(lacking)}”")
    return Answer(island, judge(claim, evidence))


def _deciding(claim: Claim, evidence: Evidence) -> set[str]:
    """The names of a claim's deciding effects in some results."""
    ending, found = ENOUGH if claim.enough else "", set[str]()
    for by in claim.decided_by:
        if evidence.has(by.experiment):
            found |= set(evidence.effects(by.experiment, by.effect, ending))
    return found
