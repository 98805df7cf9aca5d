"""``card``: what an SAE of the pocket tower is worth, as one page and one JSON."""

import argparse
import sys
import time
from pathlib import Path

HELP = "measure an SAE of the pocket tower, trained with any library, beside its rivals: card.html and card.json"
EXAMPLE = "python -m vlm_sae_lib card --sae data/pocket/sae/main_matryoshka --out runs/my-card"
SHORT = ("r2", "l0", "dead", "ms_self_supervised", "ms_second_clip", "recovery_f1", "absorbed", "probe_1", "cause",
         "isolation", "stability", "insertion_both", "suppression_both")  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sae", required=True, metavar="PATH", help="SAE folder, or a checkpoint of another library")
    parser.add_argument("--second", metavar="PATH", help="another training of the same settings, for stability")
    parser.add_argument("--against", action="append", default=[], metavar="NAME",
                        help="an entry of the leaderboard to stand beside it; may be given several times")  # fmt: skip
    parser.add_argument("--hook-point", metavar="NAME", help="where it reads (default: as its file says, or block_5)")
    parser.add_argument("--tokens", metavar="RULE", help="cls, mean or random:<k> (default: as its file says, or cls)")
    parser.add_argument("--name", help="what the card calls it (default: the path's last part)")
    parser.add_argument("--trained-with", metavar="TEXT", help="library and recipe, in words")
    parser.add_argument("--enter", metavar="NAME", help="also keep it as an entry of the leaderboard")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for card.html and card.json")


def main(args: argparse.Namespace) -> int:
    from vlm_sae_lib.files import write_bytes, write_json
    from vlm_sae_lib.profiles import load_profile
    from vlm_sae_lib.publishing.colab import Repository
    from vlm_sae_lib.sae.artefact import SparseAutoencoder
    from vlm_sae_lib.scorecard import board
    from vlm_sae_lib.scorecard.making import make_card
    from vlm_sae_lib.scorecard.page import html
    from vlm_sae_lib.scorecard.place import final_bench, place_of

    if args.enter:
        board.check_name(args.enter)
    about = Repository.read().page("book/leaderboard.md")
    sae = SparseAutoencoder.load(args.sae)
    second = SparseAutoencoder.load(args.second) if args.second else None
    profile = load_profile("pocket")
    place = place_of(sae, profile, args.hook_point, args.tokens)
    name = args.name or args.enter or Path(args.sae).resolve().name
    card = make_card(
        final_bench(profile, place.hook_point), place, sae, name=name, second=second, against=args.against,
        trained_with=args.trained_with, tell=teller(),
    )  # fmt: skip
    write_bytes(args.out / "card.html", html(card, about).encode())
    write_json(args.out / "card.json", card.as_dict())
    print(short_table(card))
    print(args.out / "card.html")
    if args.enter:
        print(board.enter(args.enter, card))
    return 0


def teller():
    """Writes a line on stderr before each step, with the seconds since the start."""
    start = time.monotonic()

    def tell(step: str) -> None:
        sys.stderr.write(f"{time.monotonic() - start:5.0f} s  {step}\n")
        sys.stderr.flush()

    return tell


def short_table(card) -> str:
    """A few of the values in aligned lines, with the rank among the rivals; what is missing; the card in short."""
    from vlm_sae_lib.scorecard.page import written
    from vlm_sae_lib.scorecard.short import short

    ranks, titles = card.ranks(), {measure.name: measure.title for measure in card.measures}
    width = max(len(titles[name]) for name in SHORT)
    lines: list[str] = []
    missing: dict[str, list[str]] = {}
    for name in SHORT:
        value, placed = card.subject.values[name], ranks.get(name, {}).get("rivals")
        if value.value is None:
            missing.setdefault(value.why, []).append(titles[name])
            continue
        rank = f"  ({placed.place} of {placed.of} with its rivals)" if placed else ""
        lines.append(f"{titles[name]:<{width}}  {written(value)}{rank}")
    lines += [f"{', '.join(names)}: {why}" for why, names in missing.items()]
    return "\n".join([*lines, *(short(card) if card.rivals else ()), *card.notes])
