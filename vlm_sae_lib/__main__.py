"""The command line: ``python -m vlm_sae_lib STAGE``, one module of ``vlm_sae_lib.commands`` per stage."""

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from vlm_sae_lib.commands.targets import target
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.quoting import quoted

STAGES = ("plan", "collect", "export", "train", "score", "atlas", "card", "steer", "run", "verify", "book")
PROGRAM = "python -m vlm_sae_lib"


class OneLineParser(argparse.ArgumentParser):
    """A parser whose complaints are one line, as every other complaint of the program.

    An option that is given a value is given one: an empty word, as of a variable that is not set, is no value.
    """

    def add_argument(self, *names: str, **settings: Any) -> argparse.Action:
        if settings.get("action", "store") in ("store", "append"):
            settings.setdefault("type", said)
        return super().add_argument(*names, **settings)

    def parse_known_args(self, args=None, namespace=None):
        """As ever, but for ``--name=--``, of which Python's parser makes an empty list."""
        for word in args or ():
            if word.startswith("--") and word.endswith("=--"):
                self.error(f"argument {word.partition('=')[0]}: -- is no value: give one, or leave the option out")
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message} (see {self.prog} --help)\n")


def said(word: str) -> str:
    """The word; ``ArgumentTypeError`` for an empty one."""
    if not word:
        raise argparse.ArgumentTypeError("its value is empty: give one, or leave the option out")
    return word


def make_parser(stages: Sequence[str] = STAGES) -> argparse.ArgumentParser:
    """The parser of the given stages; only their modules are imported, and those import no model code yet."""
    parser = OneLineParser(
        prog=PROGRAM,
        description="Sparse autoencoders on vision-language models: the book's stages, one at a time or all together.",
        epilog=f"Each stage tells more: {PROGRAM} collect --help",
    )
    subparsers = parser.add_subparsers(dest="stage", metavar="STAGE", required=True)
    for stage in stages:
        command = importlib.import_module(f"vlm_sae_lib.commands.{stage}")
        subparser = subparsers.add_parser(
            stage,
            help=command.HELP,
            description=command.HELP,
            epilog=f"example:\n  {command.EXAMPLE.removeprefix('example:').strip()}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(subparser)
        subparser.set_defaults(main=command.main)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one stage. 0: done; 1: a notebook or a build failed; 2: the user can mend it, one line on stderr says how."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):  # a name of a file may be no text: it is told as well as can be
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    chosen = arguments[:1] if arguments and arguments[0] in STAGES else STAGES
    try:
        parsed = make_parser(chosen).parse_args(arguments)
        with target(parsed):
            return parsed.main(parsed)
    except UserError as error:
        return _complain(str(error))
    except BrokenPipeError:  # whoever read the output, as `head` does, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _complain(f"{where}{error.strerror or error}")
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130


def _complain(message: str) -> int:
    print("error: " + quoted(" ".join(message.split())), file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
