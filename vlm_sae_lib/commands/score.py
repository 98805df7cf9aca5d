"""``python -m vlm_sae_lib score``: how monosemantic an SAE's latents are on a set of pictures."""

import argparse
import sys

from vlm_sae_lib.commands.engines import add_engine, by_ray, ray_of
from vlm_sae_lib.overrides import Index, Seed, option

HELP = "score every latent of an SAE on pictures, with the embeddings of a second model"
EXAMPLE = (
    "python -m vlm_sae_lib score --sae runs/my-sae --activations runs/my-store --embeddings runs/my-embeddings "
    "--out runs/my-scores"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sae", required=True, help="SAE folder, or a checkpoint of the paper or of another library")
    parser.add_argument("--activations", required=True, metavar="STORE", help="store of what the SAE reads")
    parser.add_argument(
        "--embeddings",
        required=True,
        metavar="STORE",
        help="store of the scoring encoder (say, pocket:self_supervised at projection), from the same pictures",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for neurons.csv and scores.json")
    parser.add_argument(
        "--resamples",
        type=option(Index),
        default=200,
        help="bootstrap draws of the pictures for the interval; 0: no interval (default: 200)",
    )
    parser.add_argument("--seed", type=option(Seed), default=0, help="seed of the draws (default: 0)")
    parser.add_argument("--device", default=None, help="cpu, cuda, … (default: the first GPU, or else the CPU)")
    add_engine(parser, gpus=False)


def main(args: argparse.Namespace) -> int:
    from vlm_sae_lib.activations import ActivationStore
    from vlm_sae_lib.machine.devices import choose_device
    from vlm_sae_lib.publishing.sae_report import score_sae
    from vlm_sae_lib.sae.artefact import SparseAutoencoder

    on_ray = by_ray(args)
    sae = SparseAutoencoder.load(args.sae, device=choose_device(args.device))
    activations, embeddings = (ActivationStore.open(path, verify=True) for path in (args.activations, args.embeddings))
    options = {"resamples": args.resamples, "seed": args.seed}
    if on_ray:
        from vlm_sae_lib.cluster.counting import gather

        with ray_of(args):
            report = score_sae(sae, activations, embeddings, gather=gather, **options)
    else:
        report = score_sae(sae, activations, embeddings, **options)
    report.write(args.out)
    _complain_of_missing(report.gathered.only_activations, report.gathered.only_embeddings)
    print(short_table(report.summary))
    print(args.out)
    return 0


def short_table(summary: dict) -> str:
    """The summary in a few aligned lines."""
    ms = summary["ms"]
    interval, kind = ms["interval_over_pictures"], "pictures"
    if interval is None:
        interval, kind = ms["interval_over_neurons"], "neurons"
    known = ms["mean"] is not None
    around = f"  (95 % over {kind}: {_number(interval[0])} to {_number(interval[1])})" if known else ""
    lines = [
        ("pictures", str(summary["images"])),
        ("latents", str(summary["sae"]["n_latents"])),
        ("mean MS", _number(ms["mean"]) + around),
        ("best / worst MS", f"{_number(ms['best'])} / {_number(ms['worst'])}"),
        ("MS undefined", f"{summary['undefined_ms']} latents"),
        ("never fired", f"{summary['never_fired']} latents"),
        ("fewer than 16 images", f"{summary['fewer_than_16_images']} latents"),
        ("R² / in the paper's form", f"{_number(summary['r2'])} / {_number(summary['r2_paper'])}"),
        ("L0", _number(summary["l0"], 1)),
    ]
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:<{width}}  {text}" for name, text in lines)


def _number(value: float | None, digits: int = 3) -> str:
    return "undefined" if value is None else f"{value:.{digits}f}"


def _complain_of_missing(only_activations, only_embeddings) -> None:
    parts = []
    for ids, what in ((only_activations, "embedding"), (only_embeddings, "activation")):
        if len(ids):
            shown = ", ".join(map(str, ids[:5])) + (", …" if len(ids) > 5 else "")
            parts.append(f"{len(ids)} without an {what} (ids {shown})")
    if parts:
        sys.stderr.write(f"pictures left out: {'; '.join(parts)}\n")
