"""Training: what comes out is sparse, faithful, repeatable, and survives being killed."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch
from sparse_sums import DATA, DIM, SHORT, sparse_data

from vlm_sae_lib import files
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.sae import KINDS, SaeConfig, SparseAutoencoder
from vlm_sae_lib.sae.training import checkpoint, train_sae, train_saes
from vlm_sae_lib.sae.training.inferred import inference_latents
from vlm_sae_lib.sae.training.initialise import initial_weights
from vlm_sae_lib.sae.training.learner import Learner
from vlm_sae_lib.sae.training.losses import training_latents, training_loss


def r_squared(sae, x) -> float:
    error = x - sae.decode(sae.encode(x)).numpy()
    return 1 - (error**2).sum() / ((x - x.mean(0)) ** 2).sum()


@pytest.fixture(scope="module")
def trained() -> dict[str, SparseAutoencoder]:
    configs = [
        SaeConfig(kind=kind, expansion=2, k=5, steps=500, batch_size=128, lr=5e-3, lr_decay=0.3, l1_coefficient=0.02)
        for kind in KINDS
    ]
    return dict(zip(KINDS, train_saes(DATA, configs), strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_training_reconstructs_unseen_data(trained, kind):
    unseen = sparse_data(1000, seed=5)
    assert r_squared(trained[kind], unseen) > 0.8
    before = r_squared(train_sae(DATA, SaeConfig(kind=kind, expansion=2, k=5, steps=1, batch_size=256)), unseen)
    assert r_squared(trained[kind], unseen) > before + 0.1


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "relu"])
def test_as_many_latents_fire_as_asked_for(trained, kind):
    l0 = float((trained[kind].encode(sparse_data(1000, seed=5)) > 0).sum(dim=1).double().mean())
    assert l0 == pytest.approx(5, abs=0.6)


BESIDE_RECONSTRUCTION = {
    "matryoshka_batch_top_k": "auxiliary", "batch_top_k": "auxiliary", "top_k": "auxiliary", "relu": "sparsity",
    "jump_relu": "sparsity",
}  # fmt: skip
"""What each kind's loss has beside it: a kind that is not named here has not been given one."""


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_a_loss_of_its_own(kind):
    config, x = SaeConfig(kind=kind, expansion=2, k=5), torch.from_numpy(DATA[:64])
    weights = initial_weights(x, 2 * DIM, 0, jump_k=5 if kind == "jump_relu" else None)
    pre = weights.pre_activations(x)
    latents = training_latents(pre, config, weights.threshold)
    dead = torch.ones(2 * DIM, dtype=torch.bool)
    loss = training_loss(x, pre, latents, weights, config, (2 * DIM,), dead, 4)
    parts = {"auxiliary": float(loss.auxiliary), "sparsity": float(loss.sparsity)}
    assert [name for name, value in parts.items() if value > 0] == [BESIDE_RECONSTRUCTION[kind]]


@pytest.mark.parametrize("kind", KINDS)
def test_decoder_directions_have_unit_length(trained, kind):
    torch.testing.assert_close(trained[kind].w_dec.norm(dim=1), torch.ones(2 * DIM), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_log_is_compact_and_tells_the_story(trained, kind):
    log = trained[kind].metadata["log"]
    assert log["step"][0] == 0 and log["step"][-1] == 499 and 100 <= len(log["step"]) <= 102
    assert all(len(column) == len(log["step"]) for column in log.values())
    assert log["loss"][-1] < log["loss"][0] and log["r2"][-1] > 0.75
    files.canonical_json(log)  # no NaN
    if "batch" in kind:
        assert log["threshold"][0] is None and log["r2"][0] is None
        assert log["threshold"][-1] == pytest.approx(float(trained[kind].threshold), rel=0.1)


@pytest.mark.parametrize("kind", ["batch_top_k", "matryoshka_batch_top_k"])
@pytest.mark.parametrize("steps", [1, 2, 15])
def test_threshold_is_learned_in_the_shortest_run(kind, steps):
    sae = train_sae(DATA, dataclasses.replace(SHORT, kind=kind, steps=steps))
    assert float(sae.threshold) > 0
    assert float((sae.encode(DATA) > 0).sum(dim=1).double().mean()) == pytest.approx(4, abs=1.5)


def test_threshold_is_the_moving_average_of_the_smallest_kept():
    config = dataclasses.replace(SHORT, kind="batch_top_k", threshold_start=2, threshold_momentum=0.75)
    learner = Learner(config, torch.from_numpy(DATA[:64]), 1.0)
    expected = None
    for step in range(6):
        x = torch.from_numpy(DATA[64 * step : 64 * step + 64])
        with torch.no_grad():
            kept = training_latents(learner.weights.pre_activations(x), config)
        smallest = float(kept[kept > 0].min())
        learner.step(x)
        if step >= 2:
            expected = smallest if expected is None else 0.75 * expected + 0.25 * smallest
            assert learner.threshold == pytest.approx(expected, rel=1e-6)
        else:
            assert learner.threshold == -1


def test_a_threshold_that_would_never_be_learned_is_refused():
    with pytest.raises(UserError, match="threshold_start"):
        SaeConfig(steps=10, threshold_start=10)


def test_steps_follow_the_autograd_recipe():
    """Ten steps with the kernels against the same recipe written with autograd and torch's own Adam."""
    config = dataclasses.replace(SHORT, dead_window=128, aux_coefficient=0.2, warmup=5)
    fast = Learner(config, torch.from_numpy(DATA[:64]), 10.0)
    slow = Learner(config, torch.from_numpy(DATA[:64]), 10.0)
    parameters = list(slow.weights.named().values())
    optimiser = torch.optim.Adam(parameters, lr=1.0, fused=False)
    silent = torch.zeros(2 * DIM)
    revived = 0.0
    for step in range(10):
        x = torch.from_numpy(DATA[64 * step : 64 * step + 64])
        fast.step(x)
        x = x / 10.0
        pre = slow.weights.pre_activations(x)
        latents = training_latents(pre, config)
        silent = (silent + 64) * ~(latents.detach().sum(dim=0) > 0)
        sizes, k_aux = config.group_sizes(DIM), DIM // 2
        loss = training_loss(x, pre, latents, slow.weights, config, sizes, silent >= 128, k_aux)
        revived += loss.auxiliary.item()
        optimiser.zero_grad()
        loss.total.backward()
        decoder = slow.weights.decoder
        with torch.no_grad():
            along = torch.einsum("fd,fd->f", decoder.grad, decoder)
            decoder.grad -= along[:, None] * decoder
            norm = torch.sqrt(sum(p.grad.pow(2).sum() for p in parameters))
            for parameter in parameters:
                parameter.grad *= min(1.0, 1.0 / (float(norm) + 1e-6))
        optimiser.param_groups[0]["lr"] = 3e-3 * min(1, (step + 1) / 5)
        optimiser.step()
        with torch.no_grad():
            decoder /= decoder.norm(dim=1, keepdim=True)
    assert revived > 0
    for name, parameter in slow.weights.named().items():
        torch.testing.assert_close(fast.weights.named()[name], parameter, rtol=1e-3, atol=2e-5, msg=name)


def test_dead_latents_are_revived_in_a_short_run():
    config = dataclasses.replace(SHORT, expansion=6, k=2, steps=300, batch_size=256, kind="batch_top_k")
    with_aux, without = train_saes(DATA, [dataclasses.replace(config, aux_coefficient=c) for c in (0.1, 0.0)])
    assert max(with_aux.metadata["log"]["auxiliary"]) > 0
    assert without.metadata["log"]["dead"][-1] > 10
    assert with_aux.metadata["log"]["dead"][-1] < without.metadata["log"]["dead"][-1]


def test_one_matryoshka_level_trains_to_the_weights_of_batch_top_k():
    one, plain = train_saes(
        DATA,
        [dataclasses.replace(SHORT, group_fractions=(1.0,)), dataclasses.replace(SHORT, kind="batch_top_k")],
    )
    for name in ("w_enc", "b_enc", "w_dec", "b_dec", "threshold"):
        assert torch.equal(getattr(one, name), getattr(plain, name)), name


@pytest.mark.parametrize("kind", KINDS)
def test_two_runs_give_the_same_bytes(tmp_path, kind):
    for name in "ab":
        train_sae(DATA, dataclasses.replace(SHORT, kind=kind)).save(tmp_path / name)
    assert files.folder_hash(tmp_path / "a") == files.folder_hash(tmp_path / "b")
    other = train_sae(DATA, dataclasses.replace(SHORT, kind=kind, seed=1))
    assert other.hash != SparseAutoencoder.load(tmp_path / "a").hash


def test_saes_of_one_pass_come_out_as_they_would_alone():
    configs = [
        dataclasses.replace(SHORT, kind=kind, steps=steps) for kind, steps in zip(KINDS, (9, 30, 12, 5, 7), strict=True)
    ]
    configs.append(dataclasses.replace(SHORT, seed=3, batch_size=50))
    together = train_saes(DATA, configs)
    assert [sae.hash for sae in together] == [train_sae(DATA, config).hash for config in configs]
    assert train_saes(DATA, []) == []


KILLED = """
import dataclasses, os, sys
sys.path.insert(0, {support!r})
from sparse_sums import DATA, SHORT
from vlm_sae_lib.sae import KINDS
from vlm_sae_lib.sae.training import train_saes
from vlm_sae_lib.sae.training import run as training
write, count = training._write, [0]
def write_and_die(*arguments):
    write(*arguments)
    count[0] += 1
    if count[0] == 3:
        os.kill(os.getpid(), 9)
training._write = write_and_die
configs = [dataclasses.replace(SHORT, kind=kind) for kind in KINDS]
train_saes(DATA, configs, checkpoint_dir={folder!r}, checkpoint_every=7)
"""


def test_a_killed_run_continues_to_the_same_bytes(tmp_path, pytestconfig):
    folder = tmp_path / "checkpoint"
    program = KILLED.format(support=str(pytestconfig.rootpath / "tests" / "support"), folder=str(folder))
    died = subprocess.run([sys.executable, "-c", program], cwd=pytestconfig.rootpath, capture_output=True)
    assert died.returncode == -9, died.stderr.decode()
    assert [path.name for path in folder.iterdir()] == [checkpoint.NAME]
    configs = [dataclasses.replace(SHORT, kind=kind) for kind in KINDS]
    facts = checkpoint.read(folder, {"data": train_sae(DATA, configs[0]).metadata["provenance"],
                                     "configs": [config.as_dict() for config in configs]})[1]  # fmt: skip
    assert [fact["step"] for fact in facts] == [21] * 5
    resumed = train_saes(DATA, configs, checkpoint_dir=folder, checkpoint_every=7)
    straight = train_saes(DATA, configs)
    for kind, first, second in zip(KINDS, resumed, straight, strict=True):
        first.save(tmp_path / "resumed" / kind)
        second.save(tmp_path / "straight" / kind)
    assert files.folder_hash(tmp_path / "resumed") == files.folder_hash(tmp_path / "straight")


def test_a_finished_run_is_not_trained_again(tmp_path, monkeypatch):
    first = train_sae(DATA, SHORT, checkpoint_dir=tmp_path)
    monkeypatch.setattr(Learner, "step", lambda *_: pytest.fail("trained again"))
    assert train_sae(DATA, SHORT, checkpoint_dir=tmp_path).hash == first.hash


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    train_sae(DATA, SHORT, checkpoint_dir=tmp_path)
    with pytest.raises(UserError, match=r"another run \(configs\[0\].k was 4, is 3\)"):
        train_sae(DATA, dataclasses.replace(SHORT, k=3), checkpoint_dir=tmp_path)
    with pytest.raises(UserError, match=r"another run \(data.array_sha256"):
        train_sae(DATA + 1, SHORT, checkpoint_dir=tmp_path)
    (tmp_path / checkpoint.NAME).write_bytes(b"half a file")
    with pytest.raises(UserError, match="no readable checkpoint"):
        train_sae(DATA, SHORT, checkpoint_dir=tmp_path)


def test_a_checkpoint_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="choose a path you may write"):
        train_sae(DATA, SHORT, checkpoint_dir=tmp_path / "file" / "inside")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "rows",
    [DATA[:1], DATA[:3], np.zeros((20, DIM)), np.ones((50, DIM)), np.repeat(DATA[:2], 40, axis=0)],
    ids=["one row", "three rows", "zeros", "one point", "duplicates"],
)
def test_poor_data_trains_without_nan(kind, rows):
    sae = train_sae(rows, dataclasses.replace(SHORT, kind=kind, steps=30, dead_window=64))
    assert torch.isfinite(sae.decode(sae.encode(rows))).all()
    assert files.canonical_json(sae.metadata)


def test_scale_of_the_data_does_not_matter():
    sae = train_sae(DATA, SHORT)
    scaled = train_sae(DATA * 1024, SHORT)  # a power of two: exact
    torch.testing.assert_close(scaled.encode(DATA * 1024), sae.encode(DATA) * 1024, rtol=1e-5, atol=1e-2)
    assert scaled.metadata["norm_factor"] == pytest.approx(1024 * sae.metadata["norm_factor"])
    assert sae.metadata["norm_factor"] == pytest.approx(np.sqrt((DATA**2).sum(axis=1).mean()), rel=1e-3)
    assert train_sae(DATA, dataclasses.replace(SHORT, normalise=False)).metadata["norm_factor"] == 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_folding_the_scale_changes_nothing(kind):
    """The finished SAE on raw activations is the trained one on scaled activations, times the scale."""
    config = dataclasses.replace(SHORT, kind=kind)
    learner = Learner(config, torch.from_numpy(DATA[:64]), 7.0)
    for step in range(40):
        learner.step(torch.from_numpy(DATA[64 * step : 64 * step + 64]))
    x = torch.from_numpy(DATA[:200])
    with torch.no_grad():
        inside = inference_latents(learner.weights, config, learner.threshold, x / 7.0)
        reconstruction = inside @ learner.weights.decoder + learner.weights.decoder_bias
    sae = learner.finish({})
    torch.testing.assert_close(sae.encode(x), 7 * inside, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(sae.decode(sae.encode(x)), 7 * reconstruction, rtol=1e-4, atol=1e-4)


def test_divergence_is_one_sentence():
    with pytest.raises(UserError, match="diverged at step .* lower lr"):
        train_sae(DATA, dataclasses.replace(SHORT, lr=1e30, steps=20))


def test_metadata_says_where_the_sae_comes_from():
    facts = train_sae(DATA, SHORT).metadata
    assert facts["config"]["k"] == 4 and facts["schedule"]["dead_window"] == 2 * 64
    assert facts["provenance"]["rows"] == 3000 and len(facts["provenance"]["array_sha256"]) == 64
    assert facts["group_sizes"] == [3, 6, 12, 27]
