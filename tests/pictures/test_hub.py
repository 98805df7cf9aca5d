"""Pictures streamed from a hub: a small one on this machine, which answers as the real one does."""

import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from tiny_towers import noise

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ASK = """
import json, sys
from huggingface_hub import logging
logging.set_verbosity_error()
from vlm_sae_lib import load_pictures
answers = {}
for spec in sys.argv[1:]:
    try:
        source = load_pictures(spec)
        answers[spec] = {
            "name": source.name,
            "pictures": [[i, *picture.size] for i, picture in source],
            "unreadable": source.unreadable,
            "class": None if source.factors is None else source.factors["class"].tolist(),
            "fingerprint": source.fingerprint,
        }
    except ValueError as error:
        answers[spec] = f"{type(error).__name__}: {error}"
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """owner/animals, a folder of pictures; owner/zoo, two configurations of it; owner/secret, which is gated."""
    hub = tmp_path_factory.mktemp("hub")
    for name, picture in zip(("cat/0", "cat/1", "dog/2", "dog/3"), noise(4), strict=True):
        (hub / "animals" / "train" / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(hub / "animals" / "train" / f"{name}.png")
    shutil.copytree(hub / "animals" / "train", hub / "zoo")
    configurations = "".join(f"- config_name: {name}s\n  data_dir: {name}\n" for name in ("cat", "dog"))
    (hub / "zoo" / "README.md").write_text(f"---\nconfigs:\n{configurations}---\n")
    (hub / "animals" / "train" / "cat" / "1.png").write_bytes(b"")

    def entry(path, root):
        kind = "directory" if path.is_dir() else "file"
        return {"type": kind, "path": path.relative_to(root).as_posix(), "oid": "0" * 40, "size": path.stat().st_size}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            asked = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            status, body, headers = self.route(unquote(urlsplit(self.path).path), asked)
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body)), "X-Repo-Commit": COMMIT} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_POST = answer

        def route(self, path, asked):
            if path == "/api/datasets/owner/secret":  # that it exists and at which commit is no secret
                return 200, json.dumps({"id": "owner/secret", "sha": COMMIT, "siblings": []}).encode(), {}
            if "owner/secret" in path:
                return 403, b"", {"X-Error-Code": "GatedRepo"}
            name = next((name for name in ("animals", "zoo") if f"datasets/owner/{name}" in path), "missing")
            root = hub / name
            if path.startswith(f"/datasets/owner/{name}/resolve/"):
                return self.file(root / path.split("/", 6)[6])
            if not path.startswith(f"/api/datasets/owner/{name}") or name == "missing":
                return 401, b"", {"X-Error-Code": "RepoNotFound"}
            kind, _, rest = path.removeprefix(f"/api/datasets/owner/{name}").strip("/").partition("/")
            if kind == "tree":
                folder = root / rest.partition("/")[2]
                if not folder.is_dir():
                    return 404, b"", {"X-Error-Code": "EntryNotFound"}
                return 200, json.dumps([entry(path, root) for path in sorted(folder.rglob("*"))]).encode(), {}
            if kind == "paths-info":
                paths = [root / name for name in (json.loads(asked) if asked[0] == "{" else parse_qs(asked))["paths"]]
                return 200, json.dumps([entry(path, root) for path in paths if path.exists()]).encode(), {}
            if kind == "revision" and rest not in (COMMIT, "v1"):
                return 404, b"", {"X-Error-Code": "RevisionNotFound"}
            return 200, json.dumps({"id": f"owner/{name}", "sha": COMMIT, "siblings": []}).encode(), {}

        def file(self, path):
            if not path.is_file():
                return 404, b"", {"X-Error-Code": "EntryNotFound"}
            data, headers = path.read_bytes(), {"ETag": '"1"', "Accept-Ranges": "bytes"}
            if not (span := self.headers.get("Range")):
                return 200, data, headers
            first, _, last = span.removeprefix("bytes=").partition("-")
            part = data[int(first) : int(last or len(data)) + 1]
            return 206, part, headers | {"Content-Range": f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}"}

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def answers(hub, tmp_path_factory):
    """What each source gives; asked in a process of its own, as the hub's address is read when Python starts."""
    specs = ["animals:train:4", "animals@v1:train:4", "animals:train:3", "animals:test:4", "animals@v2:train:4",
             "secret:train:4", "missing:train:4", "animals:train:5", "zoo@v1:dogs/train:2",
             "zoo:train:2", "zoo:cows/train:2"]  # fmt: skip
    home = str(tmp_path_factory.mktemp("home"))
    settings = {"HF_ENDPOINT": hub, "HF_HOME": home, "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "0"}
    command = [sys.executable, "-c", ASK, *(f"hf-datasets:owner/{spec}" for spec in specs)]
    said = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, timeout=200)
    assert said.returncode == 0, said.stderr
    found = json.loads(said.stdout)
    return {spec: found[f"hf-datasets:owner/{spec}"] for spec in specs}


def test_a_data_set_of_the_hub_is_streamed(answers):
    found = answers["animals:train:4"]
    assert found["name"] == "hf-datasets:owner/animals:train:4"
    assert found["pictures"] == [[0, 40, 32], [2, 40, 32], [3, 40, 32]]
    assert found["unreadable"] == [[1, "train[1] (1.png)", "empty file"]]
    assert found["class"] == ["cat", "cat", "dog", "dog"]


def test_the_fingerprint_is_that_of_the_commit_and_of_n(answers):
    assert answers["animals@v1:train:4"]["fingerprint"] == answers["animals:train:4"]["fingerprint"]
    assert answers["animals:train:3"]["fingerprint"] != answers["animals:train:4"]["fingerprint"]
    assert answers["animals:train:3"]["pictures"] == [[0, 40, 32], [2, 40, 32]]


def test_a_configuration_is_streamed_from_its_own_folder(answers):
    found = answers["zoo@v1:dogs/train:2"]
    assert found["name"] == "hf-datasets:owner/zoo@v1:dogs/train:2" and found["unreadable"] == []
    assert found["pictures"] == [[0, 40, 32], [1, 40, 32]]


@pytest.mark.parametrize(("spec", "words"), [
    ("zoo:train:2", "has 2 configurations: take cats or dogs, as in hf-datasets:owner/zoo:cats/train:2."),
    ("zoo:cows/train:2", "has no configuration 'cows': take cats or dogs, as in hf-datasets:owner/zoo:cats/train:2."),
    ("animals:test:4", "has no split 'test': take train."),
    ("animals@v2:train:4", "has no such revision, so leave out what follows the @"),
    ("secret:train:4", "datasets/owner/secret is gated, so accept its terms at {hub}/datasets/owner/secret"),
    ("missing:train:4", "the hub shows no repository datasets/owner/missing"),
    ("animals:train:5", "asks for more pictures than there are: its split holds 4."),
])  # fmt: skip
def test_what_goes_wrong_is_one_sentence(hub, answers, spec, words):
    said = answers[spec]
    assert said.startswith("UserError: ") and words.format(hub=hub) in said and "\n" not in said
