"""One small workbench for all tests of the scorecard."""

import pytest
import small_card

from vlm_sae_lib.scorecard.measuring import Measuring
from vlm_sae_lib.scorecard.place import material


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("VLM_SAE_RUNS", str(tmp_path_factory.mktemp("runs")))
    yield
    patch.undo()


@pytest.fixture(scope="session")
def bench(runs):
    return small_card.bench()


@pytest.fixture(scope="session")
def on(bench):
    return material(bench, small_card.PLACE)


@pytest.fixture(scope="session")
def sae(on):
    return small_card.sae_on(on)


@pytest.fixture(scope="session")
def measuring(on):
    return Measuring.start(on, resamples=40)


@pytest.fixture(scope="session")
def values(measuring, sae):
    return measuring.all(sae, sae)
