"""Pictures streamed from a data set of the Hugging Face hub, or from a local folder laid out like one.

``datasets`` streams: a picture comes when it is its turn and is stored nowhere. So one picture alone costs all that
stand before it; who wants many takes a subset and iterates, which is one pass.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import tee
from pathlib import Path
from typing import Any

import pandas as pd

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import content_hash, folder_hash
from vlm_sae_lib.loading import split_revision, way_out
from vlm_sae_lib.pictures.decoding import in_threads
from vlm_sae_lib.pictures.reading import Readable, printable
from vlm_sae_lib.pictures.source import Item, PictureSource

LISTED = 12  # configurations; some data sets have hundreds
UNREACHABLE = {"OfflineModeIsEnabled", "LocalEntryNotFoundError", "ConnectionError", "ConnectError", "ConnectTimeout",
               "ReadError", "ReadTimeout", "RemoteProtocolError"}  # of huggingface_hub, datasets and httpx  # fmt: skip


def hf_datasets(spec: str, rest: str) -> "StreamedPictures":
    """The source ``hf-datasets:<repo or folder>[@<revision>]:[<configuration>/]<split>:<n>``.

    ``rest`` is what follows the first colon. Of a data set with several configurations, which the hub also calls
    subsets, one has to be named unless it says itself which is the default; no name of one can hold ``/`` or ``:``.

    Raises:
        UserError: another spelling; ``datasets`` is not installed; the data set is not there, gated or out of reach;
            no such configuration or split; no column of pictures; fewer than n pictures.
    """
    place, split, n = rest.rsplit(":", 2) if rest.count(":") > 1 else ("", "", "")
    if not (place and split and n.isdecimal() and int(n)):
        raise UserError(
            f'{spec} is no data set: write "hf-datasets:<repo>[@<revision>]:[<configuration>/]<split>:<n>", or a '
            "folder for the repo."
        )
    folder = Path(place).expanduser()
    if folder.is_dir():
        root = folder.resolve()
        place = printable(root.name)
        # a folder is known by what it holds and not by where it lies
        stream = _open(spec, str(root), None, split, ["", folder_hash(root)])
    elif place.startswith((".", "/", "~")) or place.count("/") > 1:
        raise UserError(f"{spec} names no folder: there is no {place}.")
    else:
        repository, revision = split_revision(place)
        with _reaching(spec, repository):
            from huggingface_hub import HfApi

            commit = HfApi().dataset_info(repository, revision=revision).sha
            assert commit is not None  # who asks for it is told the commit
        root = None
        stream = _open(spec, repository, commit, split, [repository, commit])
    if stream.length is not None and stream.length < int(n):
        raise _too_short(spec, stream.length)
    return StreamedPictures(f"hf-datasets:{place}:{split}:{n}", stream, int(n), range(int(n)), root)


@dataclass
class Stream:
    """The rows of one split: which columns are the picture and the label (None: there is none), its class names."""

    spec: str
    repository: str
    split: str
    """As it was asked for: with its configuration, where one was named."""
    rows: Any
    picture: str
    label: str | None
    classes: list[str]
    length: int | None
    version: list[str]
    """Repository and commit; of a folder its content's hash."""
    seen: dict[int, str | None] = field(default_factory=dict)
    """The classes of the rows read so far."""

    def read(self, first: int, *, labels_only: bool = False) -> Iterator[tuple[int, dict[str, Any]]]:
        """``(position, row)`` from a position on; UserError when the connection breaks."""
        rows = self.rows.select_columns([self.label]) if labels_only else self.rows
        with _reaching(self.spec, self.repository):
            for position, row in enumerate(rows.skip(first), start=first):
                if self.label:
                    index = row[self.label]
                    # a split whose classes are secret has −1
                    self.seen[position] = None if index is None or index < 0 else self.classes[index]
                yield position, row

    def readable(self, value: dict[str, Any] | None) -> Readable:
        """What a cell of the picture column says: the file's bytes, or where it lies."""
        value = value or {}
        if value.get("bytes") is not None or not value.get("path"):
            return value.get("bytes") or b""
        path = value["path"]
        return partial(self._fetch, path) if "://" in path else Path(path)

    def _fetch(self, address: str) -> bytes:
        import fsspec

        with _reaching(self.spec, self.repository), fsspec.open(address, "rb") as file:
            return file.read()


class StreamedPictures(PictureSource):
    """The first ``n`` pictures of a stream, or those of them with the given ids; threads decode them."""

    def __init__(self, name: str, stream: Stream, n: int, ids: Sequence[int], root: Path | None = None) -> None:
        super().__init__(name, [Item(i, f"{stream.split}[{i}]", b"") for i in ids], root=root)
        self.names = [f"{stream.split}[{i}]" for i in range(n)]
        self.folders = [None] * n
        self.stream, self.n = stream, n

    def _read(self, first: int, transform: Callable | None, workers: int | None) -> Iterator[tuple]:
        items, ahead = tee(self._streamed([int(i) for i in self.ids if i >= first]))
        return zip(items, in_threads((item.picture for item in ahead), transform), strict=True)

    def _item(self, image_id: int) -> Item:
        return next(self._streamed(self._hold([image_id])))

    def _streamed(self, ids: list[int]) -> Iterator[Item]:
        """The candidates with these ids, ascending, in one pass; UserError where the stream ends before them."""
        wanted, position = set(ids), -1
        for position, row in self.stream.read(ids[0]) if ids else ():
            if position in wanted:
                cell = row[self.stream.picture]
                path = (cell or {}).get("path") or ""
                file = Path(path.partition("::")[0]).name  # a::b is the file a of the archive b
                name = self.names[position] + (f" ({printable(file)})" if file else "")
                yield Item(position, name, self.stream.readable(cell))
            if position == ids[-1]:
                return
        if ids:
            raise _too_short(self.stream.spec, position + 1 if position >= 0 else None)

    @cached_property
    def factors(self) -> pd.DataFrame | None:
        """``class``, as the label column names it; None without one. Labels not met yet cost a pass over the rows."""
        if self.stream.label is None:
            return None
        ids, seen = self.ids.tolist(), self.stream.seen
        if ids and not seen.keys() >= set(ids):
            last = -1
            for last, _ in self.stream.read(0, labels_only=True):
                if last == ids[-1]:
                    break
            if last < ids[-1]:
                raise _too_short(self.stream.spec, last + 1)
        return pd.DataFrame({"class": [seen[i] for i in ids]}, index=pd.Index(self.ids, name="image_id"))

    @cached_property
    def fingerprint(self) -> str:
        """Hash of repository, commit, split and n (of a folder: its files' names and bytes), and of a subset's ids."""
        ids = self.ids.tolist() if len(self) < self.n else None
        return content_hash([*self.stream.version, self.stream.split, self.n, ids])

    def subset(self, ids: Sequence[int]) -> "StreamedPictures":
        ids = self._hold(ids)
        return StreamedPictures(self._name_of(ids), self.stream, self.n, ids, self.root)


def _open(spec: str, path: str, revision: str | None, asked: str, version: list[str]) -> Stream:
    """A split (``asked``: after ``<configuration>/``, or alone) as a stream of undecoded pictures and their labels."""
    configuration, _, split = asked.rpartition("/")
    try:
        from datasets import ClassLabel, Image, get_dataset_config_names, load_dataset
    except ImportError as error:
        raise UserError(f"{spec} needs the package datasets: install it by `pip install datasets`.") from error
    with _reaching(spec, path):
        try:
            splits = load_dataset(path, configuration or None, revision=revision, streaming=True)
        except ValueError as error:
            names = get_dataset_config_names(path, revision=revision)
            if configuration in names or (not configuration and "Config name is missing" not in str(error)):
                raise
            raise _no_configuration(spec, configuration, names) from error
    if split not in splits:
        raise UserError(f"{spec} has no split {split!r}: take {' or '.join(map(str, splits))}.")
    rows = splits[split]
    columns = rows.features or {}
    pictures = [name for name, kind in columns.items() if isinstance(kind, Image)]
    if not pictures:
        found = f"its columns are {', '.join(columns)}" if columns else "it does not say what its columns hold"
        raise UserError(f"{spec} has no column of pictures ({found}): name a data set with one.")
    label = next((name for name, kind in columns.items() if isinstance(kind, ClassLabel)), None)
    stated = (rows.info.splits or {}).get(split)
    rows = rows.decode(False)  # a file that cannot be decoded would end the stream
    return Stream(
        spec=spec,
        repository=path,
        split=asked,
        rows=rows.select_columns([pictures[0], label] if label else [pictures[0]]),
        picture=pictures[0],
        label=label,
        classes=columns[label].names if label else [],
        length=(stated and stated.num_examples) or None,
        version=version,
    )


def _no_configuration(spec: str, configuration: str, names: Sequence[str]) -> UserError:
    place, split, n = spec.rsplit(":", 2)
    example = f"{place}:{names[0]}/{split.rpartition('/')[2]}:{n}"
    listed = " or ".join(names[:LISTED]) + f" or one of {len(names) - LISTED} more" * (len(names) > LISTED)
    what = f"no configuration {configuration!r}" if configuration else f"{len(names)} configurations"
    return UserError(f"{spec} has {what}: take {listed}, as in {example}.")


def _too_short(spec: str, length: int | None) -> UserError:
    """``length`` None: it ends before the first picture that is wanted."""
    return UserError(f"{spec} asks for more pictures than there are: its split holds {length or 'fewer'}.")


@contextmanager
def _reaching(spec: str, repository: str) -> Iterator[None]:
    """Whatever goes wrong inside is a UserError of one sentence; a UserError passes as it is."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # network and format errors of half a dozen libraries
        link: BaseException | None = error
        while link is not None and type(link).__name__ not in UNREACHABLE:
            link = link.__cause__ or link.__context__
        if link is None or Path(repository).is_dir():
            # datasets drops the hub's own error here; these are the words of it that way_out knows
            gated = "is a gated dataset on the Hub" in str(error)
            cause = OSError("trying to access a gated repo") if gated else error
            reason = way_out(cause, repository if Path(repository).is_dir() else f"datasets/{repository}")
            raise UserError(f"datasets could not open {spec}: {reason}.") from error
        offline = type(link).__name__ == "OfflineModeIsEnabled"
        raise UserError(
            f"{spec} streams from the hub, which cannot be reached{', as HF_HUB_OFFLINE is set' * offline}: where it "
            f"can, run `hf download --repo-type dataset {repository} --local-dir <folder>`, then write the folder in "
            f"place of {repository}."
        ) from error
