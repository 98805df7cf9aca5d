"""What a vision-language model says when a latent is turned up: a dose curve for what it detects best, and answers.

Each latent is tried for one concept, the value that it detects best on pictures whose truth is known; nothing is chosen
by what the model answers. Beside it stands a push of the same length along a random direction.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp
from jaxtyping import Float, Int

from vlm_sae_lib.atlas.detecting import detected
from vlm_sae_lib.atlas.known import Known
from vlm_sae_lib.progress import progress
from vlm_sae_lib.steering.asking import Asking
from vlm_sae_lib.steering.concepts import Gallery, PooledLatents
from vlm_sae_lib.steering.intervention import Sae
from vlm_sae_lib.steering.reading import says
from vlm_sae_lib.steering.sweep import UNSTEERED, Intervention, SteeringBench
from vlm_sae_lib.vlms.vlm import Vlm

DOSES = (0.5, 1.0, 2.0, 4.0)
"""Strengths, in multiples of the latent's largest value on any token of the pictures on which it was looked at."""
AT_LEAST = 10
"""Pictures on which a latent must fire to be tried: one that hardly ever fires has no maximum worth a multiple."""
TELL = 3
MAX_NEW_TOKENS = 16


@dataclass(frozen=True, eq=False)
class Steered:
    """What steering does, a row for each latent that was tried.

    Attributes:
        latents: those tried; the others fire on fewer than ``AT_LEAST`` pictures, or detect nothing that can be asked.
        about, concept: what the model is asked, and the answer that would be the latent's.
        lacking: on how many pictures, those that lack the concept, it is asked.
        maximum: the unit of the doses.
        said, kept, random: by dose, the share of these pictures on which the answer is the concept; on which each of
            the other questions is answered as without steering; and on which a random direction as long has the effect.
        pictures, before, captions: ids of some pictures, what is said of them with the SAE in place and nothing turned
            up, and with each dose.
        prompt: what the captions answer.
        fires: on how many of the pictures by which strengths are set each latent of all fires, and how many those are.
    """

    latents: Int[np.ndarray, " m"]
    about: tuple[str, ...]
    concept: tuple[str, ...]
    lacking: Int[np.ndarray, " m"]
    maximum: Float[np.ndarray, " m"]
    said: Float[np.ndarray, "m doses"]
    kept: Float[np.ndarray, "m doses"]
    random: Float[np.ndarray, "m doses"]
    pictures: tuple[int, ...]
    before: tuple[str, ...]
    captions: np.ndarray
    prompt: str
    fires: Int[np.ndarray, " n_latents"]
    looked_at: int


def steer_all(
    vlm: Vlm, sae: Sae, pooled: PooledLatents, known: Known, gallery: Gallery, asking: Asking,
    *, at_most: int | None = None, seed: int = 0,
) -> Steered:  # fmt: skip
    """Try every latent that fires often enough, or the ``at_most`` that fire most often.

    Args:
        pooled, known: of the pictures on which concepts and maxima are looked up.
        gallery: other or the same pictures, a few, that the model is asked about.
    """
    fires = (pooled.largest > 0).sum(axis=0)
    askable = tuple(factor for factor in known.factors if factor.name in asking.questions)
    best = detected(sp.csr_matrix(pooled.largest), askable, 1)
    tried = best.take(fires[best.latent] >= AT_LEAST)
    if at_most is not None and len(tried.latent) > at_most:
        often = np.lexsort((tried.latent, -fires[tried.latent]))[:at_most]
        tried = tried.take(np.sort(often))
    about = tuple(askable[f].name for f in tried.factor)
    concept = tuple(askable[f].values[v] for f, v in zip(tried.factor, tried.value, strict=True))
    maximum = pooled.maximum[tried.latent].astype(np.float64)
    bench = SteeringBench(vlm, sae, gallery.images, description="steering every latent")
    rows = [
        _curve(bench, gallery, asking, int(latent), top, what, value, seed + i)
        for i, (latent, top, what, value) in enumerate(
            progress(list(zip(tried.latent, maximum, about, concept, strict=True)), "steering", unit="latent")
        )
    ]
    n, empty = len(rows), np.zeros((0, len(DOSES)))
    pushes = [
        Intervention(int(latent), dose * top)
        for latent, top in zip(tried.latent, maximum, strict=True) for dose in DOSES
    ]  # fmt: skip
    few = range(min(TELL, len(gallery.images)))
    said = bench.captions([UNSTEERED, *pushes], asking.describe, few, max_new_tokens=MAX_NEW_TOKENS)
    return Steered(
        latents=tried.latent, about=about, concept=concept, maximum=maximum, fires=fires, looked_at=len(pooled.largest),
        lacking=np.array([row[0] for row in rows], dtype=np.int64),
        said=np.array([row[1] for row in rows]) if n else empty,
        kept=np.array([row[2] for row in rows]) if n else empty,
        random=np.array([row[3] for row in rows]) if n else empty,
        pictures=tuple(int(i) for i in gallery.factors.index[list(few)]), before=tuple(said[0]),
        captions=said[1:].reshape(n, len(DOSES), len(few)), prompt=asking.describe,
    )  # fmt: skip


def _curve(
    bench: SteeringBench, gallery: Gallery, asking: Asking, latent: int, maximum: float, about: str, concept: str,
    seed: int,
) -> tuple[int, list[float], list[float], list[float]]:  # fmt: skip
    """On how many pictures that lack the concept it is asked; said, kept and random by dose."""
    lacking = np.flatnonzero((gallery.factors[about] != concept).to_numpy()).tolist()
    rest = _rest(about, asking)
    prompts = [asking.questions[name] for name in (about, *rest)]
    pushes = [Intervention(latent, dose * maximum) for dose in DOSES]
    pushes += [Intervention(latent, dose * maximum, seed) for dose in DOSES]
    answers = bench.answers([UNSTEERED, *pushes], prompts, lacking)
    own = gallery.factors.iloc[lacking]
    offered = asking.offered.get(about, ())
    named = np.array([
        says(pd.Series(part, index=own.index), concept, asking.reading, offered=offered, shown=own[about])
        for part in answers[..., 0]
    ])  # fmt: skip
    same = (answers[1:, :, 1:] == answers[:1, :, 1:]).mean(axis=(1, 2)) if rest else np.full(len(pushes), np.nan)
    steered, random = named[1 : 1 + len(DOSES)], named[1 + len(DOSES) :]
    return len(lacking), _shares(steered), same[: len(DOSES)].tolist(), _shares(random)


def _rest(about: str, asking: Asking) -> Sequence[str]:
    """The other questions; where a rank is the concept, no other rank is among them."""
    return [name for name in asking.rest if name != about and not {name, about} <= set(asking.ranks)]


def _shares(named: np.ndarray) -> list[float]:
    return named.mean(axis=1).tolist() if named.shape[1] else [float("nan")] * len(named)
