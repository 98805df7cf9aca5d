"""What the recovery experiment shows; no claim of the paper rests on it."""

from collections.abc import Iterable, Sequence

from vlm_sae_lib.claims.verdict import Observation, apart, counted, said
from vlm_sae_lib.experiments.recovery import COMPARED, RANKED
from vlm_sae_lib.experiments.recovery_kinds import BOUND, DIRECTIONS, FIRING, KINDS, LEARNS_ALL, PICTURES, WHOLE
from vlm_sae_lib.experiments.recovery_stability import COSINE, SHARE
from vlm_sae_lib.experiments.rivals import FROZEN, UNTRAINED
from vlm_sae_lib.records.effects import ENOUGH
from vlm_sae_lib.records.results import Results


def observe(found: Results) -> list[Observation]:
    """Recovery of directions and of values, frozen parts, whether two truths and MS rank kinds alike, stability."""
    return [
        _directions(found),
        _values(found),
        _frozen(found),
        _ranks(found),
        _ms(found),
        _stability(found),
        _frequency(found),
        _goes_with_ms(found),
    ]


def _directions(found: Results) -> Observation:
    names = [f"{DIRECTIONS}/{what}" for what in ("correlation", "share found", "F1")] + ["synthetic/R²"]
    parts = [
        f"{word} {_from_to(found, name, WHOLE)}, untrained {said(found, f'{name}/{UNTRAINED}')}"
        for word, name in zip(("mean cosine with the match", "found", "F1", "variance explained"), names, strict=True)
    ]
    return Observation(
        "How many of the directions that synthetic activations are sums of does an autoencoder find?",
        f"Of {found.results[f'{DIRECTIONS}/correlation/{LEARNS_ALL}']['n']} known directions: {'; '.join(parts)}.",
        tuple(f"{name}/{kind}" for name in names for kind in (*WHOLE, UNTRAINED)),
    )


def _values(found: Results) -> Observation:
    names = [f"{PICTURES}/{what}" for what in ("correlation", "share found", "F1")]
    parts = [
        f"{word} {_from_to(found, name, WHOLE)}, untrained {said(found, f'{name}/{UNTRAINED}')}, directions that were "
        f"told the truth {said(found, f'{name}/{BOUND}')}"
        for word, name in zip(("correlation with the match", "found", "F1"), names, strict=True)
    ]
    return Observation(
        "And how many of the values that the pictures were drawn from?",
        f"Of {found.results[f'{PICTURES}/correlation/{LEARNS_ALL}']['n']} values, each with a latent of its own: "
        f"{'; '.join(parts)}.",
        tuple(f"{name}/{kind}" for name in names for kind in (*WHOLE, UNTRAINED, BOUND)),
    )


def _frozen(found: Results) -> Observation:
    ways = (DIRECTIONS, FIRING, PICTURES)
    names = {frozen: [f"{way}/F1/{LEARNS_ALL} minus {frozen}" for way in ways] for frozen in FROZEN}
    parts = [
        f"{frozen} {', '.join(f'{apart(found, name)} ({way})' for way, name in zip(ways, of_one, strict=True))}"
        for frozen, of_one in names.items()
    ]
    return Observation(
        "Is less recovered where a part of the autoencoder never learns?",
        f"The F1 of the whole {LEARNS_ALL} autoencoder lies, beside one with {'; beside one with '.join(parts)}.",
        tuple(name for of_one in names.values() for name in of_one),
    )


def _ranks(found: Results) -> Observation:
    pairs = [(f"{way}, {what}", f"{PICTURES}, {what}") for way in (DIRECTIONS, FIRING) for what in COMPARED]
    names = [f"ranks/{which}/{first} with {second}" for which in RANKED for first, second in pairs]
    told = [f"{said(found, name)} ({_ranked(found, name)})" for name in names]
    return Observation(
        "Do the two truths rank kinds of autoencoder alike?",
        f"Rank correlation of recovery on pictures with that on synthetic activations: {'; '.join(told)}. "
        f"{_few(found, names)}",
        tuple(names),
    )


def _ms(found: Results) -> Observation:
    start, end = "ranks/all kinds/MS, ", f" with {PICTURES}, F1"
    names = [name for name in found.results if name.startswith(start) and name.endswith(end)]
    words = [name.removeprefix(start).removesuffix(end).replace(ENOUGH, f", latents{ENOUGH}") for name in names]
    told = [f"{said(found, name)} ({word})" for name, word in zip(names, words, strict=True)]
    return Observation(
        "Does MS rank kinds as the truth about the pictures does?",
        f"Rank correlation of the mean MS of a kind's latents with its F1 on the pictures: {'; '.join(told)}. "
        f"{_few(found, names)}",
        tuple(names),
    )


def _stability(found: Results) -> Observation:
    names = [f"stability/{what}{population}" for what in (SHARE, COSINE) for population in ("", ENOUGH)]
    gains = [f"{name}/{kind} minus {UNTRAINED}" for name in names[::2] for kind in KINDS]
    shares = [f"{kind} {said(found, f'{names[0]}/{kind}')}, {said(found, f'{names[1]}/{kind}')}" for kind in KINDS]
    cosines = _from_to(found, names[2], KINDS)
    return Observation(
        "How many latents does a second training find again?",
        f"With a cosine above .7, of all latents and of those of at least ten pictures: {'; '.join(shares)}. The mean "
        f"cosine with the match goes {cosines}; of two dictionaries that never learned it is "
        f"{said(found, f'{names[2]}/{UNTRAINED}')}. Of the differences to these {counted(found, gains)}.",
        tuple(f"{name}/{kind}" for name in names for kind in (*KINDS, UNTRAINED)) + tuple(gains),
    )


def _frequency(found: Results) -> Observation:
    names = [f"stability with frequency{population}/{kind}" for population in ("", ENOUGH) for kind in WHOLE]
    return Observation(
        "Are latents that fire more often the more stable ones?",
        f"Rank correlation over latents: {_list(found, names[: len(WHOLE)])}; of those of at least ten pictures "
        f"{_list(found, names[len(WHOLE) :])}.",
        tuple(names),
    )


def _goes_with_ms(found: Results) -> Observation:
    start, end = "stability with MS, ", f"/{LEARNS_ALL}"
    names = [name for name in found.results if name.startswith(start) and name.endswith(end) and ENOUGH not in name]
    encoders = [name.removeprefix(start).removesuffix(end) for name in names]
    plain, beyond = (
        [f"stability with {what}, {encoder}{population}/{kind}"
         for encoder in encoders for population in ("", ENOUGH) for kind in WHOLE]
        for what in ("MS", "MS beyond frequency")
    )  # fmt: skip
    ours = [[name for name in names if name.endswith(f"/{LEARNS_ALL}")] for names in (plain, beyond)]
    words = [f"{encoder}{end}" for encoder in encoders for end in ("", f", latents{ENOUGH}")]
    told = [
        f"{word} {said(found, one)}, beyond frequency {said(found, other)}"
        for word, one, other in zip(words, *ours, strict=True)
    ]
    return Observation(
        "Are latents of higher MS the more stable ones?",
        f"Rank correlation over the latents of the {LEARNS_ALL} autoencoder: {'; '.join(told)}. Of all {len(plain)} by "
        f"kind, encoder and population {counted(found, plain)}; beyond frequency {counted(found, beyond)}.",
        (*plain, *beyond),
    )


def _from_to(found: Results, name: str, kinds: Iterable[str]) -> str:
    low, *_, high = sorted(kinds, key=lambda kind: found.value(f"{name}/{kind}"))
    return f"from {said(found, f'{name}/{low}')} ({low}) to {said(found, f'{name}/{high}')} ({high})"


def _list(found: Results, names: Sequence[str]) -> str:
    return ", ".join(f"{name.rpartition('/')[2]} {said(found, name)}" for name in names)


def _ranked(found: Results, name: str) -> str:
    """How many kinds were ranked, and by what, for a reader."""
    which, _, what = name.removeprefix("ranks/").partition("/")
    return f"{found.results[name]['n']} {which.removeprefix('all ')}, {what.partition(' with ')[0]}"


def _few(found: Results, names: Sequence[str]) -> str:
    fewest = sorted({found.results[name]["n"] for name in names}, reverse=True)
    luck = " and ".join(f"{1 / (n - 1) ** 0.5:.2f} for {n}" for n in fewest)
    return (
        "Kinds are few: of ranks without any connection the correlation has a standard deviation of "
        f"{luck}, and the intervals say how sure it is for these kinds, not for others."
    )
