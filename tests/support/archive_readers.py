"""Readers of the archives that are fetched: of pictures, and of the user study."""

import hashlib
import io
import tarfile
from pathlib import Path
from random import Random
from shutil import rmtree
from typing import Any

import numpy as np
import pandas as pd
from fuzzing import Files, mutated_bytes
from PIL import Image

from vlm_sae_lib.pictures import sample
from vlm_sae_lib.pictures.archive import Archive
from vlm_sae_lib.scores.human_benchmark import HumanBenchmark


def species(number: int) -> str:
    return f"{number:05d}_Animalia_Arthropoda_Insecta_Coleoptera_Coccinellidae_Coccinella_s{number}"


def jpeg(colour: int, size: int = 8) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (size, size), (colour, 100, 100)).save(file, "JPEG")
    return file.getvalue()


def tarred(members: list[tuple[tarfile.TarInfo, bytes]], mode: str = "w:gz", **how: Any) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, **how) as archive:
        for info, data in members:
            info.size = len(data) if info.isreg() else info.size
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def member(name: str, **facts: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for fact, value in facts.items():
        setattr(info, fact, value)
    return info


def pictures_archive(folder: Path) -> list[Files]:
    """The archive of pictures, not packed: a changed byte then reaches what it is of."""
    members = [(member(f"val/{species(n)}/{i}.jpg"), jpeg(40 * n + i)) for n in range(3) for i in range(4)]
    forms = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
    long = [(member(f"val/{species(7)}é/{'n' * 120}.jpg"), jpeg(7))]  # no name that the oldest form can spell
    return [{"val.tar": tarred([*members, *long * (form != tarfile.USTAR_FORMAT)], "w", format=form)} for form in forms]


def changed_archive(files: Files, draw: Random) -> Files:
    """The headers are changed more often than the pictures, their checksums set right, so that they are believed."""
    data = bytearray(files["val.tar"])
    for _ in range(draw.choice((1, 1, 2))):
        if draw.random() < 0.3:
            data = bytearray(mutated_bytes(bytes(data), draw))
            continue
        heads = [at for at in range(0, len(data) - 511, 512) if data[at + 257 : at + 262] == b"ustar"]
        if not heads:
            break
        at = draw.choice(heads)
        place, width = draw.choice(((0, 100), (100, 8), (124, 12), (124, 12), (136, 12), (156, 1), (156, 1), (157, 100),
                                    (265, 32), (329, 8), (345, 155), (386, 24), (482, 1), (483, 12)))  # fmt: skip
        new = draw.choice((b"\0" * width, b"7" * width, b"\x80" + b"\0" * 7 + b"\xff" * 4, b"\xff" * width,
                           b"-1\0", b"../../../../tmp/x\0", b"/tmp/x\0", b"1", b"2", b"3", b"L", b"K",
                           b"x", b"g", b"S", b"X", b"00077777777\0", b"9" * width,
                           bytes(draw.randrange(256) for _ in range(width))))  # fmt: skip
        data[at + place : at + place + width] = new[:width].ljust(min(width, len(new)), b"\0")
        total = sum(data[at : at + 148]) + 256 + sum(data[at + 156 : at + 512])
        data[at + 148 : at + 156] = f"{total:06o}\0 ".encode()
    return {"val.tar": bytes(data)}


def read_pictures_archive(folder: Path, md5: str | None = None) -> None:
    """The archive as the sample takes it in: nothing is written but pictures below the folder's ``made``."""
    from gzip import compress

    (packed := folder / "val.tar.gz").write_bytes(compress((folder / "val.tar").read_bytes(), 1))
    made = folder / "made"
    try:
        made.mkdir()
        with Archive("https://example.org/val.tar.gz", packed, "pictures") as archive:
            sample._fill(made, archive, sample.SPECIES, md5 or hashlib.md5(packed.read_bytes()).hexdigest())
        for path in made.rglob("*"):
            assert path.is_dir() or path.suffix == ".jpg"
            assert not path.is_symlink()
    finally:
        rmtree(made)
        packed.unlink()


def study_archive(folder: Path) -> list[Files]:
    draw = np.random.default_rng(0)
    scores = {f"MS_{side}_{encoder}": draw.random(5) for encoder in ("dino", "clip") for side in "xy"}
    pairs = pd.DataFrame({"k_x": range(5), "k_y": range(5, 10), "R_user": range(5), **scores}).to_csv(index=False)
    top = pd.DataFrame({"k": range(10)} | {f"x_{i}": range(10) for i in range(1, 17)}).to_csv(index=False)
    values = pd.DataFrame({"k": range(10)} | {f"a_{i}": draw.random(10) for i in range(1, 5)}).to_csv(index=False)
    tables = {"pairs.csv": pairs, "top16_images.csv": top, "activations.csv": values}
    members = [(member(f"benchmark/{name}"), text.encode()) for name, text in tables.items()]
    return [{"val.tar": tarred([(member(info.name), data) for info, data in members], "w", format=form)}
            for form in (tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT)]  # fmt: skip


def read_study(folder: Path) -> None:
    study = HumanBenchmark(folder / "val.tar")
    study.alignment()
    study.top_images()
    study.rescored({"dino": np.eye(4)})
