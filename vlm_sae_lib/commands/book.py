"""``book``: the site, from the published notebooks."""

import argparse
import shutil
import subprocess
import sys
import time

from vlm_sae_lib import paths

HELP = "build the book's site from the published notebooks"
EXAMPLE = "python -m vlm_sae_lib book"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--verbose", action="store_true", help="show what Sphinx says of each page")


def main(arguments: argparse.Namespace) -> int:
    started = time.perf_counter()
    # Always from nothing: a page that is no longer in the book must go, and Sphinx repeats the warnings that make a
    # build fail only for pages that it reads again.
    for folder in (paths.site(), paths.site().parent / ".doctrees"):
        shutil.rmtree(folder, ignore_errors=True)
    build = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(paths.root())]
    build += ["--path-output", str(paths.site().parent.parent), "--all", "-W", "-n", "--keep-going"]
    build += [] if arguments.verbose else ["-q"]
    print(f"building {paths.site()}", flush=True)
    failed = subprocess.run(build, cwd=paths.root()).returncode
    if failed:
        print(f"The book was not built: {failed=}, see the warnings above.", file=sys.stderr)
        return 1
    print(f"the book, in {time.perf_counter() - started:.1f} s: {paths.site() / 'index.html'}")
    return 0
