"""An autoencoder on a tower whose weights were shuffled, each matrix keeping its numbers; part of `probing`.

An untrained tower has small weights of one size; a trained one has large and small ones, and what comes out is spread
otherwise. Shuffling the entries within each matrix keeps their sizes, and so its norm, and destroys what was learned
(the control of Heap et al. 2025).
"""

from typing import Any

import numpy as np
import torch

from vlm_sae_lib.controls.codes import at_rates, before_the_cut
from vlm_sae_lib.experiments.findings import Findings
from vlm_sae_lib.experiments.measure import POPULATIONS, means, scored_runs
from vlm_sae_lib.experiments.rivals import EXPANSION, KIND, on_untrained_tower
from vlm_sae_lib.progress import progress
from vlm_sae_lib.statistics.intervals import OVER_TRAININGS, student
from vlm_sae_lib.towers import Tower, load_tower
from vlm_sae_lib.workbench import Workbench

TOWERS = (0, 1, 2)
"""Seeds, each of another shuffling; a tower must look at sixteen thousand pictures, which is what takes long."""
TRAINED, SHUFFLED, UNTRAINED = "the trained tower", "its weights shuffled", "an untrained tower"
MS, RATES = "MS by tower", "MS by tower at equal rates"


def shuffled_tower(spec: str, seed: int) -> Tower:
    """A tower with the entries of every matrix of its vision module dealt anew within it; vectors stay."""
    tower = load_tower(spec)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, weight in sorted(tower.module.named_parameters()):
            if weight.ndim > 1:
                dealt = torch.randperm(weight.numel(), generator=generator).to(weight.device)
                weight.copy_(weight.flatten()[dealt].view_as(weight))
    tower.name = f"{tower.name}:shuffled:{seed}"
    return tower


def scrambled_tower(bench: Workbench, found: Findings, trained: Any, test: np.ndarray) -> None:
    """MS of autoencoders on the trained, the shuffled and the untrained tower, as they fire and at equal rates.

    Args:
        trained: the autoencoders of the trained tower, by seed.
        test: its activations.
    """
    codes: dict[str, list[Any]] = {TRAINED: [], SHUFFLED: [], UNTRAINED: []}
    equal: dict[str, list[Any]] = {who: [] for who in codes}
    for seed in progress(TOWERS, "Towers", unit="tower"):
        rows = {TRAINED: (trained[seed], test), SHUFFLED: _on_shuffled(bench, seed)}
        twin = on_untrained_tower(bench, seed)
        rows[UNTRAINED] = twin.coder, twin.splits.test
        fires = trained[seed].encode_sparse(test.astype(np.float32)).getnnz(axis=0)
        for who, (sae, seen) in rows.items():
            codes[who].append(sae.encode_sparse(seen.astype(np.float32)))
            equal[who].append(at_rates(before_the_cut(sae, seen), fires))
    for how, several in ((MS, codes), (RATES, equal)):
        for encoder in bench.scoring_names:
            runs = {who: scored_runs(bench, some, encoder) for who, some in several.items()}
            for at_least, population in POPULATIONS:
                name, kept = f"{how}{population}/{encoder}", {who: means(some, at_least) for who, some in runs.items()}
                basis: dict[str, Any] = {
                    "interval_kind": OVER_TRAININGS, "n": sum(int(r.kept(at_least).sum()) for r in runs[TRAINED]),
                    "seeds": list(TOWERS), "split": "test", "unit": "mean MS",
                }  # fmt: skip
                for who, values in kept.items():
                    found.estimate(f"{name}/{who}", student(values), **basis)
                for rival in (SHUFFLED, UNTRAINED):
                    found.estimate(f"{name}/{TRAINED} minus {rival}", student(kept[TRAINED] - kept[rival]), **basis)
                found.estimate(f"{name}/{SHUFFLED} minus {UNTRAINED}", student(kept[SHUFFLED] - kept[UNTRAINED]),
                               **basis)  # fmt: skip


def _on_shuffled(bench: Workbench, seed: int) -> tuple[Any, np.ndarray]:
    """An autoencoder of the shuffled tower's activations, and those of the test pictures."""
    tower, place = shuffled_tower(bench.profile.tower, seed), bench.profile.main_hook_point
    sae = bench.sae(bench.config(KIND, EXPANSION, seed=seed), place, tower=tower)
    return sae, np.asarray(bench.activations("test", place, tower=tower).array(), dtype=np.float64)
