"""What can go wrong between a model's name and a model in memory, each as one sentence with the way out."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.machine.devices import out_of_memory
from vlm_sae_lib.quoting import quoted


def split_revision(name: str) -> tuple[str, str | None]:
    """``owner/name@revision`` in its two parts; the revision is None where none is given."""
    repository, at, revision = name.partition("@")
    return (repository, revision or None) if at else (name, None)


def locate(where: str) -> tuple[str, str | None]:
    """A VLM's folder, or its repository with the revision.

    Raises: UserError for a folder that is not there or holds no configuration.
    """
    folder = Path(where).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise UserError(f"{folder} has no config.json: give a VLM's folder, or a repository as hf:<owner>/<name>")
        return str(folder), None
    if folder.is_absolute() or where.startswith((".", "~")) or where.count("/") > 1:
        raise UserError(f"there is no folder {where}: give the folder of a LLaVA, or a repository as hf:<owner>/<name>")
    return split_revision(where)


MOST = {
    re.compile(r"(layers|depths?|blocks|experts)$"): 10_000,
    re.compile(r"(size|dim|width|channels|heads|embeddings|context_length)$"): 2**24,
}
"""Beyond what any model has; a library would build a layer after the other until no memory is left."""


def believable(config: dict[str, Any]) -> None:
    """Raises ValueError for a model's configuration that asks for more layers, or larger ones, than any model has."""
    for name, value in config.items():
        for part in value if isinstance(value, list | tuple) else [value]:
            if isinstance(part, dict):
                believable(part)
            elif isinstance(part, int) and any(part > most for ends, most in MOST.items() if ends.search(str(name))):
                raise ValueError(f"its configuration has {name} = {quoted(part, 20)}, which no model has")


def model_config(where: str, revision: str | None) -> Any:
    """A model's configuration as ``transformers`` has it; no code of the repository is run for it.

    Raises: as ``believable`` and as ``transformers``, so that it is called within ``loading``.
    """
    from transformers import AutoConfig, PretrainedConfig

    believable(PretrainedConfig.get_config_dict(where, revision=revision)[0])
    return AutoConfig.from_pretrained(where, revision=revision, trust_remote_code=False)


@contextmanager
def loading(spec: str, library: str) -> Iterator[None]:
    """Whatever goes wrong inside is a UserError of one sentence; a UserError passes as it is."""
    try:
        with quiet():
            yield
    except UserError:
        raise
    except Exception as error:  # network, disk, memory and format errors of half a dozen libraries
        raise UserError(f"{library} could not load {spec}: {way_out(error, spec)}.") from error


def way_out(error: BaseException, spec: str) -> str:
    """Why it failed and what to do, in words that end a sentence; of an unknown reason the error's own first line."""
    from huggingface_hub import constants, errors

    repository = split_revision(spec.rpartition(":")[2])[0]
    chain = list(_chain(error))
    kinds = {type(link).__name__ for link in chain}
    words = " ".join(str(link) for link in chain).lower()

    def among(*types: type) -> bool:
        return any(isinstance(link, types) for link in chain)

    if among(errors.GatedRepoError) or "trying to access a gated repo" in words:
        return (
            f"{repository} is gated, so accept its terms at {constants.ENDPOINT}/{repository} and sign in with "
            "`hf auth login` or the variable HF_TOKEN"
        )
    if among(errors.RepositoryNotFoundError):
        return (
            f"the hub shows no repository {repository}, so check the spelling, or sign in with `hf auth login` or the "
            "variable HF_TOKEN if it is private"
        )
    if among(errors.RevisionNotFoundError):
        return f"{repository} has no such revision, so leave out what follows the @, or name a commit of it"
    if any(isinstance(link, OSError) and link.errno in (errno.ENOSPC, errno.EDQUOT) for link in chain):
        return "the disk is full, so free some space, or let the variable HF_HOME name a folder on another disk"
    if any(map(out_of_memory, chain)):
        return "there is too little memory for it, so name a smaller model, close what else runs, or give device='auto'"
    if among(errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) or kinds & {"ConnectError", "ConnectTimeout"}:
        if constants.HF_HUB_OFFLINE:
            return (
                f"it is not in the cache {constants.HF_HUB_CACHE} and HF_HUB_OFFLINE is set, so unset it, or run "
                f"`hf download {repository}` where there is a network"
            )
        return (
            f"it is not in the cache {constants.HF_HUB_CACHE} and the hub cannot be reached, so check the network, or "
            f"run `hf download {repository}` where there is one"
        )
    if "does not recognize this architecture" in words:
        import transformers

        return (
            f"transformers {transformers.__version__} does not know its architecture, so name another model, or "
            "update it by `pip install -U transformers`"
        )
    return first_sentence(error)


def first_sentence(error: BaseException) -> str:
    """The first sentence of an error's first line, without its full stop; its class where it says nothing."""
    lines = str(error).strip().splitlines()
    return quoted(lines[0].split(". ")[0].rstrip(".")) if lines else type(error).__name__


@contextmanager
def quiet() -> Iterator[None]:
    """No bar per file and no report on unused weights, which for a text part is as long as the model is deep."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
