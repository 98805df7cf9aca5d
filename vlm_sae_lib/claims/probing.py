"""What the probing experiment shows; no claim of the paper rests on it."""

from itertools import product

from vlm_sae_lib.claims.verdict import Observation, apart, counted, said
from vlm_sae_lib.experiments.editing import DIRECTION, EDITED, INSTEAD, LENGTH, WHAT
from vlm_sae_lib.experiments.probing import BOUND, FROZEN, LATENTS, LEARNED, MATRYOSHKA, METRICS, RIVALS
from vlm_sae_lib.experiments.scrambled_tower import RATES, SHUFFLED, TRAINED, UNTRAINED
from vlm_sae_lib.experiments.shortcuts import APART, DIRECTIONS, FAIR, LATE, MEANS, NOTHING, OFF, OTHERS, TOGETHER
from vlm_sae_lib.records.results import Results

EVERYTHING, MOST = "all factors", EDITED[-1]
CAUSE, ISOLATION, _ = WHAT


def observe(found: Results) -> list[Observation]:
    """Few latents beside few of anything else; edits; shortcuts; the tower that was shuffled."""
    return [
        _few(found),
        *(_against_rivals(found, metric) for metric in METRICS),
        _bound(found),
        _optimism(found),
        _edits(found),
        _edits_of_others(found),
        _frozen_edits(found),
        _shortcut(found),
        _switched_off(found),
        _late(found),
        _shuffled(found),
    ]


def _few(found: Results) -> Observation:
    names = [f"F1 of {k}/{EVERYTHING}/{MATRYOSHKA}" for k in LATENTS]
    shares = ", ".join(f"{said(found, name, 3)} with {k}" for name, k in zip(names, LATENTS, strict=True))
    return Observation(
        "How much of a value do a few latents hold?",
        f"The mean F1 of a linear probe on the Matryoshka autoencoder's latents is {shares}.",
        tuple(names),
    )


def _against_rivals(found: Results, metric: str) -> Observation:
    names = {
        rival: [f"{metric} of {k}/{EVERYTHING}/{who} minus {rival}" for who, k in product(LEARNED, LATENTS)]
        for rival in RIVALS
    }
    parts = [
        f"{apart(found, some[0], 3)} that of {rival} with one, {apart(found, some[len(LATENTS) - 1], 3)} it with "
        f"five ({counted(found, some)})"
        for rival, some in names.items()
    ]
    return Observation(
        f"Is a probe on so few latents better than one on as many of anything else, by {metric}?",
        f"With Matryoshka latents it lies {'; '.join(parts)}. In brackets: with 1, 2 and 5 latents of both kinds of "
        "autoencoder.",
        tuple(name for some in names.values() for name in some),
    )


def _bound(found: Results) -> Observation:
    names = [f"F1 of {k}/{EVERYTHING}/{MATRYOSHKA} minus {BOUND}" for k in LATENTS]
    bound = f"F1 of all/{EVERYTHING}/{BOUND}"
    gaps = ", ".join(f"{said(found, name, 3)} with {k}" for name, k in zip(names, LATENTS, strict=True))
    return Observation(
        "And how far below a probe on all activations does it stay?",
        f"That one reaches a mean F1 of {said(found, bound, 3)}. Matryoshka's latents minus it: {gaps}.",
        (bound, *names),
    )


def _optimism(found: Results) -> Observation:
    names = [f"optimism of {k}/{who}" for who, k in product(LEARNED, LATENTS)]
    parts = ", ".join(
        f"{said(found, name, 3)} ({who}, {k})" for name, (who, k) in zip(names, product(LEARNED, LATENTS), strict=True)
    )
    return Observation(
        "What does the choice of latents owe to the pictures on which it was made?",
        f"F1 on choosing pictures minus F1 on test: {parts}.",
        tuple(names),
    )


def _edits(found: Results) -> Observation:
    names = {who: [f"{what}/{EVERYTHING}/{who}, {MOST}" for what in (CAUSE, ISOLATION)] for who in LEARNED}
    alone = [f"{what}/{EVERYTHING}/{DIRECTION}" for what in (CAUSE, ISOLATION)]
    lengths = [f"{LENGTH}/{who}" for who in (f"{MATRYOSHKA}, {MOST}", DIRECTION)]
    parts = "; ".join(f"{who} {' and '.join(said(found, name) for name in some)}" for who, some in names.items())
    return Observation(
        "Does a value go when its latents are switched off, and does the rest stay?",
        f"Of up to {MOST} latents chosen for a value, those that speak for it are off. Cause and isolation: {parts}. "
        f"With the best linear direction projected out: {' and '.join(said(found, name) for name in alone)}; that edit "
        f"is {said(found, lengths[1])} of an activation long, the latents' (Matryoshka) {said(found, lengths[0])}.",
        (*(name for some in names.values() for name in some), *alone, *lengths),
    )


def _edits_of_others(found: Results) -> Observation:
    names = {
        what: [f"{what}/{EVERYTHING}/{who}, {k} minus {who}, {k} {INSTEAD}" for who, k in product(LEARNED, EDITED)]
        for what in (CAUSE, ISOLATION)
    }
    parts = [
        f"{what} by {said(found, some[len(EDITED) - 1])} (Matryoshka, {MOST}; of all {counted(found, some)})"
        for what, some in names.items()
    ]
    return Observation(
        "Is that more than with as many other latents that fire on the picture, made as long?",
        f"The value's own latents exceed them in {' and in '.join(parts)}.",
        tuple(name for some in names.values() for name in some),
    )


def _frozen_edits(found: Results) -> Observation:
    names = [f"{what}/{EVERYTHING}/{MATRYOSHKA}, {k} minus {FROZEN}, {k}"
             for what, k in product(WHAT, EDITED)]  # fmt: skip
    parts = ", ".join(
        f"{said(found, name, 3)} in {what} ({k})"
        for name, (what, k) in zip(names, product(WHAT, EDITED), strict=True)
    )
    return Observation(
        "And more than with a decoder that never learned?",
        f"Matryoshka minus the frozen decoder, by the latents chosen for a value: {parts}.",
        tuple(names),
    )


def _shortcut(found: Results) -> Observation:
    names = [f"accuracy {world}/{what}" for world in (TOGETHER, APART) for what in (NOTHING, FAIR)]
    return Observation(
        "Does a probe for class learn the habitat where the two go together?",
        f"Trained so, it is right on {said(found, names[0])} of such pictures and on {said(found, names[2])} where "
        f"they do not go together. Trained on as many pictures of any habitat: {said(found, names[1])} and "
        f"{said(found, names[3])}.",
        tuple(names),
    )


def _switched_off(found: Results) -> Observation:
    names = {who: [f"accuracy {APART}/{who}, {OFF} minus {rival}" for rival in (NOTHING, OTHERS, MEANS)]
             for who in (*LEARNED, FROZEN)}  # fmt: skip
    alone = [f"accuracy {APART}/{MATRYOSHKA}, {OFF}", f"habitat latents/{MATRYOSHKA}", f"accuracy {APART}/{DIRECTIONS}",
             f"accuracy {APART}/{MEANS}"]  # fmt: skip
    parts = "; ".join(
        "{} {}, {} and {}".format(who, *(said(found, name, 3) for name in some)) for who, some in names.items()
    )
    return Observation(
        "Does it help to switch the habitat's latents off before the probe learns?",
        f"Where class and habitat do not go together accuracy is then {said(found, alone[0])} (Matryoshka, "
        f"{said(found, alone[1], 0)} latents). With the best directions for the habitats projected out it is "
        f"{said(found, alone[2])}, with the differences of their means {said(found, alone[3])}. Latents off minus "
        f"nothing off, as many others off, and those differences projected out: {parts}.",
        (*alone, *(name for some in names.values() for name in some)),
    )


def _late(found: Results) -> Observation:
    names = [f"accuracy {APART}/{who}, {what}" for who, what in product((*LEARNED, FROZEN), (LATE, OFF))]
    pairs = zip((*LEARNED, FROZEN), names[::2], strict=True)
    return Observation(
        "And if the probe has learned already, and the latents are off only when it is tested?",
        f"Accuracy is then {', '.join(f'{said(found, name)} ({who})' for who, name in pairs)}.",
        tuple(names),
    )


def _shuffled(found: Results) -> Observation:
    start = f"{RATES}/"
    encoders = [name.split("/")[1] for name in found.results if name.startswith(start) and name.endswith(f"/{TRAINED}")]
    names = [f"{start}{encoder}/{who}" for encoder in encoders for who in (
        TRAINED, SHUFFLED, UNTRAINED, f"{TRAINED} minus {SHUFFLED}", f"{SHUFFLED} minus {UNTRAINED}")]  # fmt: skip
    parts = [
        "{}, {} and {} ({}; the first minus the second {}, the second minus the third {})".format(
            *(said(found, name, 3) for name in names[5 * i : 5 * i + 3]), encoder,
            *(said(found, name, 3) for name in names[5 * i + 3 : 5 * i + 5]),
        )
        for i, encoder in enumerate(encoders)
    ]  # fmt: skip
    return Observation(
        "Is an untrained tower too easy a control, its weights being small and alike?",
        "At equal firing rates the mean MS of autoencoders on the trained tower, on one whose weights were shuffled "
        f"within each matrix, and on an untrained one is {'; '.join(parts)}. Three trainings, each with another "
        "shuffling and another untrained tower.",
        tuple(names),
    )
