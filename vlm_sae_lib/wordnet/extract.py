"""How ``data/wordnet/nouns.csv`` was made: ImageNet's classes and all that is above them, from WordNet 3.0's own file.

    python -m vlm_sae_lib.wordnet.extract /usr/share/wordnet

The folder holds WordNet's ``data.noun``; Debian's package ``wordnet-base`` puts it there. ImageNet's ids are its byte
offsets, so no other version of WordNet will do.
"""

import csv
import sys
from collections.abc import Iterable
from io import StringIO
from pathlib import Path

from vlm_sae_lib import paths
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import write_bytes
from vlm_sae_lib.wordnet.nouns import Synset

HYPERNYM = ("@", "@i")


def read_nouns(file: Path) -> dict[str, Synset]:
    """Every noun of a ``data.noun`` by its id; the format is described in WordNet's ``wndb(5)``."""
    nouns = {}
    for line in file.read_text(encoding="ascii").splitlines():
        if line.startswith(" "):  # the licence, at the top
            continue
        offset, _, _, count, *fields = line.partition(" | ")[0].split()
        words = 2 * int(count, 16)
        pointers = fields[words + 1 :]
        hypernyms = [f"n{pointers[i + 1]}" for i in range(0, len(pointers), 4) if pointers[i] in HYPERNYM]
        nouns[f"n{offset}"] = Synset(tuple(word.replace("_", " ") for word in fields[:words:2]), tuple(hypernyms))
    return nouns


def with_ancestors(wnids: Iterable[str], nouns: dict[str, Synset]) -> dict[str, Synset]:
    """These synsets and all that they are kinds of, by ascending id.

    Raises:
        UserError: an id that the file does not have.
    """
    found: dict[str, Synset] = {}
    waiting = list(wnids)
    while waiting:
        wnid = waiting.pop()
        if wnid not in nouns:
            raise UserError(f"There is no noun {wnid}: ImageNet's ids are those of WordNet 3.0, so take that version.")
        if wnid not in found:
            found[wnid] = nouns[wnid]
            waiting += nouns[wnid].hypernyms
    return dict(sorted(found.items()))


def as_csv(found: dict[str, Synset]) -> str:
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["wnid", "lemmas", "hypernyms"])
    writer.writerows([wnid, ", ".join(one.lemmas), " ".join(one.hypernyms)] for wnid, one in found.items())
    return text.getvalue()


def main(folder: str) -> None:
    from timm.data import ImageNetInfo

    found = with_ancestors(ImageNetInfo("imagenet-1k").label_names(), read_nouns(Path(folder) / "data.noun"))
    write_bytes(paths.wordnet() / "nouns.csv", as_csv(found).encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
