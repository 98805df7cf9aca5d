"""On what terms pictures come: whether they may be shown to others, in the words of who says so.

The terms travel with each picture that a source gives, in PIL's ``info``, which copies, crops and resized ones keep. A
picture without any is nobody's that we know of, and so may not be published.
"""

from dataclasses import dataclass
from typing import Any

from PIL import Image

PUBLISHABLE = "publishable"
"""Where an output's metadata says what of it may be shown to others (``show.tiles``): of use until it is published."""


@dataclass(frozen=True)
class Terms:
    """What may be done with the pictures of a source."""

    name: str
    """By which figures and pages refer to them."""
    title: str
    """Whose pictures they are, for people."""
    may_be_published: bool
    """Whether a page that others can read may show them."""
    sentence: str
    """The words that decide it, quoted where they are not ours."""
    url: str | None = None
    """Where they stand."""


POCKET = Terms("pocket", "the pocket world", True, "They are our own, under this project's MIT licence.")
INAT2021 = Terms(
    "inat2021", "iNaturalist 2021", False,
    "Each is under its photographer's licence, but who downloads the data set agrees: "
    "“You will NOT distribute the dataset images” (terms of use, 3).",
    "https://github.com/visipedia/inat_comp/tree/master/2021#terms-of-use",
)  # fmt: skip
IMAGENET = Terms(
    "imagenet", "ImageNet", False,
    "ImageNet does not own them, and gives access to those only who agree: “Researcher shall use the Database only for "
    "non-commercial research and educational purposes” (terms of access, 1); on others too, before they see any (4).",
    "https://www.image-net.org/download.php",
)  # fmt: skip
UNKNOWN = Terms("unknown", "a folder, a list or a data set of the hub", False, "Nothing here says who may show them.")
TERMS = {terms.name: terms for terms in (POCKET, INAT2021, IMAGENET, UNKNOWN)}
OF_KIND = {"pocket": POCKET, "inat2021": INAT2021, "inat2021-sample": INAT2021, "imagenet": IMAGENET}
KEY = "vlm_sae_lib"


@dataclass(frozen=True)
class Credit:
    """A picture's terms, and which one of its source it is."""

    terms: Terms = UNKNOWN
    image_id: int | None = None
    folder: str | None = None


def credited(picture: Image.Image, credit: Credit) -> Image.Image:
    """The picture, which from now on says on what terms it comes."""
    picture.info[KEY] = credit
    return picture


def credit_of(picture: Any) -> Credit:
    """What a picture says about itself; of one that says nothing, nothing is known.

    Words that a file brings in its own metadata are no ``Credit``, whatever they promise.
    """
    credit = getattr(picture, "info", {}).get(KEY)
    return credit if isinstance(credit, Credit) else Credit()


def terms_of(source: str) -> Terms:
    """The terms of a source as ``load_pictures`` spells it, without opening it."""
    return OF_KIND.get(source.partition(":")[0], UNKNOWN)
