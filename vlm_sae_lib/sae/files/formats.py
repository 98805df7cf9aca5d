"""Which library wrote an SAE, told by what lies there; ``foreign/`` reads it."""

import fnmatch
from collections.abc import Sequence
from pathlib import Path

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import canonical_json
from vlm_sae_lib.machine.devices import out_of_memory
from vlm_sae_lib.quoting import quoted
from vlm_sae_lib.sae.artefact import SparseAutoencoder
from vlm_sae_lib.sae.files import folder
from vlm_sae_lib.sae.foreign import dictionary_learning, overcomplete, prisma, sae_lens, saev, sparsify
from vlm_sae_lib.sae.foreign.torch_files import tensors_only


def load(path: str | Path) -> SparseAutoencoder:
    """Read an SAE in any known format; see ``SparseAutoencoder.load``."""
    path = Path(path)
    if not path.exists():
        raise UserError(f"there is no SAE at {path}: check the path.")
    try:
        if path.is_dir() and (path / folder.CONFIG).exists():
            return _sound(path, _folder(path))
        return _sound(path, _file(_one_checkpoint(path) if path.is_dir() else path))
    except UserError as error:  # it may quote what a stranger wrote
        raise UserError(quoted(error)) from error
    except Exception as error:  # strangers write all
        if out_of_memory(error):
            raise UserError(f"There is too little memory for the SAE {path}: close what else runs, or name a narrower "
                            "one.") from error  # fmt: skip
        reason = quoted(f"{type(error).__name__}: {error}".partition("\n")[0])
        raise UserError(f"{path} holds no SAE that can be read ({reason}): fetch it again or save it anew.") from error


def _sound(path: Path, sae: SparseAutoencoder) -> SparseAutoencoder:
    """The same. Raises ``UserError`` where what lies beside its tensors cannot be."""
    if min(sae.group_sizes) < 0:
        raise UserError(f"{path} has a group of {min(sae.group_sizes)} latents: fetch it again or save it anew.")
    if sae.k is not None and type(sae.k) is not int:
        raise UserError(f"{path} has a k of {sae.k!r}, which is no whole number: fetch it again or save it anew.")
    try:
        canonical_json(sae.metadata).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{path} has settings that are no JSON ({error}): fetch it again or save it anew.") from error
    return sae


def _folder(path: Path) -> SparseAutoencoder:
    if (path / sparsify.WEIGHTS).exists():
        return sparsify.read(path, *folder.contents(path, sparsify.WEIGHTS))
    config, tensors = folder.contents(path)
    if folder.is_ours(config):
        return folder.read(path)
    missing = [name for name in ("W_enc", "b_enc", "W_dec", "b_dec") if name not in tensors]
    if missing and config.get("architecture", "standard") in sae_lens.KINDS:
        raise UserError(f"{path / folder.WEIGHTS} lacks {', '.join(missing)}: fetch the folder again.")
    return sae_lens.read(path, config, tensors)


def needed(names: Sequence[str], where: str) -> list[str]:
    """Which files of a folder are read, told by the names of all; none where there is no SAE, or none alone.

    Raises ``UserError`` where there are several checkpoints.
    """
    if folder.CONFIG in names:
        read = (folder.CONFIG, folder.WEIGHTS, sparsify.WEIGHTS, folder.PROBE, sae_lens.SCALER)
        return [name for name in read if name in names]
    checkpoint = _checkpoint(names, where)
    return [checkpoint] if checkpoint else []


def _checkpoint(names: Sequence[str], where: str) -> str | None:
    """The one torch file among names; an ``ae.pt`` has its intermediate checkpoints beside it."""
    for pattern in ("ae.pt", "ae_*.pt", "*.pt"):
        found = fnmatch.filter(names, pattern)
        if len(found) == 1:
            return found[0]
        if found:
            raise UserError(f"{where} holds {len(found)} {pattern} files: name one checkpoint of them.")
    return None


def _one_checkpoint(path: Path) -> Path:
    found = _checkpoint([file.name for file in path.iterdir()], str(path))
    if found:
        return path / found
    inner = sorted({file.parent.name for name in (folder.CONFIG, "ae.pt") for file in path.glob(f"*/{name}")})
    if inner:
        raise UserError(f"{path} holds SAE folders and is none: name one of {', '.join(inner[:6])}.")
    raise UserError(f"{path} holds neither cfg.json nor an ae.pt: give an SAE folder or name one checkpoint file.")


def _file(path: Path) -> SparseAutoencoder:
    if saev.is_saev(path):
        return saev.read(path)
    state = tensors_only(path)
    if overcomplete.is_overcomplete(state):
        return overcomplete.read(path, state)
    config = prisma.settings(path, state)
    if config is not None:
        return prisma.read(path, state, config)
    return dictionary_learning.read(path, state)
