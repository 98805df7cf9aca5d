"""A public picture set of manageable size that fetches itself: a sample of iNaturalist 2021's validation pictures.

The archive (10,000 species, 10 pictures of each, 8.4 GB) is read once, as a stream, and never stored. A species is kept
if the SHA-256 of its folder's name, read as a fraction of 1, lies below ``species`` / 10,000: which are kept depends on
no order and no other name, they spread over the whole tree, their number is about ``species`` (1000: give or take 30),
and a larger sample contains the smaller. The pictures of a species, sorted by file name, go to train (six), choosing
(two) and test (the rest), each at most 384 pixels on its short side.
"""

import errno
import hashlib
import os
import re
import shutil
import tarfile
import zlib
from io import BytesIO
from pathlib import Path

from PIL import Image

from vlm_sae_lib import paths
from vlm_sae_lib.archives import Bounded, check_size
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import alone, whole_folder, write_json
from vlm_sae_lib.loading import first_sentence
from vlm_sae_lib.pictures.archive import MEGABYTE, Archive
from vlm_sae_lib.pictures.folders import TAXON_FOLDER, inat2021
from vlm_sae_lib.pictures.reading import read
from vlm_sae_lib.pictures.source import PictureSource
from vlm_sae_lib.quoting import quoted
from vlm_sae_lib.terms import INAT2021

SPECIES = 10_000
SHORT_SIDE = 384
QUALITY = 92
SPLITS = {"train": slice(0, 6), "choosing": slice(6, 8), "test": slice(8, None)}
PER_SPECIES = {"train": 6, "choosing": 2, "test": 2}
"""Pictures of a species in each split: the archive has ten."""
LARGEST = 64 * 2**20
"""Bytes of a picture in the archive: the largest has less than one of them."""
UNPACKED = 2**34
"""Bytes of the archive: pictures pack to little less than they are."""
PACKED = 2**16
"""Bytes that are unpacked at once: they may become a thousand times as many."""
ARCHIVE = "val.tar.gz"
COMPLETE = "complete.json"
SPELLED = re.compile(rf"(\d+):({'|'.join(SPLITS)})(?::(\d+))?")
MEMBER = re.compile(r"(?:\./)?val/([^/\0]+)/([^/\0]+)\.jpe?g", re.IGNORECASE)
LICENCE = """\
A sample of the validation pictures of iNaturalist 2021, made smaller.

Each picture is under the licence that its photographer chose, mostly a Creative Commons one (some forbid commercial
use or changes); photographer and licence of each stand in val.json.tar.gz beside the archive, under the name of the
file. Who downloads the data set agrees to more (terms of use, 2 and 3): "You will use the data only for non-commercial
research and educational purposes. You will NOT distribute the dataset images." So keep this folder to yourself.

Source: {url}
Terms: {terms}
Citation: G. Van Horn, E. Cole, S. Beery, K. Wilber, S. Belongie, O. Mac Aodha. Benchmarking Representation Learning for
Natural World Image Collections. CVPR 2021.
"""


def inat2021_sample(spec: str, rest: str) -> PictureSource:
    """The source ``inat2021-sample:<species>:<split>[:<of>]``, of which ``rest`` is what follows the first colon.

    With ``of`` it is the pictures of a smaller sample, about so many species, which the larger one contains: a test
    needs fewer pictures than training, and the archive is read once. What has been fetched lies in
    ``paths.pictures()`` and is used from then on, without a network.

    Raises:
        UserError: another spelling; no network, a download that breaks off or has another checksum, a full disk.
    """
    asked = SPELLED.fullmatch(rest)
    species, split, of = (int(asked[1]), asked[2], int(asked[3] or asked[1])) if asked else (0, "", 0)
    if not 1 <= of <= species <= SPECIES:
        raise UserError(
            f'{spec} is no such sample: write "inat2021-sample:<species>:<split>[:<of>]" with 1 to {SPECIES} species, '
            f"the split {', '.join(SPLITS)} and, if need be, the number of species that are taken of these."
        )
    folder = paths.pictures() / f"inat2021-sample-{species}"
    if not (folder / COMPLETE).is_file():
        _fetch(folder, species)
    source = inat2021(folder / split, name=f"inat2021-sample:{species}:{split}")
    if of == species:
        return source
    kept = [i for i, taxon in enumerate(source.folders) if taxon and is_kept(taxon, of)]
    if not kept:
        raise UserError(f"{spec} holds no species: ask for more than {of}.")
    return source.subset(kept)


def is_kept(folder: str, species: int) -> bool:
    """Whether a sample of about ``species`` species holds the one in this folder."""
    return int.from_bytes(hashlib.sha256(folder.encode()).digest()) * SPECIES < species << 256


def _fetch(folder: Path, species: int) -> None:
    """Make the sample, or wait until another process that makes one has done so."""
    from torchvision.datasets.inaturalist import DATASET_MD5, DATASET_URLS

    url, md5 = DATASET_URLS["2021_valid"], DATASET_MD5["2021_valid"]
    move = "let the variable VLM_SAE_RUNS name a folder"
    try:
        with alone(folder.parent):
            if (folder / COMPLETE).is_file():
                return
            for left in folder.parent.glob(f".{folder.name}.*"):  # of a process that was killed, since none runs now
                shutil.rmtree(left)
            with whole_folder(folder) as made, _opened(url) as archive:
                _fill(made, archive, species, md5)
                (made / "LICENCE.txt").write_text(LICENCE.format(url=url, terms=INAT2021.url), encoding="utf-8")
                write_json(made / COMPLETE, {"source": url, "md5": md5, **_counts(made)})
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"The disk is full: {folder} takes about {species} MB, so free some space, or {move} on another disk."
            ) from error
        raise UserError(f"{folder} cannot be written ({error.strerror or error}): {move} that can be.") from error


def _opened(url: str) -> Archive:
    """The archive: from beside the samples if it lies there, else from its public address."""
    from huggingface_hub import constants

    beside = paths.pictures() / ARCHIVE
    if constants.HF_HUB_OFFLINE and not beside.is_file():
        raise UserError(
            f"The pictures of iNaturalist 2021 are not here and HF_HUB_OFFLINE is set: unset it, or download {url} "
            f"(8.4 GB) where there is a network and put it at {beside}."
        )
    return Archive(url, beside, "iNaturalist 2021")


def _fill(made: Path, archive: Archive, species: int, md5: str) -> None:
    """The kept pictures as ``<made>/<split>/<folder>/<file>.jpg``; UserError if the stream is not the archive."""
    try:
        _keep(made / "all", archive, species)
    except (tarfile.TarError, EOFError, zlib.error, ValueError, ArithmeticError, LookupError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"{archive.where} is damaged at {archive.seen / MEGABYTE:.0f} MB ({quoted(first_sentence(error))}): "
            "nothing of it was kept, so fetch it again."
        ) from error
    archive.finish()
    if (found := archive.md5.hexdigest()) != md5:
        raise UserError(
            f"{archive.where} has the MD5 checksum {found} and not {md5}: nothing of it was kept, so fetch it again, "
            "or look whether the data set has moved."
        )
    folders = sorted((made / "all").iterdir())
    if not folders:
        raise UserError(f"A sample of {species} of {SPECIES} species holds none of those in the archive: ask for more.")
    for folder in folders:
        files = sorted(folder.iterdir())
        for split, part in SPLITS.items():
            target = made / split / folder.name
            target.mkdir(parents=True)
            for file in files[part]:
                os.replace(file, target / file.name)
    shutil.rmtree(made / "all")


def _keep(pool: Path, archive: Archive, species: int) -> None:
    """The kept species' pictures, made smaller, as ``<pool>/<folder>/<file>.jpg``."""
    pool.mkdir()
    # of a stream that is read from the front, tarfile asks for ``read`` alone
    with tarfile.open(fileobj=archive, mode="r|gz", bufsize=PACKED, tarinfo=Bounded) as tar:  # type: ignore[call-overload]
        for member in tar:
            if member.offset > UNPACKED:
                raise tarfile.ReadError(f"it unpacks to more than {UNPACKED} bytes")
            match = MEMBER.fullmatch(member.name)
            if not (match and member.isfile() and TAXON_FOLDER.fullmatch(match[1]) and is_kept(match[1], species)):
                continue
            check_size(member, LARGEST)
            (pool / match[1]).mkdir(exist_ok=True)
            file = tar.extractfile(member)
            assert file is not None  # a regular file has contents
            encoded = file.read()
            smaller, reason = read(encoded, _smaller)
            # one that cannot be read is kept as it is, so that the source names it among the unreadable ones
            (pool / match[1] / f"{match[2]}.jpg").write_bytes(encoded if reason else smaller)


def _smaller(picture: Image.Image) -> bytes:
    """A picture as JPEG, without its metadata, at most ``SHORT_SIDE`` pixels on its short side."""
    scale = min(1, SHORT_SIDE / min(picture.size))
    size = [max(1, round(side * scale)) for side in picture.size]
    file = BytesIO()
    picture.resize(size, Image.Resampling.LANCZOS).save(file, format="JPEG", quality=QUALITY)
    return file.getvalue()


def _counts(made: Path) -> dict[str, int]:
    """How many species, and how many pictures in each split."""
    pictures = {split: sum(1 for _ in (made / split).glob("*/*")) for split in SPLITS}
    return {"species": sum(1 for _ in (made / "train").iterdir()), **pictures}
