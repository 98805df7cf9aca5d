"""Pictures that are larger than they look: what is held in memory of them is bounded."""

import os
import re
import resource

import pytest
from bad_pictures import bombs
from crashes import forked
from picture_corpus import PICTURE
from raw_pictures import encoded
from torchvision import transforms

from vlm_sae_lib.pictures.reading import read

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # PIL's own, about metadata
MEGABYTES = 256


def growth(work) -> float:
    """By how many megabytes a fork grows at its highest while it works."""
    reader, writer = os.pipe()

    def measured() -> None:
        start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        work()
        os.write(writer, str((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start) / 1024).encode())

    assert forked(measured) == 0
    os.close(writer)
    with os.fdopen(reader) as told:
        return float(told.read())


CLIP = transforms.Compose([transforms.Resize(224), transforms.CenterCrop(224), transforms.ToTensor()])


@pytest.mark.faults
def test_the_memory_that_a_bomb_takes_is_bounded(tried):
    CLIP(PICTURE)
    for one in bombs():
        assert growth(lambda one=one: one.fits(read(one.data, CLIP)[1]) or os._exit(1)) < MEGABYTES, one.name
    tried("bombs", len(bombs()))


HOLES = {"jpeg": encoded(PICTURE, "JPEG")[:300], "png": encoded(PICTURE, "PNG")[:60], "tiff": b"II*\0\0\0\0\x7f",
         "zeros": b"", "webp": encoded(PICTURE, "WEBP")[:40], "gif": encoded(PICTURE, "GIF")[:40]}  # fmt: skip


@pytest.mark.faults
@pytest.mark.parametrize("kind", HOLES)
def test_a_file_of_gigabytes_with_nothing_in_it_is_not_held_in_memory(kind, tmp_path, tried):
    with open(tmp_path / "hole", "wb") as file:
        file.write(HOLES[kind])
        try:
            file.truncate(8 * 2**30)
        except OSError:
            pytest.skip("no file with a hole can be made here")

    def work() -> None:
        assert read(tmp_path / "hole", CLIP)[0] is None

    assert growth(work) < MEGABYTES
    told = "^a file of 8,589,934,592 bytes" if kind != "tiff" else "damaged"
    assert re.search(told, read(tmp_path / "hole", CLIP)[1])
    tried("bombs")
