"""The first page's small explorer tells what the published models say, and says nothing of its own."""

import pytest
from book_extensions import extension

from vlm_sae_lib import paths
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import read_json
from vlm_sae_lib.publishing import cover, notebooks


@pytest.fixture(scope="module")
def told():
    return read_json(cover.path())


@pytest.fixture(scope="module")
def explorer():
    return cover.explorer_in(notebooks.read(paths.notebooks() / f"{cover.NOTEBOOK}.ipynb"))


def test_its_captions_are_those_of_the_notebook(told, explorer):
    """If not: ``python -m vlm_sae_lib.publishing.cover``."""
    n = [neuron["label"] for neuron in explorer["neurons"]].index(f"{cover.NEURON} (latent {told['latent']})")
    p = [picture["label"] for picture in explorer["pictures"]].index(cover.PICTURE)
    said = [explorer["texts"][row[0]] for row in explorer["captions"][n][p]]
    assert told["unsteered"] == said[explorer["multiples"].index(None)]
    for multiple, caption in zip(told["multiples"], told["steered"], strict=True):
        assert caption == said[explorer["multiples"].index(multiple)]
    assert told["picture"]["src"] == explorer["pictures"][p]["src"]


def test_it_was_made_by_the_models_of_the_published_results(told):
    inputs = read_json(paths.published_results() / f"{cover.NOTEBOOK}.json")["inputs"]
    assert told["inputs"] == {"vlm": inputs["vlm"], "sae": inputs["sae/steering"]}


def test_each_strength_has_as_many_random_directions(told):
    assert len(told["multiples"]) == len(told["steered"]) == len(told["random"])
    assert {len(several) for several in told["random"]} == {cover.N_RANDOM}


def test_a_notebook_without_an_explorer_is_refused():
    with pytest.raises(UserError, match="holds no explorer"):
        cover.explorer_in({"cells": [{"outputs": [{"data": {"text/html": "<p>no</p>"}}]}, {}]})


def test_captions_of_other_models_are_refused(explorer):
    other = explorer | {"texts": [f"{text}, or so" for text in explorer["texts"]]}
    with pytest.raises(UserError, match="not those of notebook"):
        cover.computed(other)


def test_model_text_cannot_become_markup(told):
    bad = "</script><script>alert(1)</script>"
    fragment = extension("cover").explorer(told | {"steered": [bad] * len(told["steered"]), "unsteered": bad})
    assert bad not in fragment and "<script>alert" not in fragment
    assert fragment.count("<script") == fragment.count("</script>") == 2


def test_how_many_name_the_concept_is_counted_by_words():
    counted = extension("cover").counted
    assert "of 3" in counted("beetle", ["a beetle", "beetles", "none"]).lower() and ", 1 make" in counted(
        "beetle", ["a beetle", "beetles", "none"]
    )
    assert ", none make" in counted("beetle", ["a snail"])
