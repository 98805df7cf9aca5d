"""The profiles by name; nothing else knows one.

``pocket`` runs on two cores in minutes, on models of our own that travel with the repository; ``light``, ``colab`` and
``paper`` run the same code on public ones (``public.py``), ``island-<name>`` on another island of the pocket world.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.overrides import refuse_unknown
from vlm_sae_lib.profiles.public import PUBLIC
from vlm_sae_lib.profiles.settings import Profile, SteeringSize

__all__ = ["PROFILES", "Profile", "SteeringSize", "load_profile"]

PROFILES = {
    "pocket": Profile(
        name="pocket",
        tower="pocket",
        scoring_towers=(("self-supervised", "pocket:self_supervised"), ("second CLIP", "pocket:second_clip")),
        vlm="pocket",
        train_pictures="pocket:12000:11",
        choosing_pictures="pocket:3000:12",
        test_pictures="pocket:4000:13",
        hook_points=("block_2", "block_4", "block_5", "projection"),
        main_hook_point="block_5",
        steering_hook_point="block_4",
        k=10,
        steps=600,
        batch_size=1024,
        lr=2e-3,
        lr_decay=0.3,
        taxonomy_k=10,
        steering_tokens="random:8",
        steering_expansion=4,
        steering_k=8,
        steering_choosing=400,
        steering_scored=400,
        shipped=True,
    ),
    **PUBLIC,
}


ISLAND = "island-"


def island_profile(name: str) -> Profile:
    """The pocket profile on another island, whose models ``make islands`` trains; ``twin`` is the published one seen by
    another CLIP."""
    home, kind = PROFILES["pocket"], f"pocket@{name}"

    def there(spec: str) -> str:
        return kind + spec.removeprefix("pocket")

    return replace(
        home,
        name=f"{ISLAND}{name}",
        tower=kind,
        scoring_towers=tuple((word, there(spec)) for word, spec in home.scoring_towers),
        vlm=kind,
        train_pictures=there(home.train_pictures),
        choosing_pictures=there(home.choosing_pictures),
        test_pictures=there(home.test_pictures),
        shipped=False,
    )


def load_profile(name: str, **overrides: Any) -> Profile:
    """The profile of that name, with single settings replaced; of ``steering`` a mapping replaces some of its own.

    Raises:
        UserError: the name or a setting is unknown (the message lists the known ones), or a value is of the wrong type
            or out of range.
    """
    if name not in PROFILES and not name.startswith(ISLAND):
        raise UserError(f"There is no profile {name!r}; the profiles are {', '.join(PROFILES)}.")
    profile = PROFILES[name] if name in PROFILES else island_profile(name.removeprefix(ISLAND))
    refuse_unknown("A profile", Profile, overrides)
    if isinstance(part := overrides.get("steering"), Mapping):
        refuse_unknown("The steering study", SteeringSize, part)
        overrides["steering"] = replace(profile.steering, **part)
    return replace(profile, **overrides)
