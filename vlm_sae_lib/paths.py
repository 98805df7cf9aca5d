"""The only module that knows where files lie.

Papermill, nbval and Jupyter Book each start in a different folder, so nothing else in the library or in a notebook may
use a relative path.
"""

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def root() -> Path:
    """The checkout: the folder that holds ``_config.yml`` (``VLM_SAE_ROOT`` overrides it)."""
    return Path(os.environ.get("VLM_SAE_ROOT", PACKAGE.parent)).resolve()


def notebooks() -> Path:
    return root() / "notebooks"


def data() -> Path:
    return root() / "data"


def published() -> Path:
    """The paper's own numbers, as CSV."""
    return data() / "published"


def wordnet() -> Path:
    """ImageNet's classes in WordNet's tree."""
    return data() / "wordnet"


def pocket() -> Path:
    """The pocket models' weights and cards."""
    return data() / "pocket"


def islands() -> Path:
    """The models of the other islands, a folder for each; ``make islands`` trains them, git does not hold them."""
    return runs("islands")


def runs(profile: str) -> Path:
    """What a run of ``profile`` makes: activations, SAEs, scores, results (``VLM_SAE_RUNS`` moves it)."""
    return Path(os.environ.get("VLM_SAE_RUNS", root() / "runs")).resolve() / profile


def pictures() -> Path:
    """Pictures that a source has fetched by itself, for all profiles."""
    return runs("pictures")


def datasets() -> Path:
    """Where ``imagenet/`` and ``inat2021/`` lie, if they do (``VLM_SAE_DATASETS`` names another folder)."""
    return Path(os.environ.get("VLM_SAE_DATASETS", data())).resolve()


def results(profile: str) -> Path:
    return runs(profile) / "results"


def published_results() -> Path:
    """The results files of the published notebooks, committed with them; the book's prose reads its numbers here."""
    return data() / "results"


def cover() -> Path:
    """The picture in the README: the explorer of the book's first page, as the built book shows it."""
    return root() / "book" / "images" / "cover.png"


def site() -> Path:
    return root() / "_build" / "html"
