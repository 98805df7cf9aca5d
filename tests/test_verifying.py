"""A run's record, and what holding a run against it finds: what is lost, altered, or does not come out again."""

import shutil
from dataclasses import replace

import pytest
import torch
from crashes import content

from vlm_sae_lib import load_profile, paths
from vlm_sae_lib.__main__ import main
from vlm_sae_lib.activations.store import METADATA
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import file_hash, read_json, write_json
from vlm_sae_lib.records import made_by
from vlm_sae_lib.records.made_by import circumstances, differences, read_record, write_record
from vlm_sae_lib.sae import SparseAutoencoder
from vlm_sae_lib.verifying import ALTERED, CLOSE, DIFFERS, LEFT, LOST, SAME, Verification
from vlm_sae_lib.workbench import Workbench

SETTINGS = {
    "train_pictures": "pocket:150:11", "test_pictures": "pocket:90:13", "steps": 20, "batch_size": 32, "k": 4,
}  # fmt: skip
PROFILE = load_profile("pocket", **SETTINGS)


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """A run of two stores, a store of some pictures, a scoring encoder's, and two SAEs."""
    folder = tmp_path_factory.mktemp("once")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLM_SAE_RUNS", str(folder))
        bench = Workbench(PROFILE)
        bench.saes([bench.config("top_k", 1), bench.config("relu", 1)], "block_5")
        bench.activations("test", "block_4", "random:2", number=40)
        bench.embeddings("test")
        write_json(paths.results("pocket") / "02_training.json", {"value": 1})
        write_record(PROFILE)
    return folder


@pytest.fixture
def run(once, tmp_path, monkeypatch):
    """A copy of the run, that may be damaged."""
    monkeypatch.setenv("VLM_SAE_RUNS", str(shutil.copytree(once, tmp_path / "runs")))
    return tmp_path / "runs" / "pocket"


def found(profile=PROFILE, **options):
    return {finding.thing: finding for finding in Verification(profile, **options).findings()}


def test_a_run_on_the_same_machine_comes_out_the_same_to_the_last_byte(run):
    record = read_record("pocket")
    outcomes = found(saes=2)
    assert {name.partition("/")[0] for name in record["made"]} == {"activations", "saes", "results"}
    assert sorted(outcomes) == sorted(name for name in record["made"] if not name.startswith("results"))
    assert {finding.outcome for finding in outcomes.values()} == {SAME}
    assert any("rows, image ids" in finding.particulars for finding in outcomes.values())


def test_the_record_tells_the_circumstances(run):
    record = read_record("pocket")
    (circumstances_,) = record["circumstances"]
    assert circumstances_["packages"]["torch"] == torch.__version__.partition("+")[0] or "+" in torch.__version__
    assert circumstances_["machine"]["instructions"] == torch.backends.cpu.get_cpu_capability()
    assert circumstances_["seed"] == PROFILE.seed and len(circumstances_["library"]) == 64
    result = record["made"]["results/02_training.json"]
    assert result == {"sha256": file_hash(run / "results" / "02_training.json"), "in": 0}


def test_a_record_made_twice_is_the_same_file_and_keeps_what_was_made_elsewhere(run, monkeypatch):
    before = (run / made_by.NAME).read_bytes()
    write_record(PROFILE)
    assert (run / made_by.NAME).read_bytes() == before
    elsewhere = circumstances(PROFILE) | {"python": "3.99"}
    monkeypatch.setattr(made_by, "circumstances", lambda _: elsewhere)
    write_json(run / "results" / "02_training.json", {"value": 2})
    write_record(PROFILE)
    record = read_record("pocket")
    pythons = {name: record["circumstances"][made["in"]]["python"] for name, made in record["made"].items()}
    assert {name for name, python in pythons.items() if python == "3.99"} == {"results/02_training.json"}


def test_what_is_lost_or_altered_is_named_and_not_computed_from(run):
    names = sorted(read_record("pocket")["made"])
    store, sae = (next(run / name for name in names if name.startswith(kind)) for kind in ("activations", "saes"))
    shutil.rmtree(sae)
    shard = next((store / "shards").iterdir())
    shard.write_bytes(shard.read_bytes()[:-1] + b"\x01")
    (run / "results" / "02_training.json").write_text("{}")
    outcomes = found(saes=2)
    assert outcomes[f"saes/{sae.name}"].outcome == LOST
    assert outcomes[f"activations/{store.name}"].outcome == ALTERED
    assert outcomes["results/02_training.json"].outcome == ALTERED
    assert main(["verify", "pocket"]) == 1


def forged_store(run):
    """A store of other numbers than the tower's, entered into the record as if it had been made so."""
    from safetensors.numpy import load_file, save_file

    store = next(path for path in (run / "activations").iterdir() if read_json(path / METADATA)["tokens"] == "random:2")
    facts = read_json(store / METADATA)
    shard = store / "shards" / facts["shards"][0]["file"]
    tensors = load_file(shard)
    tensors["activations"] = tensors["activations"] * 1.0001
    save_file(tensors, shard)
    facts["shards"][0]["sha256"] = file_hash(shard)
    write_json(store / METADATA, facts)
    write_record(PROFILE)
    return f"activations/{store.name}"


def elsewhere(run):
    """The record, as if all had been made with other instructions."""
    record = read_record("pocket")
    for one in record["circumstances"]:
        one["machine"]["instructions"] = "NEON"
    write_json(run / made_by.NAME, record)


def test_numbers_that_are_not_the_towers_differ_on_one_machine_and_may_be_close_on_another(run):
    name = forged_store(run)
    assert found()[name].outcome == DIFFERS
    elsewhere(run)
    verification = Verification(PROFILE)
    assert verification.elsewhere(name) == ["instructions: NEON then, "
                                            f"{torch.backends.cpu.get_cpu_capability()} now"]  # fmt: skip
    assert {finding.thing: finding for finding in verification.findings()}[name].outcome == CLOSE


def test_an_sae_of_other_weights_differs(run):
    folder = next((run / "saes").iterdir())
    sae = SparseAutoencoder.load(folder)
    replace(sae, w_dec=sae.w_dec.roll(1, dims=0)).save(folder)
    write_record(PROFILE)
    outcomes = found(saes=2)
    assert outcomes[f"saes/{folder.name}"].outcome == DIFFERS
    elsewhere(run)
    assert found(saes=2)[f"saes/{folder.name}"].outcome == DIFFERS  # no instruction set explains that


def test_what_other_settings_made_is_left(run):
    outcomes = found(load_profile("pocket", **SETTINGS | {"test_pictures": "pocket:50:99"}))
    assert {finding.outcome for finding in outcomes.values()} == {SAME, LEFT}


def test_nothing_is_written_by_looking(run, capsys):
    before = content(run)
    assert main(["verify", "pocket", "--saes", "1"]) == 0
    assert content(run) == before
    told = capsys.readouterr().out
    assert "same bytes      saes/" in told and "are on record" in told


DANGLING = '{"schema": 1, "circumstances": [], "made": {"a": {"sha256": "b", "in": 0}}}'


@pytest.mark.parametrize("text", ["", "{}", DANGLING, '{"schema": 2, "circumstances": [], "made": {}}', "[1]"])
def test_a_record_that_is_none_is_one_sentence(run, text):
    (run / made_by.NAME).write_text(text)
    with pytest.raises(UserError, match="is no record of a run that this version reads: delete that file and run it"):
        Verification(PROFILE)


def test_a_run_without_a_record_is_told_how_to_get_one(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VLM_SAE_RUNS", str(tmp_path))
    assert main(["verify", "pocket"]) == 2
    assert "There is no record of a run at" in capsys.readouterr().err


def test_differences_are_told_in_words():
    then = {"seed": 0, "library": "a", "packages": {"torch": "2.9", "numpy": "2.0"}, "machine": {"threads": 1}}
    now = {"seed": 0, "library": "b", "packages": {"torch": "2.10", "numpy": "2.0"}, "machine": {"threads": 1}}
    assert differences(then, now) == ["another library", "torch: 2.9 then, 2.10 now"]
    assert not differences(then, then)
