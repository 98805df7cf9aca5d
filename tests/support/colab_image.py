"""A simulated Colab: a Python whose packages lie as in its image, in two folders, some of them in both.

``tests/data/colab_image.txt`` lists them. A package is there by its metadata alone, but for those that the first cell
runs on: pip, packaging and ``google.colab``.
"""

import os
import shutil
import subprocess
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import packaging
from data_files import COLAB_IMAGE


def listed(section: str) -> dict[str, tuple[str, list[str]]]:
    """Of one section of the list: version and requirements by name."""
    text = COLAB_IMAGE.read_text().partition(f"[{section}:")[2].partition("\n[")[0]
    found = {}
    for line in filter(None, text.splitlines()[1:]):
        pin, _, requirements = line.partition(" <- ")
        name, version = pin.split("==")
        found[name] = (version, requirements.split())
    return found


def metadata(name: str, version: str, requirements: list[str]) -> str:
    asked = "".join(f"Requires-Dist: {requirement}\n" for requirement in requirements)
    return f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{asked}"


def fill_index(folder: Path, packages: dict[str, tuple[str, list[str]]]) -> None:
    """Write empty wheels, for pip's ``PIP_FIND_LINKS``."""
    folder.mkdir(exist_ok=True)
    for name, (version, requirements) in packages.items():
        stem = f"{name.replace('-', '_')}-{version}"
        with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{stem}.dist-info/METADATA", metadata(name, version, requirements))
            wheel.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{stem}.dist-info/RECORD", "")


@dataclass(frozen=True)
class Image:
    python: Path
    local: Path
    system: Path
    index: Path

    def environment(self) -> dict[str, str]:
        """For a process of the image: an index on the disk alone, and nothing of ours on its path."""
        ours = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PIP_", "VLM_SAE"))}
        return ours | {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.index), "PIP_CONFIG_FILE": os.devnull}

    def folders(self) -> set[str]:
        """The metadata of all that is installed."""
        return {path.name for path in (*self.local.glob("*-info"), *self.system.glob("*-info"))}


def build(root: Path, pip: str | None = None) -> Image:
    """``pip`` names another version than this Python's own, which is fetched from the package index that pip is set to.

    Raises: CalledProcessError where there is none.
    """
    image = Image(root / "python" / "bin" / "python", _site(root / "python"), root / "system", root / "index")
    if pip is not None:
        command = [image.python, "-m", "pip", "install", "-q", "--disable-pip-version-check", f"pip=={pip}"]
        subprocess.run(command, check=True, capture_output=True)
    for name, (version, requirements) in listed("local").items():
        folder = image.local / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir(exist_ok=True)
        (folder / "METADATA").write_text(metadata(name, version, requirements))
    for name, (version, requirements) in listed("system").items():
        folder = image.system / f"{name.replace('-', '_')}-{version}.egg-info"
        folder.mkdir(parents=True)
        (folder / "PKG-INFO").write_text(metadata(name, version, requirements))
    (image.local / "system.pth").write_text(f"{image.system}\n")
    shutil.copytree(Path(packaging.__file__).parent, image.local / "packaging")
    (image.local / "google" / "colab").mkdir(parents=True)
    (image.local / "google" / "colab" / "__init__.py").write_text("")
    fill_index(image.index, listed("index"))
    return image


def _site(prefix: Path) -> Path:
    venv.create(prefix, with_pip=True)
    for old in (site := next(prefix.glob("lib/python3*/site-packages"))).glob("setuptools*"):
        shutil.rmtree(old)  # that of this Python; the image has its own
    return site
