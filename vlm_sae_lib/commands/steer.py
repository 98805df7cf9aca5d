"""``steer``: one latent overwritten while a vision-language model looks at one picture."""

import argparse
from typing import Literal

from vlm_sae_lib.overrides import Count, Index, option

HELP = "overwrite one SAE latent in a vision-language model and print what it then says about a picture"
EXAMPLE = (
    "example:\n  python -m vlm_sae_lib steer --vlm pocket --sae data/pocket/sae/steering --latent 12 --strength 4 "
    "--image photo.jpg --prompt 'describe the image.'"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--vlm", required=True, metavar="SPEC", help="pocket, or hf:<LLaVA repo id or folder>")
    parser.add_argument("--sae", required=True, help="folder or file of an SAE of the block that the projector reads")
    parser.add_argument("--latent", required=True, type=option(Index), help="index of the latent to overwrite, from 0")
    parser.add_argument(
        "--strength",
        required=True,
        type=option(float),
        help="its value on every token, in activation units; may be negative",
    )
    parser.add_argument("--image", required=True, metavar="FILE", help="a picture")
    parser.add_argument("--prompt", required=True, metavar="TEXT", help="what to ask about it")
    parser.add_argument(
        "--keep-error", action="store_true", help="add back what the SAE fails to reconstruct (the paper does not)"
    )
    parser.add_argument(
        "--max-new-tokens", type=option(Count), default=32, help="length limit of an answer (default: 32)"
    )
    parser.add_argument(
        "--bits",
        type=option(Literal[4, 8]),
        default=None,
        help="4 or 8: quantise the language model by bitsandbytes, on a GPU",
    )
    parser.add_argument("--device", default=None, help="cpu, cuda, … (default: the first GPU, or else the CPU)")


def main(args: argparse.Namespace) -> int:
    from vlm_sae_lib.errors import UserError
    from vlm_sae_lib.pictures import load_pictures
    from vlm_sae_lib.sae.artefact import SparseAutoencoder
    from vlm_sae_lib.steering.intervention import steered
    from vlm_sae_lib.vlms.load import load_vlm

    source = load_pictures([args.image])
    pictures = list(source)
    if not pictures:
        _, name, reason = source.unreadable[0]
        raise UserError(f"the picture {name} cannot be read ({reason}): give another file.")
    vlm = load_vlm(args.vlm, device=args.device, bits=args.bits)
    sae = SparseAutoencoder.load(args.sae, device=vlm.device)

    (_, image), ask = pictures[0], {"max_new_tokens": args.max_new_tokens}
    with steered(vlm, sae, {args.latent: args.strength}, keep_error=args.keep_error):
        changed = vlm.answer(image, args.prompt, **ask)
    with steered(vlm, sae, {}, keep_error=args.keep_error):
        unsteered = vlm.answer(image, args.prompt, **ask)
    print(f"model alone: {vlm.answer(image, args.prompt, **ask)}")
    print(f"SAE in place, unsteered: {unsteered}")
    print(f"latent {args.latent} at {args.strength:g}: {changed}")
    return 0
