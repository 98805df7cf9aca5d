"""The iNaturalist sample that fetches itself, from a miniature of its archive on a server of this machine."""

import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_towers import noise
from torchvision.datasets import inaturalist

from vlm_sae_lib import paths
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.pictures import archive, load_pictures, sample

SPECIES = 12
FOLDERS = [f"{i:05d}_Animalia_Chordata_Aves_Order{i % 3}_Family{i}_Genus{i}_species{i}" for i in range(SPECIES)]
KEPT = [folder for folder in FOLDERS if sample.is_kept(folder, 5000)]
SPEC = "inat2021-sample:5000"


def miniature():
    """``val.tar.gz``: ten pictures of each species, one of them large, one damaged; other members beside them."""
    def add(name, data):
        member = tarfile.TarInfo(name)
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))

    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        folder = tarfile.TarInfo("val")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for i in (7, 2, 9, 0, 5, 1, 8, 3, 6, 4):  # in no order
            for number, name in enumerate(FOLDERS):
                picture = noise(1, seed=100 * number + i, size=(800, 500) if (name, i) == (KEPT[0], 7) else (40, 32))[0]
                encoded = io.BytesIO()
                picture.save(encoded, "JPEG", quality=95, exif=gps())
                data = encoded.getvalue()
                add(f"val/{name}/{i:02d}abc.jpg", data[:300] if (name, i) == (KEPT[0], 9) else data)
        add(f"val/{KEPT[0]}/../../../escaped.jpg", b"x")
        add("val/readme.txt", b"x")
    return file.getvalue() + b"\0" * 5000  # what follows the end mark belongs to the checksum


def gps():
    exif = Image.Exif()
    exif[0x010F] = "the photographer's camera"
    return exif


class Server:
    """The archive over HTTP: counts what it gives, breaks off when told to, can begin in the middle."""

    def __init__(self, data):
        server = self
        self.data, self.requests, self.sent = data, [], 0
        self.break_at, self.ranges, self.pause = [], True, 0.0
        self.lies = lambda headers: headers
        self.shift = 0  # how far from the byte asked for it begins

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.requests.append(self.headers.get("Range"))
                server.asked_by = self.headers.get("If-Range")
                asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
                start = int(asked[1]) if asked and server.ranges else 0
                # before anything is answered: the client may be gone, and the next test's breaks set, a moment later
                end = server.break_at.pop(0) if server.break_at else len(server.data)
                if start >= len(server.data):
                    return self.send_error(416)
                partly = bool(asked and server.ranges)
                start = max(0, start + server.shift) if partly else start
                headers = {"Content-Length": str(len(server.data) - start), "ETag": '"first"'}
                if partly:
                    headers["Content-Range"] = f"bytes {start}-{len(server.data) - 1}/{len(server.data)}"
                self.send_response(206 if partly else 200)
                for header in server.lies(headers).items():
                    self.send_header(*header)
                self.end_headers()
                for at in range(start, end, 4096):
                    piece = server.data[at : min(at + 4096, end)]
                    try:
                        self.wfile.write(piece)
                    except OSError:
                        return
                    server.sent += len(piece)
                    time.sleep(server.pause)
                self.close_connection = True

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/2021/val.tar.gz"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture(scope="module")
def data():
    return miniature()


@pytest.fixture
def server(data, monkeypatch, tmp_path):
    server = Server(data)
    monkeypatch.setenv("VLM_SAE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setitem(inaturalist.DATASET_URLS, "2021_valid", server.url)
    monkeypatch.setitem(inaturalist.DATASET_MD5, "2021_valid", hashlib.md5(data).hexdigest())
    monkeypatch.setattr(archive, "PAUSES", (0, 0))
    yield server
    server.http.shutdown()
    server.http.server_close()


def nothing_is_left():
    return not any(paths.pictures().glob("*")) and not any(paths.pictures().glob(".*"))


def refused(words):
    with pytest.raises(UserError, match=words) as caught:
        load_pictures(f"{SPEC}:train")
    assert "\n" not in str(caught.value)
    assert nothing_is_left()


def test_the_sample_has_six_two_and_two_pictures_of_each_kept_species(server, tmp_path):
    assert 0 < len(KEPT) < SPECIES
    train, choosing, test = (load_pictures(f"{SPEC}:{split}") for split in ("train", "choosing", "test"))
    assert paths.pictures() == tmp_path / "runs" / "pictures"
    assert train.name == f"{SPEC}:train" and sorted(set(train.folders)) == KEPT
    assert train.names == [f"{folder}/{i:02d}abc.jpg" for folder in KEPT for i in range(6)]
    assert choosing.names == [f"{folder}/{i:02d}abc.jpg" for folder in KEPT for i in (6, 7)]
    assert test.names == [f"{folder}/{i:02d}abc.jpg" for folder in KEPT for i in (8, 9)]
    assert train.factors["genus"].tolist() == [folder.split("_")[6].lower() for folder in train.folders]
    number = FOLDERS.index(KEPT[0])
    original = np.asarray(noise(1, seed=100 * number)[0], dtype=float)
    assert np.abs(np.asarray(train.picture(0), dtype=float) - original).mean() < 60  # noise is what JPEG likes least
    assert train.picture(0).size == (40, 32) and choosing.picture(1).size == (614, 384)
    assert [bad[1:] for bad in (list(test), test.unreadable)[1]] == [(f"{KEPT[0]}/09abc.jpg", "damaged or truncated")]
    assert not Image.open(paths.pictures() / "inat2021-sample-5000" / "train" / train.names[0]).getexif()
    assert not list(tmp_path.rglob("escaped.jpg"))


def test_what_it_is_and_whose_it_is_stands_beside_it(server, data):
    load_pictures(f"{SPEC}:train")
    folder = paths.pictures() / "inat2021-sample-5000"
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["LICENCE.txt", "complete.json", *sample.SPLITS])
    licence = (folder / "LICENCE.txt").read_text(encoding="utf-8")
    assert server.url in licence and "non-commercial" in licence and "Van Horn" in licence
    n = len(KEPT)
    assert json.loads((folder / "complete.json").read_text()) == {
        "source": server.url, "md5": hashlib.md5(data).hexdigest(), "species": n, "train": 6 * n, "choosing": 2 * n,
        "test": 2 * n}  # fmt: skip


def test_it_is_fetched_once(server, monkeypatch):
    first = load_pictures(f"{SPEC}:train").fingerprint
    sent = server.sent
    assert sent == len(server.data) and server.requests == [None]
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert load_pictures(f"{SPEC}:train").fingerprint == first
    assert len(load_pictures(f"{SPEC}:test")) == 2 * len(KEPT)
    assert server.sent == sent and server.requests == [None]


def test_a_larger_sample_contains_the_smaller():
    folders = [f"{i:05d}_Plantae_a_b_c_d_e_f" for i in range(10_000)]
    small, large = ([f for f in folders if sample.is_kept(f, n)] for n in (300, 1000))
    assert set(small) < set(large) and abs(len(large) - 1000) < 100 and abs(len(small) - 300) < 60
    assert all(sample.is_kept(folder, 10_000) for folder in folders)


def test_another_checksum_leaves_nothing(server, monkeypatch):
    monkeypatch.setitem(inaturalist.DATASET_MD5, "2021_valid", "0" * 32)
    refused("MD5 checksum [0-9a-f]{32} and not 0000")


def test_a_damaged_archive_leaves_nothing(server):
    server.data = server.data[:20_000] + bytes(20_000) + server.data[40_000:]
    refused("is damaged|MD5 checksum")


def test_a_stream_that_breaks_off_for_good_leaves_nothing(server):
    server.break_at, server.ranges = [30_000], False
    refused("broke off after .* cannot take it up")
    server.break_at, server.ranges = [30_000, 30_000, 30_000], True
    refused(r"broke off after .* \(no more came\)")
    assert len(load_pictures(f"{SPEC}:train")) == 6 * len(KEPT)


def test_a_stream_that_breaks_is_taken_up_at_the_same_byte(server):
    server.break_at = [30_000, 50_001]
    assert len(load_pictures(f"{SPEC}:train")) == 6 * len(KEPT)
    assert server.requests == [None, "bytes=30000-", "bytes=50001-"]
    assert server.sent == len(server.data)


@pytest.mark.parametrize("length", ["100000000", "20000", "", "many", "-5"])
def test_a_server_that_lies_about_the_length_is_believed_by_the_checksum_alone(server, length):
    server.lies = lambda headers: {**headers, "Content-Length": length}
    if length == "20000":
        refused(r"is damaged|broke off|checksum")
    elif length == "100000000":
        refused(r"broke off after .* of 100 MB")
    else:
        assert len(load_pictures(f"{SPEC}:train")) == 6 * len(KEPT)


@pytest.mark.parametrize("shift", [-1, 1, -30_000])
def test_a_part_that_begins_elsewhere_is_not_taken(server, shift):
    server.break_at, server.shift = [30_000], shift
    refused("cannot take it up where it broke")


def test_an_archive_that_was_replaced_meanwhile_is_not_taken_up(server):
    server.break_at = [30_000]
    whole = f"/{len(server.data)}"
    server.lies = lambda headers: {name: value.replace(whole, "/123") for name, value in headers.items()}
    refused("is another one now")
    assert server.asked_by == '"first"'


def test_other_bytes_behind_the_break_leave_nothing(server, data):
    server.break_at = [30_000]
    server.data = data[:30_000] + bytes(len(data) - 30_000)
    refused("is damaged|checksum")


def test_a_full_disk_leaves_nothing(server, monkeypatch):
    def full(path, data):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        refused("The disk is full: .*about 5000 MB")
    assert len(load_pictures(f"{SPEC}:train")) == 6 * len(KEPT)


def test_without_a_network_it_says_what_to_put_where(server, monkeypatch, data):
    place = paths.pictures() / "val.tar.gz"
    with monkeypatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        refused(f"HF_HUB_OFFLINE is set: unset it, or download {server.url} .* put it at {place}")
        place.write_bytes(data)
        assert len(load_pictures(f"{SPEC}:train")) == 6 * len(KEPT)
        place.unlink()
    monkeypatch.setitem(inaturalist.DATASET_URLS, "2021_valid", "http://127.0.0.1:9/val.tar.gz")
    with pytest.raises(UserError, match=f"cannot be reached .*refused.* put it at {place}"):
        load_pictures("inat2021-sample:6000:train")
    assert server.requests == []


def test_one_that_was_killed_begins_again_and_leaves_no_litter(server, data, tmp_path):
    code = (
        "from torchvision.datasets import inaturalist\n"
        f"inaturalist.DATASET_URLS['2021_valid'] = {server.url!r}\n"
        f"from vlm_sae_lib import load_pictures\nload_pictures('{SPEC}:train')\n"
    )
    server.pause = 0.05
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "TQDM_DISABLE": "1"})
    deadline = time.time() + 120
    while not list(tmp_path.rglob("*abc.jpg")) and time.time() < deadline and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = list(paths.pictures().iterdir())
    assert len(left) == 1 and left[0].name.startswith(".inat2021-sample-5000.")
    server.pause = 0
    assert len(load_pictures(f"{SPEC}:train")) == 6 * len(KEPT)
    assert [path.name for path in paths.pictures().iterdir()] == ["inat2021-sample-5000"]


def test_a_sample_that_would_hold_nothing_is_refused(server):
    with pytest.raises(UserError, match="ask for more"):
        load_pictures("inat2021-sample:1:train")
    assert nothing_is_left()


@pytest.mark.parametrize("rest", ["", "1000", "1000:validation", "0:train", "10001:train", "many:train",
                                  "1000:train:2:2"])
def test_another_spelling_is_one_clear_sentence(server, rest):
    with pytest.raises(UserError, match="is no such sample: write"):
        load_pictures(f"inat2021-sample:{rest}")
    assert server.requests == []


@pytest.mark.parametrize("list_them", [lambda: load_pictures("/nowhere/at/all"), lambda: load_pictures(5),
                                       lambda: load_pictures("inat2021-sample:")])
def test_wherever_sources_are_listed_the_smaller_sample_is(server, list_them):
    with pytest.raises(UserError, match=r'"inat2021-sample:<species>:<split>\[:<of>\]"'):
        list_them()


def test_a_test_takes_the_pictures_of_a_smaller_sample_of_the_one_that_is_there(server):
    few = next(n for n in range(100, 5000, 50) if any(sample.is_kept(folder, n) for folder in FOLDERS))
    small = [folder for folder in FOLDERS if sample.is_kept(folder, few)]
    assert 0 < len(small) < len(KEPT)
    whole, some = load_pictures(f"{SPEC}:test"), load_pictures(f"{SPEC}:test:{few}")
    assert sorted({some.folders[i] for i in some.ids}) == small and len(some) == 2 * len(small)
    assert [some.names[i] for i in some.ids] == [name for name in whole.names if name.split("/")[0] in small]
    assert server.requests == [None]  # one archive for both
    assert load_pictures(f"{SPEC}:test:5000").fingerprint == whole.fingerprint


@pytest.mark.parametrize("rest", ["5000:test:6000", "5000:test:0", "5000:test:", "5000:test:x", "5000:test:10:10"])
def test_what_a_sample_of_a_sample_cannot_be_is_one_sentence(rest):
    with pytest.raises(UserError, match="is no such sample: write"):
        load_pictures(f"inat2021-sample:{rest}")
