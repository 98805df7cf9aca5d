"""``python -m vlm_sae_lib export``: a store's activations as other libraries read them."""

import argparse
import sys

HELP = "write a store's activations as another library reads them, to train an SAE with it"
EXAMPLE = "example:\n  python -m vlm_sae_lib export --activations runs/my-store --as npy --out runs/my-activations"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--activations", required=True, metavar="STORE", help="a store written by collect")
    parser.add_argument(
        "--as",
        dest="form",
        default="npy",
        metavar="FORM",
        help="npy (default): one float32 array, for SAELens, dictionary_learning, overcomplete and whatever takes a "
        "tensor; saev: the shards that saev reads",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write; an export in it is replaced")


def main(args: argparse.Namespace) -> int:
    from vlm_sae_lib.activations import ActivationStore
    from vlm_sae_lib.activations.exporting import export_activations

    store = ActivationStore.open(args.activations, verify=True)
    out = export_activations(store, args.out, args.form)
    sys.stdout.write(f"{len(store)} rows of dimension {store.dim}\n{out}\n")
    return 0
