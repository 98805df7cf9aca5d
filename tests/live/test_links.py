"""Links from the book into the live page."""

import pytest
from book_extensions import extension

live = extension("live")


def test_a_link_leads_to_the_one_page_from_any_page_and_edition():
    assert live.address("book/live", "pocket", "latent=18") == "../live/index.html#latent=18"
    assert live.address("book/live", "light", "") == "../../live/index.html"


@pytest.mark.parametrize("state", ["", "picture=blank&latent=18&strength=2", "picture=ruby-dotshell,meadow,medium,1"])
def test_a_state_that_the_page_has_is_taken(state):
    assert live.problem(state) is None


@pytest.mark.parametrize(
    ("state", "said"),
    [("latent=99999", "latent 99999"), ("picture=unicorn", "no species 'unicorn'"), ("neuron=3", "neuron is no part")],
)
def test_a_state_that_the_page_lacks_fails_the_build(state, said):
    assert said in live.problem(state)
