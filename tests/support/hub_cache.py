"""Folders laid out as the hub's cache, and the hub out of reach: what a reader has who downloaded before a journey."""

from collections.abc import Callable
from pathlib import Path

REVISION = "0123456789abcdef0123456789abcdef01234567"


def put(cache: Path, repository: str, write: Callable[[Path], object], revision: str = REVISION) -> None:
    """``models--owner--name/snapshots/<revision>`` as ``write(folder)`` fills it, with main pointing there."""
    root = cache / ("models--" + repository.replace("/", "--"))
    folder = root / "snapshots" / revision
    folder.parent.mkdir(parents=True)
    write(folder)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(revision)


def offline(patch, cache: Path) -> None:
    """What ``HF_HUB_CACHE=<cache> HF_HUB_OFFLINE=1`` does before Python starts; ``patch`` is pytest's monkeypatch."""
    import huggingface_hub.constants as constants
    import transformers.utils.hub as hub

    for module, name, value in (
        (constants, "HF_HUB_CACHE", str(cache)),
        (constants, "HF_HUB_OFFLINE", True),
        (hub, "TRANSFORMERS_CACHE", str(cache)),
        (hub, "_is_offline_mode", True),
    ):
        if hasattr(module, name):
            patch.setattr(module, name, value)
