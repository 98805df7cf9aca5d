"""``verify``: a run held against its record, and a sample of it made again."""

import argparse
import sys
from collections import Counter

from vlm_sae_lib.overrides import Count, Seed, option

HELP = "hold what a run made against its record, make a sample of it again, and say what comes out the same"
EXAMPLE = "python -m vlm_sae_lib verify pocket"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a profile that was run: pocket, light, colab, paper, island-…")
    parser.add_argument("--saes", type=option(Count), default=1, help="how many SAEs to train once more (default: 1)")
    parser.add_argument("--seed", type=option(Seed), default=0, help="which sample is drawn (default: 0)")


def main(args: argparse.Namespace) -> int:
    """0: everything drawn comes out again; 1: something is lost, altered or comes out otherwise."""
    from vlm_sae_lib.profiles import load_profile
    from vlm_sae_lib.verifying import BAD, Verification

    verification = Verification(load_profile(args.run), saes=args.saes, seed=args.seed)
    outcomes, elsewhere = Counter[str](), Counter[str]()
    for found in verification.findings():
        outcomes[found.outcome] += 1
        sys.stdout.write(f"{found.outcome:<15} {found.thing}{found.particulars and f': {found.particulars}'}\n")
        sys.stdout.flush()
    for thing in verification.record["made"]:
        elsewhere.update(verification.elsewhere(thing))
    for difference, things in elsewhere.items():
        sys.stdout.write(f"made elsewhere   {things} of {len(verification.record['made'])}: {difference}\n")
    told = ", ".join(f"{number} {outcome}" for outcome, number in outcomes.items()) or "nothing was drawn"
    sys.stdout.write(f"{len(verification.record['made'])} things are on record; {told}\n")
    return int(any(outcomes[outcome] for outcome in BAD))
