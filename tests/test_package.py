"""The names that the package publishes."""

import pytest

import vlm_sae_lib


@pytest.mark.parametrize("name", vlm_sae_lib.__all__)
def test_every_public_name_is_there(name):
    assert getattr(vlm_sae_lib, name).__doc__, "and says what it is"


def test_another_name_is_not():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        vlm_sae_lib.__getattr__("nothing")
