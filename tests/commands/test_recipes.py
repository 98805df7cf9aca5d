"""The command lines of ``book/recipes.md`` are ones that the program understands; its scripts, that Python does."""

import shlex
from pathlib import Path

import pytest
import recipes

from vlm_sae_lib.__main__ import PROGRAM, make_parser

LINES = [line for found in recipes.blocks("bash").values() for code in found for line in code.splitlines()]


@pytest.mark.parametrize("line", LINES)
def test_each_command_line_is_understood(line):
    assert line.startswith(f"{PROGRAM} ")
    words = shlex.split(line.removeprefix(PROGRAM))
    assert make_parser((words[0],)).parse_args(words).stage == words[0]


@pytest.mark.parametrize(("library", "codes"), recipes.blocks("python").items())
def test_each_script_compiles_and_reads_what_the_command_lines_write(library, codes):
    written = {Path(word) for line in LINES for word in shlex.split(line) if word.startswith("runs/recipes/")}
    for code in codes:
        compile(code, library, "exec")
        read = [line.split('"')[1] for line in code.splitlines() if "np.load(" in line or "shard_root=" in line]
        assert read and all({Path(name), Path(name).parent} & written for name in read)
