"""Which packages count as installed, on folders made for it, and which of pip's words are the reason.

What is then installed where, on a simulated Colab: ``test_colab.py``.
"""

import sys
from pathlib import Path

import pytest

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.publishing.installing import add_what_is_missing, installed, reason


def put(folder: Path, stem: str, metadata: str | bytes) -> None:
    (folder / f"{stem}.dist-info").mkdir(parents=True)
    data = metadata if isinstance(metadata, bytes) else metadata.encode()
    (folder / f"{stem}.dist-info" / "METADATA").write_bytes(data)


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Two folders that are all of ``sys.path``: pip's own, and the system's behind it."""
    both = [tmp_path / "local", tmp_path / "system"]
    for place in both:
        place.mkdir()
    monkeypatch.setattr(sys, "path", [str(place) for place in both])
    return both


def test_of_a_distribution_that_lies_there_twice_the_one_counts_that_import_finds(places):
    local, system = places
    put(local, "pyparsing-3.3.2", "Name: pyparsing\nVersion: 3.3.2\n")
    put(system, "pyparsing-2.4.7", "Name: pyparsing\nVersion: 2.4.7\n")
    put(local, "MarkupSafe-3.0.3", "Name: MarkupSafe\nVersion: 3.0.3\n")
    put(system, "markupsafe-2.0.1", "Name: markupsafe\nVersion: 2.0.1\n")
    put(local, "open_clip_torch-3.3.0", "Name: open.clip_torch\nVersion: 3.3.0\n")
    put(system, "Open_Clip_Torch-3.0.0", "Name: Open-Clip--Torch\nVersion: 3.0.0\n")
    put(system, "only_there-1", "Name: only_there\nVersion: 1\n")
    expected = {"pyparsing": "3.3.2", "markupsafe": "3.0.3", "open-clip-torch": "3.3.0", "only-there": "1"}
    assert installed() == expected


def test_what_pip_has_no_words_for_is_left_out_and_a_local_version_kept(places):
    local, system = places
    put(local, "torch-2.11.0+cu128", "Name: torch\nVersion: 2.11.0+cu128\n")
    put(local, "empty-1", "")
    put(local, "nameless-1", "Version: 1\n")
    put(local, "unversioned-1", "Name: unversioned\n")
    put(local, "odd-1", "Name: two words\nVersion: 1\n")
    put(local, "patched-1", "Name: patched\nVersion: 1.0-gentoo-r1\n")
    put(local, "latin-1", "Name: latin\nVersion: 1\nAuthor: José\n".encode("latin-1"))
    put(system, "latin-1", "Name: latin\nVersion: 0.9\n")  # behind a broken one lies a sound one
    assert installed() == {"torch": "2.11.0+cu128", "latin": "0.9"}


def test_what_a_broken_installation_left_behind_is_not_the_package(places):
    local, _ = places
    put(local, "~umpy-1.26.4", "Name: numpy\nVersion: 1.26.4\n")
    put(local, "~andas-2.0.0", "Name: pandas\nVersion: 2.0.0\n")
    put(local, "numpy-2.1.3", "Name: numpy\nVersion: 2.1.3\n")
    assert installed() == {"numpy": "2.1.3"}


def test_where_nothing_is_missing_pip_is_not_even_started(places, tmp_path, monkeypatch):
    put(places[0], "ipywidgets-7.7.1", "Name: ipywidgets\nVersion: 7.7.1\n")
    put(places[0], "torch-2.11.0+cu128", "Name: torch\nVersion: 2.11.0+cu128\n")
    monkeypatch.setattr("subprocess.run", None)
    wanted = tmp_path / "wanted.txt"
    wanted.write_text("# a comment\n\ntorch>=2.6 # another\nIPyWidgets>=7.7,!=8.0\n")
    add_what_is_missing(wanted)


def test_bounds_above_what_is_installed_are_one_sentence_of_both_versions(places, tmp_path):
    put(places[0], "torch-2.6.0a0+git1", "Name: torch\nVersion: 2.6.0a0+git1\n")
    put(places[0], "numpy-1.26.4", "Name: numpy\nVersion: 1.26.4\n")
    put(places[1], "numpy-2.1.3", "Name: numpy\nVersion: 2.1.3\n")  # behind the one that import finds
    wanted = tmp_path / "wanted.txt"
    wanted.write_text("torch>=2.6\nnumpy>=2.0\njaxtyping>=0.2.30\n")
    with pytest.raises(UserError) as caught:
        add_what_is_missing(wanted)
    said = str(caught.value)
    assert "torch>=2.6 where torch 2.6.0a0+git1 is installed and for numpy>=2.0 where numpy 1.26.4 is" in said


CONFLICT = """\
Looking in links: /wheels
ERROR: Cannot install timm because these package versions have conflicting dependencies.

The conflict is caused by:
    timm 2.0 depends on torch>=3
    The user requested (constraint) torch==2.11.0+cu128

To fix this you could try to:
1. loosen the range of package versions you've specified

ERROR: ResolutionImpossible: for help visit https://pip.pypa.io/en/latest/
"""
UNREACHED = """\
WARNING: Retrying (Retry(total=1)) after connection broken by 'NewConnectionError: Name or service not known': /timm/
ERROR: Could not find a version that satisfies the requirement timm (from versions: none)
ERROR: No matching distribution found for timm
"""
UNBUILT = """\
  error: subprocess-exited-with-error

  × Building wheel for timm (pyproject.toml) did not run successfully.
  │ exit code: 1
  ╰─> [1 lines of output]
      cc1: fatal
      [end of output]

  note: This error originates from a subprocess, and is likely not a problem with pip.
"""
CRASHED = """\
ERROR: Exception:
Traceback (most recent call last):
  File "pip/_internal/cli/base_command.py", line 179, in exc_logging_wrapper
UnicodeDecodeError: 'utf-8' codec can't decode byte 0xe9

[notice] A new release of pip is available
"""
IGNORED = """\
ERROR: Ignored the following versions that require a different python version: 1.18.0 Requires-Python >=3.12
ERROR: Could not find a version that satisfies the requirement timm>=9 (from versions: 1.0)
ERROR: No matching distribution found for timm>=9

[notice] A new release of pip is available: 24.1 -> 26.3
"""


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (CONFLICT, "timm 2.0 depends on torch>=3; The user requested (constraint) torch==2.11.0+cu128"),
        (UNREACHED, "no package index was reached ('NewConnectionError: Name or service not known': /timm/)"),
        (UNBUILT, "subprocess-exited-with-error; Building wheel for timm (pyproject.toml) did not run successfully."),
        (CRASHED, "UnicodeDecodeError: 'utf-8' codec can't decode byte 0xe9"),
        (IGNORED, "Could not find a version that satisfies the requirement timm>=9 (from versions: 1.0); No matching "
                  "distribution found for timm>=9"),
        ("Killed\n", "Killed"),
        ("", "pip gave no reason"),
    ],
)  # fmt: skip
def test_the_reason_is_not_the_last_line(said, expected):
    assert reason(said) == expected
