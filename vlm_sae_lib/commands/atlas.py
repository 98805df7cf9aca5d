"""``atlas``: a page over every latent of an SAE, as a folder that any plain file server can show."""

import argparse
import sys
from pathlib import Path

from vlm_sae_lib.overrides import Count, option

STEERED = 64
HELP = "write a page over every latent of an SAE: scores, top pictures, what it detects, neighbours, the tree"
EXAMPLE = (
    "python -m vlm_sae_lib atlas --sae runs/my-sae --activations runs/my-store --embeddings runs/my-embeddings "
    "--pictures folder:photos --out runs/my-atlas"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sae", required=True, help="SAE folder, or a checkpoint of the paper or of another library")
    parser.add_argument("--activations", required=True, metavar="STORE", help="store of what the SAE reads")
    parser.add_argument(
        "--embeddings",
        required=True,
        metavar="STORE",
        action="append",
        help="store of a scoring encoder, from the same pictures; may be given several times",
    )
    parser.add_argument(
        "--pictures",
        metavar="SOURCE",
        help="where the pictures are, as collect has it, and what is known of them; left out: numbers alone",
    )
    parser.add_argument(
        "--names",
        metavar="TOWER",
        help="a CLIP that names each latent by the word nearest to its pictures: for an island's CLIP a word of the "
        "island, else one of what is known of the pictures",
    )
    parser.add_argument("--vlm", metavar="SPEC", help="a vision-language model whose tower the SAE reads: also steer")
    parser.add_argument(
        "--steer",
        type=option(Count),
        default=None,
        metavar="N",
        help=f"steer so many latents, those that fire most often (default: {STEERED})",
    )
    parser.add_argument(
        "--publish",
        action="store_true",
        help="put a tile in the place of each picture whose terms forbid to show it to others",
    )
    parser.add_argument("--title", default="Neuron atlas", help="what the page is called")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write; an atlas found there is replaced")
    parser.add_argument("--device", default=None, help="cpu, cuda, … (default: the first GPU, or else the CPU)")


def main(args: argparse.Namespace) -> int:
    from vlm_sae_lib.activations import ActivationStore
    from vlm_sae_lib.atlas.own import own_atlas
    from vlm_sae_lib.errors import UserError
    from vlm_sae_lib.machine.devices import choose_device
    from vlm_sae_lib.pictures import load_pictures
    from vlm_sae_lib.sae.artefact import SparseAutoencoder

    if args.steer is not None and args.vlm is None:
        raise UserError("--steer says how many latents to steer, and there is no model to do it with: give --vlm.")
    if args.publish and args.pictures is None:
        raise UserError("--publish is about the pictures that are shown: give --pictures, or leave it out.")
    sae = SparseAutoencoder.load(args.sae, device=choose_device(args.device))
    source = None if args.pictures is None else load_pictures(args.pictures)
    activations, *embeddings = (
        ActivationStore.open(path, verify=True) for path in (args.activations, *args.embeddings)
    )
    written = own_atlas(
        args.out, sae, activations, embeddings, source,
        name=Path(args.sae).expanduser().resolve().name, title=args.title,
        tower=args.names, vlm=args.vlm, at_most=args.steer or STEERED, publish=args.publish, device=args.device,
    )  # fmt: skip
    if source is not None and not args.publish and not source.terms.may_be_published:
        sys.stderr.write(f"The pictures are in it. {source.terms.sentence} With --publish tiles stand for them.\n")
    print(f"{sae.n_latents:,} latents: {written}\nto look at it: python -m http.server --directory {written}")
    return 0
