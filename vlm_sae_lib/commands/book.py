"""``book``: the site, from the published notebooks or from those of another profile."""

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

from vlm_sae_lib import paths
from vlm_sae_lib.publishing import edition_switch
from vlm_sae_lib.publishing.edition_switch import PUBLISHED
from vlm_sae_lib.reserving import reserved

HELP = "build the book's site from the published notebooks, or another edition of it beside them"
EXAMPLE = "python -m vlm_sae_lib book"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--edition",
        default=PUBLISHED,
        metavar="PROFILE",
        help=f"{PUBLISHED} (default), or a profile whose notebooks have been run: its pages go to _build/html/PROFILE",
    )
    parser.add_argument(
        "--switch-only",
        action="store_true",
        help="build nothing: join the editions that lie in _build/html by a switch",
    )
    parser.add_argument("--verbose", action="store_true", help="show what Sphinx says of each page")


def main(arguments: argparse.Namespace) -> int:
    with reserved(paths.site()):
        if not arguments.switch_only and (failed := build(arguments.edition, verbose=arguments.verbose)):
            print(f"The book was not built: {failed=}, see the warnings above.", file=sys.stderr)
            return 1
        there = edition_switch.write_switch(paths.site())
    if len(there) > 1 or arguments.switch_only:
        print(f"editions in {paths.site()}: {', '.join(there) or 'none'}")
    return 0


def build(edition: str, *, verbose: bool) -> int:
    """Build one edition from nothing; the return code of Sphinx."""
    from vlm_sae_lib.publishing.editions import site_folder, write_source

    started = time.perf_counter()
    site = site_folder(edition)
    if edition == PUBLISHED:
        source, output = paths.root(), site.parent.parent
        clear(site)
    else:
        source = output = write_source(edition)
    print(f"building {site}", flush=True)
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(source)]
    command += ["--path-output", str(output), "--all", "-W", "-n", "--keep-going", *([] if verbose else ["-q"])]
    with subprocess.Popen(command, cwd=source) as sphinx:
        try:
            if edition == PUBLISHED:
                publish_instruments(site)  # meanwhile: Sphinx keeps one core busy
        except BaseException:
            sphinx.kill()
            raise
    if sphinx.returncode:
        return sphinx.returncode
    if edition != PUBLISHED:
        shutil.rmtree(site, ignore_errors=True)
        site.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(output / "_build" / "html", site)
    with (site / "index.html").open("a", encoding="utf-8") as redirect:  # else a browser asks for an icon at the root
        redirect.write('<link rel="icon" href="_static/favicon.svg">\n')
    print(f"the book, in {time.perf_counter() - started:.1f} s: {site / 'index.html'}")
    return 0


def publish_instruments(site: Path) -> None:
    """The pages that are none of Sphinx's: the model that answers in the browser, and the neuron atlas."""
    from vlm_sae_lib.atlas.published import publish as publish_atlas
    from vlm_sae_lib.live.latents import latents
    from vlm_sae_lib.live.publish import publish as publish_live

    site.mkdir(parents=True, exist_ok=True)
    publish_live(site / "live")
    publish_atlas(site, [row["latent"] for row in latents()["latents"]])


def clear(site: Path) -> None:
    """Remove the published edition; others, which may have taken hours to run, stay.

    It is always built from nothing: a page that is no longer in the book must go, and Sphinx repeats the warnings that
    make a build fail only for pages that it reads again.
    """
    shutil.rmtree(site.parent / ".doctrees", ignore_errors=True)
    others = set(edition_switch.editions(site).values()) - {site}
    for path in site.iterdir() if site.is_dir() else ():
        if path in others:
            continue
        shutil.rmtree(path) if path.is_dir() else path.unlink()
