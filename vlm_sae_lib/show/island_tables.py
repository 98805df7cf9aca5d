"""The islands as Markdown tables: what differs on each, how good their models are, and what they were made from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from vlm_sae_lib import paths
from vlm_sae_lib.claims.evidence import Evidence
from vlm_sae_lib.claims.island_markdown import called
from vlm_sae_lib.claims.islands import experiments_run, profile_of
from vlm_sae_lib.claims.verdict import with_interval
from vlm_sae_lib.files import read_json
from vlm_sae_lib.pocket.islands import HOME, ISLANDS, MODELS, Island
from vlm_sae_lib.profiles import load_profile
from vlm_sae_lib.records.provenance import settings_hash

NAMES = dict(zip(MODELS, ("CLIP", "second CLIP", "scoring encoder", "LLaVA"), strict=True))
EXAMS = {
    "CLIP names the species": ("clip", "species"),
    "… the pattern": ("clip", "pattern"),
    "second CLIP, the species": ("second_clip", "species"),
    "scoring encoder's five nearest share the species": ("self_supervised", "5 nearest neighbours share the species"),
    "LLaVA names the species": ("llava", "one word: species"),
}
"""A column's head to (model, what of its exam)."""
HASH = 10
NOT_TRAINED = "not trained yet"


def dials() -> list[str]:
    """A row for each island: the settings of the world, the width of the tower, and the models of its own."""
    rows = [["island", "tree", "species", "habitat and class", "a genus shares", "tower's width", "models of its own"]]
    for island in ISLANDS.values():
        tree = "drawn up by hand" if island.tree_seed is None else "grown"
        own = "all" if set(island.trains) == set(MODELS) else ", ".join(NAMES[model] for model in island.trains)
        row = [_name(island), tree, str(island.species), _tied(island.habitat), f"the {island.genus_trait}"]
        rows += [[*row, str(island.width), own]]
    return _table(rows)


def models(records: Path) -> list[str]:
    """How good each island's models are on pictures that none of them has seen, with intervals.

    Args:
        records: the folder with ``<name>.json`` of each island whose models were trained.
    """
    rows = [["island", *EXAMS]]
    for island in ISLANDS.values():
        record = _record(island, records)
        cells = []
        for model, what in EXAMS.values():
            if model not in island.trains:
                cells += ["the published one's" if island.same_pictures else "none"]
            elif not record and island is not HOME:
                cells += [NOT_TRAINED]
            else:
                cells += [_share(_exam(island, model, record), what)]
        rows += [[_name(island), *cells]]
    return _table(rows)


def provenance(records: Path, where: Mapping[str, Evidence]) -> list[str]:
    """What each other island's models and results were made from.

    Args:
        records: as of `models`.
        where: the results of each island (``claims.islands.evidences``).
    """
    rows = [["island", "weights (the first of their SHA-256)", "seeds", "trained on", "results"]]
    for island in (island for island in ISLANDS.values() if island is not HOME):
        record = _record(island, records)
        if not record:
            rows += [[_name(island), NOT_TRAINED, "–", "–", _results(island, where)]]
            continue
        weights = [
            f"{NAMES[model]} {' '.join(f'`{hash[:HASH]}`' for hash in record['models'][model]['weights'].values())}"
            for model in island.trains
        ]
        seeds = [f"{NAMES[model]} {record['seeds'][model]}" for model in island.trains]
        made = record.get("made on", {})
        machine = f"{made['processor']}, {made['threads']} thread{'s' * (made['threads'] > 1)}" if made else "–"
        rows += [[_name(island), ", ".join(weights), ", ".join(seeds), machine, _results(island, where)]]
    return _table(rows)


def _results(island: Island, where: Mapping[str, Evidence]) -> str:
    """How many of the experiments that decide claims have results, and whether code and settings are those of home."""
    there, missing = experiments_run(island, where[island.name])
    if not there:
        return "none yet"
    home, ours = where[HOME.name], where[island.name]
    settings = settings_hash(load_profile(profile_of(island)))
    codes = [name for name in there if home.has(name) and _input(ours, name, "code") != _input(home, name, "code")]
    old = [name for name in there if _input(ours, name, "settings") != settings]
    text = f"{len(there)} of {len(there) + len(missing)} experiments"
    text += f"; by other code than the published one's: {', '.join(codes)}" if codes else ""
    text += f"; with settings that have changed since: {', '.join(old)}" if old else ""
    return text if codes or old else f"{text}, by the code that made the published one's"


def _input(evidence: Evidence, experiment: str, what: str) -> str | None:
    return evidence.findings(experiment).inputs.get(what)


def _record(island: Island, records: Path) -> dict[str, Any]:
    path = records / f"{island.name}.json"
    return read_json(path) if island is not HOME and path.is_file() else {}


def _exam(island: Island, model: str, record: Mapping[str, Any]) -> pd.DataFrame:
    if island is HOME:
        return pd.read_csv(paths.pocket() / model / "exam.csv")
    return pd.DataFrame(record["models"][model]["exam"])


def _share(exam: pd.DataFrame, what: str) -> str:
    row = exam[exam["what"] == what].iloc[0]
    told = with_interval(float(row["accuracy"]), float(row["ci_low"]), float(row["ci_high"]), 3)
    return f"{told}, n = {int(row['n']):,}"


def _tied(habitat: float) -> str:
    words = {0.0: "independent", 1.0: "as in nature"}
    return words.get(habitat, f"tied {habitat:g} times as closely")


def _name(island: Island) -> str:
    return f"`{island.name}`" if island.name else called(island)


def _table(rows: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in (rows[0], ["---"] * len(rows[0]), *rows[1:])]
