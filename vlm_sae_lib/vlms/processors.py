"""A VLM's processor beside its model: whether its pictures fit the tower, and its prompts the features made of them.

The number of picture tokens stands in two places, in the processor's settings and in the model itself, and folders are
passed on in which they differ. What the processor counts by is taken from the model (``families.py``); what cannot be
is one sentence when the model is loaded, rather than a traceback at its first answer.
"""

from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import nn

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.hooks import first_tensor, run_until
from vlm_sae_lib.loading import first_sentence
from vlm_sae_lib.machine.devices import out_of_memory

if TYPE_CHECKING:
    from vlm_sae_lib.vlms.vlm import Vlm

WHITE = Image.new("RGB", (64, 64), "white")


@torch.no_grad()
def tokens_of_a_tile(vlm: "Vlm", first_block: nn.Module) -> int:
    """How many tokens the tower's blocks make of one square, class token included; only the first of them is run.

    Raises: UserError when the processor's pictures are not of the tower's size.
    """
    try:
        tile = vlm.pixels([WHITE]).flatten(0, -4)[:1]
        return run_until(first_block, lambda: vlm.family.tower(tile), first_tensor).shape[1]
    except (RuntimeError, ValueError) as error:
        if out_of_memory(error) or isinstance(error, UserError):
            raise
        raise UserError(
            f"the pictures that the processor of {_name(vlm)} makes do not fit its vision tower "
            f"({first_sentence(error)}): give it the preprocessor_config.json of the model that it was made from"
        ) from error


def check_picture_tokens(vlm: "Vlm") -> None:
    """Raises: UserError unless the processor puts in a token for each of the features that the model makes."""
    told, tiles = vlm.picture_tokens(WHITE.size)
    states = torch.zeros(1, tiles * vlm.tokens_of_a_tile, vlm.dim)
    made = vlm.features(states, WHITE.size).shape[1]
    if told != made:
        raise UserError(
            f"the processor of {_name(vlm)} puts {told} picture tokens into a prompt where the model makes {made}: "
            "take the tokenizer and the processor of the model's own repository"
        )


def _name(vlm: "Vlm") -> str:
    return vlm.spec or "this model"
