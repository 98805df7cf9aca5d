"""How many pictures a source holds and what has to be fetched for them, told by its name alone."""

from dataclasses import dataclass

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.pictures.sample import PER_SPECIES

ARCHIVE_BYTES = 8_400_000_000
"""iNaturalist 2021, validation pictures: streamed whole, whatever is kept."""
KEPT_BYTES = 90_000
"""A picture of the sample, of at most 500 pixels."""
KNOWN = {
    "imagenet:train": 1_281_167, "imagenet:val": 50_000,
    "inat2021:train": 2_686_843, "inat2021:val": 100_000,
}  # fmt: skip


@dataclass(frozen=True)
class PictureCount:
    number: int
    fetched: int = 0
    """Bytes that come over the network, the first time."""
    kept_bytes: int = 0
    archive: str = ""
    """What is fetched, so that it is counted once for all splits."""


def counted(source: str) -> PictureCount:
    """The pictures of a profile's source, as ``load_pictures`` spells it. Raises: UserError where no name tells."""
    kind, _, rest = source.partition(":")
    if kind == "pocket":
        return PictureCount(int(rest.partition(":")[0] or 1000))
    if kind == "inat2021-sample":
        species, split, *some = rest.split(":")
        number = int(some[0] if some else species) * PER_SPECIES[split]
        return PictureCount(number, ARCHIVE_BYTES, int(species) * 10 * KEPT_BYTES, f"sample of {species} species")
    known = f"{kind}:{rest.rstrip('/').rpartition('/')[2]}"
    if known not in KNOWN:
        raise UserError(f"The name of {source} does not tell how many pictures it holds: name one of the profiles'.")
    return PictureCount(KNOWN[known])
