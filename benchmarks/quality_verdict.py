"""What the runs of both libraries say of each kind of autoencoder: means, spreads, and whether the goals are met."""

from typing import Any

R2_GOAL = 0.003
DEAD_AT_LEAST = 0.05


def verdicts(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The runs of one kind, summed up.

    ``r2``, ``dead`` and ``l0`` hold for each library the mean and the values by seed; ``differences`` ours less theirs;
    ``dead_spread`` the distance between the least and the greatest of their seeds; ``checks`` a sentence each, and
    whether it holds.
    """
    by_library = {library: sorted((r for r in runs if r["library"] == library), key=lambda r: r["seed"])
                  for library in ("ours", "theirs")}  # fmt: skip
    seeds = {library: [run["seed"] for run in some] for library, some in by_library.items()}
    if not seeds["ours"] or seeds["ours"] != seeds["theirs"]:
        raise ValueError(f"both libraries are to have the same seeds, not {seeds}")
    found: dict[str, Any] = {"seeds": seeds["ours"]}
    for name in ("r2", "dead", "l0", "silent_in_test", "seconds"):
        values = {library: [run[name] for run in some] for library, some in by_library.items()}
        found[name] = {library: {"mean": sum(v) / len(v), "by_seed": v} for library, v in values.items()}
    differences = {name: found[name]["ours"]["mean"] - found[name]["theirs"]["mean"] for name in ("r2", "dead", "l0")}
    dead = found["dead"]
    spread = max(dead["theirs"]["by_seed"]) - min(dead["theirs"]["by_seed"])
    least = min(dead["ours"]["by_seed"] + dead["theirs"]["by_seed"])
    checks = [
        _check(f"at least {DEAD_AT_LEAST:.0%} of latents are dead in every run (least: {least:.1%})",
               least >= DEAD_AT_LEAST),
        _check(f"test R² differs by {abs(differences['r2']):.4f} (goal: at most {R2_GOAL})",
               abs(differences["r2"]) <= R2_GOAL),
        _check(f"the dead share differs by {abs(differences['dead']):.2%} (goal: at most the spread of their seeds, "
               f"{spread:.2%})", abs(differences["dead"]) <= spread),
    ]  # fmt: skip
    return found | {"differences": differences, "dead_spread": spread, "checks": checks}


def _check(sentence: str, passed: bool) -> dict[str, Any]:
    return {"sentence": sentence, "passed": passed}


def lines(kind: str, found: dict[str, Any]) -> list[str]:
    """A kind's verdict for the screen."""
    text = [kind]
    for name, form in (("r2", ".4f"), ("dead", ".3f"), ("l0", ".2f")):
        parts = []
        for library in ("ours", "theirs"):
            of = found[name][library]
            parts.append(f"{library} {of['mean']:{form}} ({', '.join(f'{value:{form}}' for value in of['by_seed'])})")
        text.append(f"  {name:<5}{'   '.join(parts)}   difference {found['differences'][name]:+{form}}")
    return text + [f"  {'passed' if check['passed'] else 'FAILED'}: {check['sentence']}" for check in found["checks"]]
