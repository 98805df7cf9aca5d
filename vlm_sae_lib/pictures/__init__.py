"""Sources of pictures: the pocket world, a folder, ImageNet, iNaturalist 2021 and a public sample of it, data sets of
the Hugging Face hub, or what the caller holds in hand.

A source gives pictures as ``(image_id, RGB picture)`` in ascending id. A file that cannot be read keeps its id, is
skipped, and is listed by name in ``unreadable``: one bad file must never cost the others.
"""

from vlm_sae_lib.pictures.opening import KNOWN_SOURCES, load_pictures
from vlm_sae_lib.pictures.rgb import to_rgb
from vlm_sae_lib.pictures.source import Item, PictureSource

__all__ = ["KNOWN_SOURCES", "Item", "PictureSource", "load_pictures", "to_rgb"]
