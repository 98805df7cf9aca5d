"""The book's own atlas: its data, made by a run and committed, and what is added when the site is built.

The committed data holds no pictures: those of the pocket world are painted from their numbers.
"""

from collections.abc import Sequence
from pathlib import Path

from vlm_sae_lib import paths
from vlm_sae_lib.atlas import book
from vlm_sae_lib.atlas.pictures import write_sheets
from vlm_sae_lib.atlas.writing import INDEX, SHEETS, atlas_folder, write_data, write_page
from vlm_sae_lib.experiments.running import FOR_OTHERS
from vlm_sae_lib.files import content_hash, read_json, write_bytes, write_json
from vlm_sae_lib.pictures import load_pictures
from vlm_sae_lib.profiles import load_profile
from vlm_sae_lib.records.provenance import code_hash, models_hash, settings_hash

TITLE = "The neuron atlas"
HOME = "../index.html"
LIVE = "../live/index.html"
MADE_FROM = "made_from.json"
CODE = ("vlm_sae_lib.atlas.book", "vlm_sae_lib.atlas.columns", "vlm_sae_lib.atlas.details")


def folder() -> Path:
    """The committed data."""
    return paths.data() / "atlas"


def make() -> Path:
    """Measure every latent anew, and write the committed data; minutes."""
    atlas, profile = book.measured(), load_profile(book.PROFILE)
    with atlas_folder(folder()) as out:
        ids = write_data(out, atlas, TITLE, sheets=True, book=HOME)
        write_json(out / MADE_FROM, inputs() | {"pictures": profile.test_pictures, "ids": ids})
    return folder()


def inputs() -> dict[str, str]:
    """What the data follows from, as hashes."""
    profile = load_profile(book.PROFILE)
    code = content_hash([code_hash(module, without=FOR_OTHERS) for module in CODE])
    return {"code": code, "models": models_hash(profile), "settings": settings_hash(profile)}


def stale() -> list[str]:
    """Which inputs of the committed data are no longer those of today."""
    made = read_json(folder() / MADE_FROM)
    return [name for name, value in inputs().items() if made.get(name) != value]


def publish(site: Path, live: Sequence[int] = ()) -> Path:
    """Put the atlas into a site, as ``atlas/``: the committed data, the page, the pictures; return its index.

    ``live``: the latents that the site's live page has, for a link from each of them.
    """
    made = read_json(folder() / MADE_FROM)
    there = {"sae": "steering", "address": LIVE, "latents": list(live)} if live else None
    with atlas_folder(site / "atlas") as out:
        for path in sorted(folder().rglob("*.json")):
            if path.name != MADE_FROM:
                write_bytes(out / path.relative_to(folder()), path.read_bytes())
        write_json(out / INDEX, read_json(out / INDEX) | {"live": there})
        write_page(out)
        write_sheets(out / SHEETS, load_pictures(made["pictures"]), made["ids"], publish=True)
    return site / "atlas" / INDEX
