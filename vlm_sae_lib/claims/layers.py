"""What the layers experiment answers beside the plan."""

from collections.abc import Iterable

from vlm_sae_lib.claims.verdict import Observation, counted, number, said
from vlm_sae_lib.records.effects import ENOUGH
from vlm_sae_lib.records.results import Results

MAIN, NARROW = "Matryoshka ×4", (1, 2, 4, 8)
RIVALS = {
    "rectified, cut": "raw neurons, rectified and cut to the same L0",
    f"random for {MAIN}": "random directions that fire as often",
    "a frozen decoder ×4": "those of one whose decoder never learns",
    "a soft-frozen decoder ×4": "those of one whose decoder stays near its start",
    "a frozen encoder ×4": "those of one whose encoder never learns",
}
BOTH = {"Over all neurons with a score": "", "Over those of at least ten pictures": ENOUGH}


def observe(found: Results) -> list[Observation]:
    """Where the gain comes from, what becomes of the best and the mean with the width, and what is rebuilt."""
    wheres = _wheres(found)
    main = next(name for name in found.results if "/share above " in name).split("/")[1]
    last = f"projection/{main}"
    return [
        *(_gain(found, wheres, rival) for rival in RIVALS),
        _shuffled(found, last),
        _share(found, last),
        _best(found, last),
        _means(found, last),
        _kinds(found, wheres),
        _rarity(found),
        _rebuilds(found),
        _gives_up(found),
    ]


def _wheres(found: Results) -> list[str]:
    """Hook point and encoder of every comparison."""
    end = f"/{MAIN} minus raw"
    return sorted(name.removesuffix(end) for name in found.results if name.endswith(end))


def _gain(found: Results, wheres: list[str], rival: str) -> Observation:
    names = {words: [f"{where}/{MAIN} minus {rival}{suffix}" for where in wheres] for words, suffix in BOTH.items()}
    return Observation(
        f"At which layers, and under which encoder, do latents of the ×4 Matryoshka SAE score above {RIVALS[rival]}?",
        _spans(found, names),
        tuple(name for part in names.values() for name in part),
    )


def _spans(found: Results, names: dict[str, list[str]], digits: int = 2) -> str:
    """Of each group of differences how many are clear, and the least and the largest with its place."""
    sentences = []
    for words, group in names.items():
        defined = sorted((name for name in group if found.value(name) is not None), key=found.value)
        reach = "none is defined"
        if defined:
            least, most = (f"{said(found, name, digits)} ({_place(name)})" for name in (defined[0], defined[-1]))
            reach = f"the difference lies between {least} and {most}"
        sentences.append(f"{words}: {counted(found, group)}; {reach}.")
    return " ".join(sentences)


def _place(name: str) -> str:
    """``block_2, second CLIP`` of a result's name, with the width where the results differ in it."""
    hook_point, encoder, what = name.split("/")
    if encoder.startswith("R²"):
        return f"{hook_point}, {what}"
    return f"{hook_point}, {encoder}" + (f", ×{name.rpartition('×')[2].partition(' ')[0]}" if "Batch" in what else "")


def _shuffled(found: Results, last: str) -> Observation:
    names = [f"{last}/mean/{what}" for what in (MAIN, f"shuffled {MAIN}", "raw")]
    ours, dealt, raw = (said(found, name, 3) for name in names)
    return Observation(
        "Is it enough that a neuron is silent on most pictures?",
        f"With their activations dealt to other pictures the latents' mean goes from {ours} to {dealt}; raw neurons as "
        f"they are have {raw}.",
        tuple(names),
    )


def _share(found: Results, last: str) -> Observation:
    names = [
        f"{last}/share above {bar}/{what}"
        for bar in ("the raw mean", "the best raw neuron") for what in ("Matryoshka ×1", "random for Matryoshka ×1")
    ]  # fmt: skip
    ours, chance, ours_best, chance_best = (said(found, name) for name in names)
    return Observation(
        "What share of the ×1 latents of the last layer scores above raw neurons?",
        f"Above the raw mean lie {ours} of the latents with a score, and {chance} of random directions that fire as "
        f"often; above the best raw neuron {ours_best} and {chance_best}.",
        tuple(names),
    )


def _best(found: Results, last: str) -> Observation:
    ladder = _ladder(found, f"{last}/99th percentile{ENOUGH}")
    chance = [name.replace("/Matryoshka", "/random for Matryoshka") for name in ladder]
    most = _ladder(found, f"{last}/best")
    return Observation(
        "How good are the best neurons at each width?",
        "The 99th percentile of the latents of at least ten pictures (in brackets, of random directions that fire as "
        "often): " + "; ".join(f"{_width(name)}: {said(found, name)} ({said(found, other)})"
                               for name, other in zip(ladder, chance, strict=True))
        + f". The very best of all goes from {said(found, most[0])} at {_width(most[0])} to {said(found, most[-1])} at "
        f"{_width(most[-1])}; a neuron of two pictures may be it, and wider SAEs have more of those.",
        (*ladder, *chance, most[0], most[-1]),
    )  # fmt: skip


def _means(found: Results, last: str) -> Observation:
    ladders = {words: _ladder(found, f"{last}/mean{suffix}") for words, suffix in BOTH.items()}
    return Observation(
        "How does the mean at the last layer change with the width?",
        " ".join(f"{words}: {_told(found, ladder)}." for words, ladder in ladders.items())
        + " What was trained once has an interval over the pictures alone.",
        tuple(name for ladder in ladders.values() for name in ladder),
    )


def _kinds(found: Results, wheres: list[str]) -> Observation:
    names = {
        words: [f"{where}/Matryoshka ×{w} minus BatchTopK ×{w}{suffix}" for where in wheres for w in NARROW]
        for words, suffix in BOTH.items()
    }
    return Observation(
        "Do Matryoshka SAEs score above BatchTopK SAEs at every width?",
        _spans(found, names),
        tuple(name for part in names.values() for name in part),
    )


def _rarity(found: Results) -> Observation:
    """With growing minimum activity both change; only the difference at equal activity is learning."""
    names = [name for name in found.results if f"/{MAIN} minus random for {MAIN}, active on " in name]
    names.sort(key=lambda name: int(name.rpartition(" ")[2]))
    return Observation(
        "On how many pictures must a neuron be active to score above random directions?",
        "The difference by the least number of pictures: " + "; ".join(
            f"{name.rpartition(' ')[2]}: {said(found, name)}" for name in names) + f". {counted(found, names)}.",
        tuple(names),
    )  # fmt: skip


def _rebuilds(found: Results) -> Observation:
    ladder = _ladder(found, "projection/R²")
    return Observation(
        "Do wider SAEs rebuild more at the same K?",
        f"R² of the Matryoshka SAEs at the last layer: {_told(found, ladder)}.",
        tuple(ladder),
    )


def _gives_up(found: Results) -> Observation:
    names = sorted(name for name in found.results if "/R² given up/" in name)
    return Observation(
        "By how much do BatchTopK SAEs rebuild more than Matryoshka SAEs at each layer and width?",
        _spans(found, {"Over the test pictures": names}, digits=3),
        tuple(names),
    )


def _told(found: Results, ladder: Iterable[str]) -> str:
    return ", ".join(f"{_width(name)}: {said(found, name)}" for name in ladder)


def _width(name: str) -> str:
    return f"ε = {number(name.rpartition('×')[2], 0)}"


def _ladder(found: Results, where: str) -> list[str]:
    """A result of the Matryoshka SAEs of every width, the narrowest first."""
    start = f"{where}/Matryoshka ×"
    return sorted((name for name in found.results if name.startswith(start)), key=lambda n: float(n[len(start) :]))
