"""SAEs on the Hugging Face hub, fetched by revision; ``publishing.sae_card`` puts one there."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.loading import way_out
from vlm_sae_lib.sae.artefact import SparseAutoencoder


def from_hub(repo_id: str, *, revision: str, file: str | None = None, device: Any = None) -> SparseAutoencoder:
    """The SAE in a repository: at its root, or in ``file``, which is a checkpoint or a folder within it. Nothing is
    fetched but the files that it is read from.

    ``revision`` is a commit, a tag or a branch; the commit it stands for is written to ``metadata["source"]``, and
    with a commit the SAE is the same for ever. With HF_HUB_OFFLINE only the cache is asked.

    Raises ``UserError`` for what is not there, gated, private, not cached while offline, one of several checkpoints, or
    no SAE that can be read.
    """
    commit, names = listing(repo_id, revision)
    where = f"{repo_id} at {revision}"
    wanted = _wanted(names, PurePosixPath(file or ""), where)
    if not any(PurePosixPath(name).suffix != ".json" for name in wanted):
        shown = ", ".join(sorted({name.rpartition("/")[0] or name for name in names})[:6]) or "nothing"
        raise UserError(
            f"{where} has no SAE {f'at {file}' if file else 'at its root'}: name one of what it holds ({shown})."
        )
    for name in wanted:
        path = fetch(repo_id, name, commit)
    root = path.parents[name.count("/")]
    sae = SparseAutoencoder.load(root / (file or ""), device=device)
    source = {"repo": repo_id, "revision": commit, "file": file or ""}
    return replace(sae, metadata={**sae.metadata, "source": source})


def listing(repo_id: str, revision: str | None) -> tuple[str, list[str]]:
    """(commit, files) of a repository at a revision (None: its main branch); offline, of what is in the cache."""
    from huggingface_hub import HfApi, constants, snapshot_download

    with hub_errors(repo_id):
        if constants.HF_HUB_OFFLINE:
            root = Path(snapshot_download(repo_id, revision=revision, local_files_only=True))
            files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
            return root.name, files
        info = HfApi().model_info(repo_id, revision=revision)
        assert info.sha is not None  # who asks for it is told the commit
        return info.sha, sorted(file.rfilename for file in info.siblings or ())


def fetch(repo_id: str, file: str, commit: str) -> Path:
    """A file of a repository at a commit, from the cache or the hub."""
    from huggingface_hub import hf_hub_download

    with hub_errors(repo_id):
        return Path(hf_hub_download(repo_id, file, revision=commit))


@contextmanager
def hub_errors(repo_id: str, *, writing: bool = False) -> Iterator[None]:
    """Whatever the hub refuses inside is a ``UserError`` of one sentence with the way out."""
    from huggingface_hub import errors

    try:
        yield
    except UserError:
        raise
    except errors.HFValidationError as error:
        raise UserError(f"{repo_id!r} is no repository on the hub: give it as owner/name.") from error
    except Exception as error:  # network, disk and access errors of several libraries
        status = getattr(getattr(error, "response", None), "status_code", None)
        if writing and (isinstance(error, errors.LocalTokenNotFoundError) or status == 401):
            raise UserError(
                f"nothing can be uploaded to {repo_id} without a token: sign in with `hf auth login`, or set HF_TOKEN."
            ) from error
        if writing and status == 403:
            raise UserError(
                f"this token may not write to {repo_id}: make one with write access, or name your own."
            ) from error
        doing = "could not be written" if writing else "could not be read"
        raise UserError(f"{repo_id} {doing}: {way_out(error, repo_id)}.") from error


def _wanted(names: list[str], target: PurePosixPath, where: str) -> list[str]:
    """The files of a repository that the SAE at ``target`` is read from; a checkpoint's settings lie beside it or one
    folder above."""
    from vlm_sae_lib.sae.files import formats

    if str(target) in names:
        files = [target]
    else:
        inside = [PurePosixPath(name).name for name in names if PurePosixPath(name).parent == target]
        files = [target / name for name in formats.needed(inside, f"{where} {target}")]
    checkpoints = [file for file in files if file.suffix not in (".json", ".safetensors")]
    settings = {folder / "config.json" for file in checkpoints for folder in file.parents[:2]}
    return [*sorted(str(file) for file in settings if str(file) in names), *map(str, files)]
