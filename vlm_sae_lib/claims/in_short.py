"""What an experiment comes to, in a few sentences whose every "above" and "below" follows from its interval."""

from collections.abc import Callable, Mapping

from vlm_sae_lib.claims.counting import n_and_what
from vlm_sae_lib.claims.verdict import apart, clearly_above, clearly_below, counted, said
from vlm_sae_lib.records.effects import ENOUGH
from vlm_sae_lib.records.results import Results


def in_short(experiment: str, found: Results) -> str:
    """The sentences of an experiment; ``KeyError`` if it has none."""
    return SHORT[experiment](found)


def beside(found: Results, name: str, what: str, digits: int = 2) -> str:
    """On which side of ``what`` a difference lies, or that the two cannot be told apart."""
    if clearly_above(found, name) or clearly_below(found, name):
        return f"{apart(found, name, digits)} {what}"
    return f"not to be told from {what} (a difference of {said(found, name, digits)})"


def _layers(found: Results) -> str:
    gain = "effect/gain over"
    kinds = "effect/Matryoshka minus BatchTopK"
    return (
        f"The mean MS of latents is {beside(found, f'{gain} raw neurons', 'that of raw neurons as they are')}, "
        f"{beside(found, f'{gain} rectified neurons', 'that of raw neurons rectified and cut to be as sparse')}, and "
        f"{beside(found, f'{gain} random directions', 'that of random directions that fire as often')}; of those"
        f"{ENOUGH} {beside(found, f'{gain} random directions{ENOUGH}', 'theirs')}. Matryoshka latents are "
        f"{beside(found, kinds, 'BatchTopK latents')}; with the same difference of random directions taken off, "
        f"{beside(found, f'{kinds} beyond random directions', 'zero')}."
    )


def _towers(found: Results) -> str:
    lines = []
    for word, rival in (("raw neurons rectified and cut to be as sparse", "rectified neurons"),
                        ("random directions that fire as often", "random directions")):  # fmt: skip
        start = f"effect/gain over {rival}, "
        names = [name for name in found.results if name.startswith(start) and not name.endswith(ENOUGH)]
        lines.append(f"of the differences to {word} {counted(found, names)}")
    return f"Three towers, each scored by the two others, compared by the latents' mean MS: {'; '.join(lines)}."


def _sparsity(found: Results) -> str:
    slope = "effect/slope over sparsity"
    return (
        f"For each halving of K the mean MS of latents moves by {said(found, slope)}. That rise is "
        f"{beside(found, f'{slope} beyond random directions', 'that of random directions that fire as often')}, "
        f"{beside(found, f'{slope} beyond rectified, cut', 'that of raw neurons rectified and cut to the same L0')}, "
        f"and {beside(found, f'{slope} beyond a frozen decoder', 'that with a decoder that never learned')}."
    )


def _uniqueness(found: Results) -> str:
    share = "share of pairs above 0.5"
    return (
        f"Of a thousand pairs of latents, {1000 * found.value(share):.2f} have more than half of their top pictures in "
        f"common. The share is {beside(found, f'{share} minus random directions', 'that of random directions', 5)}. "
        f"Only {said(found, 'share of neurons compared')} of the latents could be compared at all."
    )


def _agreement(found: Results) -> str:
    start, name = "self-supervised/all factors", "effect/agreement beyond rules without pictures"
    random = f"{start}/MS minus MS of random directions{ENOUGH}"
    return (
        f"The score agrees with the truth in {said(found, f'{start}/MS{ENOUGH}')} of the pairs of latents{ENOUGH} (one "
        f"encoder, one observer). That is {beside(found, random, 'the share with random directions in their place')}. "
        "Over all observers the share is "
        f"{beside(found, name + ENOUGH, 'that of the better of two rules that look at no picture')}."
    )


def _hierarchy(found: Results) -> str:
    slope = "effect/slope"
    matched = f"{slope} beyond latents that fire as often"
    return (
        f"From level to level latents lie {said(found, slope)} ranks deeper in the tree. That is "
        f"{beside(found, matched, 'latents of a plain autoencoder that fire as often')}, "
        f"and {beside(found, f'{slope} beyond sorting by frequency', 'a plain autoencoder sorted by frequency')}."
    )


def _similarity(found: Results) -> str:
    gain, right = "effect/gain over", "pictures/other answers right"
    others = f"{gain} another latent's pictures, pictures"
    return (
        "On ordinary pictures the cosine of the steered word with its latent's pictures is "
        f"{beside(found, f'{gain} a random direction, pictures', 'that of a random push')}, and "
        f"{beside(found, others, 'that with the pictures of other latents')}; "
        "with what the autoencoder misses kept on both sides, "
        f"{beside(found, f'{gain} a random direction, error kept, pictures', 'that of a random push')}. Of four other "
        f"answers {said(found, f'{right}/steered')} stay right, {said(found, f'{right}/bare model')} without steering."
    )


def _diff_mean(found: Results) -> str:
    lines = []
    for task, verb in (("insertion", "Inserting"), ("suppression", "Suppressing")):
        means, random = (f"effect/{task}: latent minus {who}" for who in ("difference of means", "random directions"))
        lines.append(f"{verb}, a latent has both right in {said(found, f'{task}/both/SAE')} of the pictures: "
                     f"{beside(found, random, 'random directions')}, "
                     f"{beside(found, means, 'the difference of means')}.")  # fmt: skip
    return " ".join(lines)


def _keeping_the_rest(found: Results) -> str:
    best, rival = (str(found.results[name]["value"]) for name in ("best edit of latents", "best rival"))
    against = "effect/best edit of latents minus"
    dealt = f"{against} learned latents, vectors dealt anew"
    return (
        f"The best edit of latents ({best}) names the concept and leaves every other answer right in "
        f"{said(found, f'both/{best}')} of the pictures: "
        f"{beside(found, f'{against} DiffMean', 'the difference of means')}, "
        f"{beside(found, f'{against} {rival}', f'its best rival ({rival})')}, and "
        f"{beside(found, dealt, 'the same with the vectors dealt to other latents')}."
    )


def _captioning(found: Results) -> str:
    kinds = ", ".join(
        f"{beside(found, f'{kind}/beyond random latents, all slots right/best edit', 'it')} on {word} pictures"
        for kind, word in {"noise": "noisy", "dark": "dark", "occluded": "covered", "clean": "clean"}.items()
    )  # fmt: skip
    rebuilt = "effect/captions right, reconstruction minus best edit"
    return (
        "Captions with every slot right: the best edit of latents, beside the best random one, is "
        f"{kinds}. Over all four, the autoencoder in place with no latent touched is "
        f"{beside(found, rebuilt, 'that best edit')}."
    )


def _monoloss(found: Results) -> str:
    gain, dead = "effect/gain under an unseen encoder at equal R²", "projection/batch_top_k/dead latents"
    return (
        f"At equal R² the MS under encoders that the loss never saw moves by {said(found, gain)}. Of 512 latents of a "
        f"BatchTopK autoencoder at the last layer {said(found, f'{dead}/with', 0)} are dead with the loss, "
        f"{said(found, f'{dead}/without', 0)} without."
    )


def _origins(found: Results) -> str:
    rivals = {
        "an autoencoder on an untrained tower": "an autoencoder on an untrained tower",
        "an untrained autoencoder": "an untrained autoencoder", "a frozen decoder": "one whose decoder never learned",
        "random directions": "random directions", "rectified raw neurons": "rectified raw neurons",
        "k-means": "the centres of k-means",
    }  # fmt: skip
    told = "; ".join(beside(found, f"effect/gain over {rival}", words) for rival, words in rivals.items())
    return f"At the same firing rates the latents' mean MS, over both encoders, is {told}."


def _factors(found: Results) -> str:
    start = "f1/all factors/matryoshka_batch_top_k ×4"
    sparse, bound = (f"{start} minus {rival}" for rival in ("rectified, cut", "best linear direction, told the truth"))
    return (
        f"By F1 the best latent for a value is {beside(found, sparse, 'the best of raw neurons as sparse')} and "
        f"{beside(found, bound, 'a direction that was told the truth')} (Matryoshka, ×4, over all factors)."
    )


def _naming(found: Results) -> str:
    case = "Matryoshka ×4 at projection/its top pictures, centred/most top pictures have it"
    return (
        f"{said(found, case)} of the named latents get a name that is true of most of their held-out "
        "pictures, by their top pictures with the mean of all taken off. That is "
        f"{beside(found, f'{case}/minus named blindly', 'names given blindly')}. Named were only latents that fire on "
        f"sixteen pictures of both sets, {n_and_what(found, 'naming', case)[0]}; nothing is said of the others."
    )


def _probing(found: Results) -> str:
    one, five = (f"F1 of {k}/all factors/Matryoshka minus random directions" for k in (1, 5))
    edit = "all factors/Matryoshka, 5 minus Matryoshka, 5 others instead"
    return (
        f"A probe on one latent has an F1 {beside(found, one, 'that of one random direction')}; on five, "
        f"{beside(found, five, 'that of five')}. With a value's latents switched off, how often it goes is "
        f"{beside(found, f'cause/{edit}', 'that with as many others off')}, and how much of the rest stays "
        f"{beside(found, f'isolation/{edit}', 'it')}."
    )


def _recovery(found: Results) -> str:
    known, values = "synthetic, by direction", "pictures, by firing"
    again, soft = "stability/share above 0.7", "F1/Matryoshka minus a soft-frozen decoder"
    return (
        "Of the directions that synthetic activations are sums of, a Matryoshka autoencoder finds "
        f"{said(found, f'{known}/share found/Matryoshka')}. Beside one whose decoder is held near its random start its "
        f"F1 is {apart(found, f'{known}/{soft}')} there, and {apart(found, f'{values}/{soft}')} for the values of the "
        f"pictures. A second training finds {said(found, f'{again}/Matryoshka')} of its latents again, of those"
        f"{ENOUGH} {said(found, f'{again}{ENOUGH}/Matryoshka')}."
    )


SHORT: Mapping[str, Callable[[Results], str]] = {
    "layers": _layers, "towers": _towers, "sparsity": _sparsity, "uniqueness": _uniqueness, "agreement": _agreement,
    "hierarchy": _hierarchy, "similarity": _similarity, "diff_mean": _diff_mean, "keeping_the_rest": _keeping_the_rest,
    "captioning": _captioning, "monoloss": _monoloss, "origins": _origins, "factors": _factors, "naming": _naming,
    "probing": _probing, "recovery": _recovery,
}  # fmt: skip
"""By experiment."""
