"""The atlas as a folder that any plain file server can show: its data in small JSON files, and the page."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from vlm_sae_lib.atlas.columns import columns
from vlm_sae_lib.atlas.details import PER_FILE, details
from vlm_sae_lib.atlas.measuring import Measured
from vlm_sae_lib.atlas.pictures import PER_ROW, SIDE, Numbered
from vlm_sae_lib.atlas.steering import DOSES, Steered
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import canonical_json, read_json, whole_folder, write_bytes
from vlm_sae_lib.taxonomy import RANKS

SCHEMA = 1
SCHEMA_OF_LATENTS = 2
"""Of the files of details: since then what is said many times stands once, in the autoencoder's ``TEXTS``."""
TEXTS = "texts.json"
INDEX = "atlas.json"
SHEETS = "pictures"
SCHEMA_FILE = Path(__file__).with_name("schema.json")
PAGE = Path(__file__).with_name("page")


def schema() -> dict[str, Any]:
    """The JSON Schema of every kind of file, under ``$defs``."""
    return read_json(SCHEMA_FILE)


@contextmanager
def atlas_folder(out: str | Path) -> Iterator[Path]:
    """A folder to write an atlas into, which takes the place of ``out`` once it is whole.

    Raises:
        UserError: ``out`` is a file, or a folder that holds something else than an atlas.
    """
    out = Path(out)
    if out.exists() and not (out / INDEX).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is there and is no atlas: give --out a new folder, or that of an older atlas.")
    with whole_folder(out) as folder:
        yield folder


def write_data(
    folder: Path, atlas: Sequence[Measured], title: str, *, sheets: bool, book: str | None = None
) -> list[int]:
    """Write all JSON files; return the ids of the pictures, in the order of the sheets.

    Args:
        atlas: all of the same pictures.
        sheets: whether there will be sheets of pictures.
        book: address of the book that the atlas belongs to, as its page sees it.
    """
    pictures, saes = Numbered(), []
    for measured in atlas:
        texts = Texts()
        for image_id in () if measured.steered is None else measured.steered.pictures:
            pictures.number(image_id)  # they stand on many pages, so that they lie together
        for number, part in enumerate(details(measured, pictures)):
            _write(folder / measured.key / "latents" / f"{number:04d}.json", placed(part, texts))
        _write(folder / measured.key / TEXTS, texts.as_dict())
        filled = columns(measured, pictures)
        for column in filled:
            _write(folder / measured.key / "columns" / f"{column.column.name}.json", column.as_dict())
        if measured.known.tree:
            _write(folder / measured.key / "tree.json", _tree(measured))
        saes.append(_facts(measured, pictures) | {"columns": [asdict(column.column) for column in filled]})
    edges = atlas[0].statistics.histogram_edges
    index = {
        "schema": SCHEMA, "title": title, "book": book, "saes": saes, "ranks": list(RANKS),
        "edges": [float(edge) if np.isfinite(edge) else None for edge in edges],
        "pictures": {"number": len(pictures.ids), "side": SIDE, "per_row": PER_ROW, "sheets": sheets},
    }  # fmt: skip
    _write(folder / INDEX, index)
    return pictures.ids


class Texts:
    """What is said of an autoencoder's latents, each once, in the order in which it is first said."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}

    def place(self, text: str) -> int:
        return self._places.setdefault(text, len(self._places))

    def as_dict(self) -> dict[str, Any]:
        return {"schema": SCHEMA, "texts": list(self._places)}


def placed(part: dict[str, Any], texts: Texts) -> dict[str, Any]:
    """A file of details with places in the place of texts: labels of pictures, factors with their values, captions."""
    place = texts.place
    pictures = {number: [image_id, place(label)] for number, (image_id, label) in part["pictures"].items()}
    latents = []
    for latent in part["latents"]:
        steering = latent["steering"]
        if steering and "captions" in steering:
            steering = steering | {"captions": [[place(text) for text in said] for said in steering["captions"]]}
        detects = [[place(factor), place(value), *rest] for factor, value, *rest in latent["detects"]]
        latents.append(latent | {"detects": detects, "steering": steering})
    return part | {"schema": SCHEMA_OF_LATENTS, "pictures": pictures, "latents": latents}


def write_page(folder: Path) -> None:
    """Put the page itself beside its data."""
    for path in sorted(PAGE.iterdir()):
        shutil.copyfile(path, folder / path.name)


def _facts(measured: Measured, pictures: Numbered) -> dict[str, Any]:
    sae, statistics = measured.sae, measured.statistics
    return {
        "key": measured.key, "title": measured.title, "sentence": measured.sentence, "hash": sae.hash,
        "latents": sae.n_latents, "groups": list(sae.group_sizes), "per_file": PER_FILE,
        "pictures": statistics.n_images, "silent": int((statistics.firing_count() == 0).sum()),
        "tree": bool(measured.known.tree), "steering": _steering(measured.steered, pictures),
    }  # fmt: skip


def _steering(steered: Steered | None, pictures: Numbered) -> dict[str, Any] | None:
    if steered is None:
        return None
    return {
        "doses": list(DOSES), "prompt": steered.prompt, "pictures": [pictures.number(i) for i in steered.pictures],
        "before": [str(text) for text in steered.before], "tried": len(steered.latents),
    }  # fmt: skip


def _tree(measured: Measured) -> dict[str, Any]:
    """The taxa, and of each latent the one that it detects best; ``first`` where it detects nothing else better."""
    nodes, found, n = measured.known.tree, measured.on_tree, measured.sae.n_latents
    place, best = found.first(n), measured.detects.first(n)
    factors, ranks = measured.known.factors, [f for f in measured.known.factors if f.nodes is not None]
    latents: dict[str, list[Any]] = {name: [] for name in ("latent", "node", "precision", "recall", "first")}
    for latent in np.flatnonzero(place >= 0).tolist():
        own = place[latent]
        factor = ranks[found.factor[own]]
        assert factor.nodes is not None  # that is what ranks are
        latents["latent"].append(latent)
        latents["node"].append(int(factor.nodes[found.value[own]]))
        latents["precision"].append(round(float(found.precision[own]), 3))
        latents["recall"].append(round(float(found.recall[own]), 3))
        latents["first"].append(int(factors[measured.detects.factor[best[latent]]].nodes is not None))
    return {
        "schema": SCHEMA,
        "nodes": {
            "name": [node.name for node in nodes], "rank": [node.rank for node in nodes],
            "parent": [-1 if node.parent is None else node.parent for node in nodes],
            "pictures": [node.pictures for node in nodes],
        },
        "latents": latents,
    }  # fmt: skip


def _write(path: Path, content: Any) -> None:
    write_bytes(path, (canonical_json(content) + "\n").encode())
