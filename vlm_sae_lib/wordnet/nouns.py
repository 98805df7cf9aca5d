"""Nouns of WordNet 3.0: ImageNet's thousand classes, what each is called, and what it is a kind of.

``data/wordnet/nouns.csv`` holds the classes of ILSVRC 2012 and everything above them, up to "entity". ``extract`` has
made it from WordNet's own files.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import pandas as pd

from vlm_sae_lib import paths


@dataclass(frozen=True)
class Synset:
    """One meaning: the words for it, the usual one first, and the ids of what it is a kind of."""

    lemmas: tuple[str, ...]
    hypernyms: tuple[str, ...]


@cache
def synsets() -> Mapping[str, Synset]:
    """The synsets by their WordNet id, such as ``n02002724``."""
    table = pd.read_csv(paths.wordnet() / "nouns.csv", keep_default_na=False)
    return {row.wnid: Synset(tuple(row.lemmas.split(", ")), tuple(row.hypernyms.split())) for row in table.itertuples()}


@cache
def classes() -> tuple[str, ...]:
    """The ids of the thousand classes, ascending: the synsets that nothing else here is a kind of."""
    above = {hypernym for synset in synsets().values() for hypernym in synset.hypernyms}
    return tuple(sorted(set(synsets()) - above))


@cache
def ancestors(wnid: str) -> frozenset[str]:
    """The ids of everything that a synset is a kind of, on all ways up, itself included."""
    return frozenset({wnid}).union(*map(ancestors, synsets()[wnid].hypernyms))


@cache
def titles() -> Mapping[str, str]:
    """One name of each class by its id, lower case: its first lemma.

    No two are the same: of the few that share one, each says what it is, "crane (wading bird)".
    """
    first = {wnid: synsets()[wnid].lemmas[0].lower() for wnid in classes()}
    shared = Counter(first.values())
    return {wnid: name if shared[name] == 1 else f"{name} ({_kind(wnid)})" for wnid, name in first.items()}


def _kind(wnid: str) -> str:
    return synsets()[synsets()[wnid].hypernyms[0]].lemmas[0].lower()


@cache
def kinds() -> Mapping[str, frozenset[str]]:
    """The classes (ids) that a word, a lemma in lower case, holds for in any of its meanings."""
    held = defaultdict(set)
    for wnid in classes():
        for above in ancestors(wnid):
            for lemma in synsets()[above].lemmas:
                held[lemma.lower()].add(wnid)
    return {word: frozenset(members) for word, members in held.items()}
