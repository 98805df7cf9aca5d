"""WordNet 3.0: ImageNet's thousand classes, what each is called, and what it is a kind of."""

from vlm_sae_lib.wordnet.nouns import Synset, ancestors, classes, kinds, synsets, titles

__all__ = ["Synset", "ancestors", "classes", "kinds", "synsets", "titles"]
