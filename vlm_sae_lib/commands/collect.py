"""``python -m vlm_sae_lib collect``: the activations of pictures at one hook point of a vision tower."""

import argparse
import sys
from typing import Any

from vlm_sae_lib.commands.engines import add_engine, by_ray, ray_of
from vlm_sae_lib.overrides import Count, Seed, option

HELP = "collect a vision tower's activations for a set of pictures into a store"
EXAMPLE = (
    "example:\n  python -m vlm_sae_lib collect --pictures folder:photos --tower pocket "
    "--hook-point block_4 --tokens cls --out runs/my-store"
)

BATCH = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pictures", required=True, metavar="SOURCE",
                        help="pocket[@<island>][:n[:seed]], a folder, folder:<path>, imagenet:<path>, inat2021:<path>, "
                             "inat2021-sample:<species>:<split>[:<of>] or "
                             "hf-datasets:<repo or folder>:[<configuration>/]<split>:<n>")
    parser.add_argument("--tower", required=True, metavar="SPEC",
                        help="pocket[@<island>], pocket:second_clip, pocket:self_supervised, "
                             "open_clip:<model>/<tag or file>, hf:<repo id or folder>")
    parser.add_argument("--hook-point", required=True, help="block_0 … block_{L-1}, or projection")
    parser.add_argument("--tokens", default="cls", help="cls, mean, all or random:<k> (default: cls)")
    parser.add_argument("--out", required=True, metavar="STORE", help="folder to write; an unfinished one is resumed")
    parser.add_argument("--batch-size", type=option(Count), default=None,
                        help="pictures per forward pass (default: 64; with --gpus, what is quickest on a worker)")
    parser.add_argument("--seed", type=option(Seed), default=0, help="seed of the random token draw (default: 0)")
    parser.add_argument("--dtype", default="float32", help="float32 or float16, as stored (default: float32)")
    parser.add_argument("--strict", action="store_true",
                        help="exit with code 2 if a picture cannot be read; the store holds the others all the same")
    parser.add_argument("--device", default=None, help="cpu, cuda, … (default: the first GPU, or else the CPU)")
    add_engine(parser)


def main(args: argparse.Namespace) -> int:
    from vlm_sae_lib.errors import UserError
    from vlm_sae_lib.hooks import PROJECTION
    from vlm_sae_lib.pictures import load_pictures

    if args.hook_point == PROJECTION and args.tokens != "cls":
        raise UserError(f"{PROJECTION} is one vector for each picture, so that --tokens {args.tokens} has nothing to "
                        "choose from: leave it out.")
    batch_size = args.batch_size or (None if by_ray(args) and args.gpus else BATCH)
    options = {"tokens": args.tokens, "batch_size": batch_size, "seed": args.seed, "dtype": args.dtype}
    engine = collected_by_ray if by_ray(args) else collected_here
    pictures = load_pictures(args.pictures)
    store = engine(args, pictures, options)
    unreadable = store.metadata["unreadable"]
    for bad in unreadable:
        sys.stderr.write(f"not read: {bad['name']} ({bad['reason']})\n")
    if unreadable:
        sys.stderr.write(f"{len(unreadable)} of {len(pictures)} pictures could not be read and were skipped\n")
    sys.stdout.write(f"{len(store)} rows of dimension {store.dim}\n{store.path}\n")
    if unreadable and args.strict:
        raise UserError(f"{len(unreadable)} of {len(pictures)} pictures could not be read, which --strict does not "
                        f"allow: mend or remove them and choose another --out, or take {store.path} without them.")
    return 0


def collected_here(args: argparse.Namespace, pictures: Any, options: dict[str, Any]) -> Any:
    from vlm_sae_lib.activations import collect_activations
    from vlm_sae_lib.activations.repairing import repair
    from vlm_sae_lib.towers import load_tower

    tower = load_tower(args.tower, device=args.device)
    for shard in repair(tower, pictures, args.hook_point, args.out, **options):
        sys.stderr.write(f"made anew, since it was missing or damaged: {shard}\n")
    return collect_activations(tower, pictures, args.hook_point, args.out, **options)


def collected_by_ray(args: argparse.Namespace, pictures: Any, options: dict[str, Any]) -> Any:
    from vlm_sae_lib.activations.store import METADATA, damaged_shards
    from vlm_sae_lib.cluster.collecting import collect

    if (args.out / METADATA).is_file() and damaged_shards(args.out):
        return collected_here(args, pictures, options)
    with ray_of(args):
        return collect(args.tower, args.pictures, args.hook_point, args.out, device=args.device,
                       gpus=args.gpus or 0, **options)  # fmt: skip
