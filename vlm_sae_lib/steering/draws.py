"""Which photographs a gallery holds, and in which order.

Of a factor with few values a random draw holds enough pictures of each. But of ImageNet's thousand classes a thousand
pictures show about one each: there a few classes are drawn, which the choosing and the test pictures both have, and as
many pictures of each as there is room for.
"""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.profiles.settings import Profile


def draw_photographs(
    split: str, number: int, truth: Callable[[str], pd.DataFrame], by: str | None, profile: Profile
) -> list[int]:
    """The ids of so many pictures of ``choosing`` or ``test``, in the order of a draw by the profile's seed.

    Args:
        truth: gives what is known of a split's pictures, a row each, by image id.
        by: the factor of which only a few values are drawn, the same for both splits; None: any pictures.

    Raises:
        UserError: no value has ``steering.min_pictures`` pictures of both splits.
    """
    seed, each = profile.seed, profile.steering.min_pictures
    if by is None:
        return np.random.default_rng(seed).permutation(truth(split).index)[:number].tolist()
    room = min(profile.steering_choosing, profile.steering_scored) // each
    splits = {getattr(profile, f"{name}_pictures"): truth(name)[by] for name in ("choosing", "test")}
    drawn = shared_values(splits, min(room, profile.gallery_classes), at_least=each, seed=seed)
    values = truth(split)[by]
    return in_turn(values[values.isin(drawn)], number, seed=seed)


def shared_values(splits: Mapping[str, pd.Series], number: int, *, at_least: int, seed: int) -> list:
    """So many values, drawn at random (or all, where there are no more), each of ``at_least`` pictures of every split.

    Args:
        splits: the factor's value of each picture, by the name of the split.

    Raises:
        UserError: there is no such value.
    """
    counts = pd.DataFrame({name: values.value_counts() for name, values in splits.items()}).fillna(0)
    held = sorted(counts.index[(counts >= at_least).all(axis=1)])
    if not held:
        factor, names = next(iter(splits.values())).name, " and of ".join(splits)
        raise UserError(
            f"No {factor} has {at_least} of the pictures of {names}, so no concept can be steered: "
            f"add pictures, or set steering.min_pictures to less than {at_least}."
        )
    drawn = np.random.default_rng(seed).permutation(len(held))[: max(number, 1)]
    return [held[i] for i in sorted(drawn)]


def in_turn(values: pd.Series, number: int, *, seed: int) -> list[int]:
    """The ids (the index) of so many pictures, one of each value after the other until there is room for no more.

    Which one of a value comes first is drawn at random, so the first few pictures differ in their values.
    """
    drawn = values.sample(frac=1, random_state=seed)
    turn = drawn.groupby(drawn).cumcount()
    return turn.sort_values(kind="stable").index[:number].tolist()
