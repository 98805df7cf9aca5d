"""What the naming experiment shows; the paper does not name its neurons."""

from vlm_sae_lib.claims.counting import n_and_what
from vlm_sae_lib.claims.verdict import Observation, counted, said
from vlm_sae_lib.records.results import Results

CONTROLS = ("named blindly", "shuffled names", "names of equal firing rate")
MOST, BEST, PRECISION = "most top pictures have it", "no value is detected better", "precision beyond the base rate"


def observe(found: Results) -> list[Observation]:
    """How often names are true, beyond controls; how they compare with the best detected; what confidence is worth."""
    cases = [name.removesuffix(f"/{MOST}") for name in found.results if name.endswith(f"/{MOST}")]
    return [_named(found, cases), _true(found, cases), _beyond(found, cases), _precise(found, cases),
            _best(found, cases), *_sure(found)]  # fmt: skip


def _named(found: Results, cases: list[str]) -> Observation:
    names = [f"{case}/{MOST}" for case in cases]
    left = {name.partition("/")[0]: " ".join(n_and_what(found, "naming", name)) for name in names}
    return Observation(
        "How many latents were named, and why not the others?",
        "Named were " + "; ".join(f"{n} ({subject})" for subject, n in left.items()) + ". The others fire on fewer "
        "than sixteen choosing pictures, or on fewer than sixteen test pictures: too few to name by, or to check by.",
        tuple(names),
    )


def _true(found: Results, cases: list[str]) -> Observation:
    names = [f"{case}/{MOST}" for case in cases]
    return Observation(
        "How many latents get a name that is true of most of their held-out top pictures?",
        f"{_from_to(found, names)} of the latents, in {len(names)} cases of SAE and method.",
        tuple(names),
    )


def _beyond(found: Results, cases: list[str]) -> Observation:
    beyond = {control: [f"{case}/{MOST}/minus {control}" for case in cases] for control in CONTROLS}
    lucky = max((f"{case}/{MOST}/{control}" for case in cases for control in CONTROLS), key=found.value)
    least = {control: min(names, key=found.value) for control, names in beyond.items()}
    return Observation(
        "How many more than with names that know nothing of the latent?",
        "At the least "
        + "; ".join(f"{said(found, name)} more than {control}" for control, name in least.items())
        + f". Of all differences, {counted(found, sum(beyond.values(), []))}. The luckiest control alone has "
        f"{said(found, lucky)}.",
        (*sum(beyond.values(), []), lucky),
    )


def _precise(found: Results, cases: list[str]) -> Observation:
    names = [f"{case}/{PRECISION}" for case in cases]
    return Observation(
        "How much does the name say: how far is its precision beyond the value's base rate?",
        f"{_from_to(found, names)} of the top sixteen.",
        tuple(names),
    )


def _best(found: Results, cases: list[str]) -> Observation:
    names = [f"{case}/{BEST}" for case in cases]
    return Observation(
        "For how many latents is the name what the latent detects best?",
        f"{_from_to(found, names)} of the latents.",
        tuple(names),
    )


def _sure(found: Results) -> list[Observation]:
    surer, minus, gap = (
        [name for name in found.results if name.endswith(f"/{what}")]
        for what in ("true names, surer half minus the other", "confidence minus share of true names",
                     "gap between confidence and truth")
    )  # fmt: skip
    return [
        Observation(
            "Is a name that is given with more confidence more often true?",
            "The share of true names in the surer half of the latents, minus that in the other half: "
            + "; ".join(f"{said(found, name)} ({_method(name)})" for name in surer) + ".",
            tuple(surer),
        ),
        Observation(
            "Can the confidence be read as a probability?",
            "Confidence minus share of true names, where 0 is what a probability has: "
            + "; ".join(f"{said(found, name)} ({_method(name)})" for name in minus)
            + ". Bin by bin the two are apart by "
            + "; ".join(f"{said(found, name)} ({_method(name)})" for name in gap) + ".",
            (*minus, *gap),
        ),
    ]  # fmt: skip


def _from_to(found: Results, names: list[str]) -> str:
    low, high = min(names, key=found.value), max(names, key=found.value)
    return f"From {said(found, low)} ({_words(low)}) to {said(found, high)} ({_words(high)})"


def _words(name: str) -> str:
    subject, method, _ = name.split("/")
    return f"{subject}, {method}"


def _method(name: str) -> str:
    return name.split("/")[1]
