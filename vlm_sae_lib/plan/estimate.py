"""A profile on a machine: minutes, downloads, disk and memory of each stage, and whether it all fits."""

from dataclasses import dataclass

import torch

from vlm_sae_lib.plan.machines import GB, GIB, Machine
from vlm_sae_lib.plan.models import vlm_cost
from vlm_sae_lib.plan.work import Stage, rows_per_latent, stages, stages_of
from vlm_sae_lib.profiles.settings import Profile
from vlm_sae_lib.steering.sweep import AT_MOST
from vlm_sae_lib.vlms.memory import prompt_bytes, prompts_at_once

PROCESS_GIB = 1.6
"""Host memory of a notebook's process before anything is loaded: Python, torch, transformers, the plots."""
CONTEXT_GIB = 0.6
"""GPU memory of a CUDA context with its libraries."""
INSTALLED_GB = 6.0
"""Disk of what is installed where nothing is there yet; Colab brings most of it."""


@dataclass(frozen=True)
class Estimate:
    """A stage on a machine. Memory in GiB at its peak, disk and downloads in GB."""

    stage: Stage
    seconds: float
    gpu_gib: float
    host_gib: float
    batch: int | None = None
    """Prompts that are read at once, where any are."""

    @property
    def fetched_gb(self) -> float:
        return (self.stage.fetch_bytes + self.stage.hub_bytes) / GB

    @property
    def disk_gb(self) -> float:
        return self.stage.disk_bytes / GB

    @property
    def flop(self) -> float:
        stage = self.stage
        return stage.tower_flop + stage.language_flop + stage.train_flop + stage.score_flop


@dataclass(frozen=True)
class Plan:
    """A run of a profile's notebooks on a machine, stage by stage."""

    profile: Profile
    machine: Machine
    estimates: tuple[Estimate, ...]

    @property
    def minutes(self) -> float:
        return sum(one.seconds for one in self.estimates) / 60 + self.machine.setup_minutes

    @property
    def fetched_gb(self) -> float:
        return sum(one.fetched_gb for one in self.estimates)

    @property
    def disk_gb(self) -> float:
        return sum(one.disk_gb for one in self.estimates) + INSTALLED_GB

    @property
    def gpu_gib(self) -> float:
        return max(one.gpu_gib for one in self.estimates)

    @property
    def host_gib(self) -> float:
        return max(one.host_gib for one in self.estimates)

    @property
    def batch(self) -> int | None:
        """The fewest prompts that any part reads at once."""
        return min((one.batch for one in self.estimates if one.batch is not None), default=None)

    def of(self, notebook: str) -> tuple[Estimate, ...]:
        return tuple(one for one in self.estimates if one.stage.notebook == notebook)

    def misfits(self) -> list[str]:
        """What does not fit, and what to change, a sentence each."""
        machine, found = self.machine, []
        if machine.gpu_gib is not None and self.gpu_gib > machine.gpu_gib:
            found.append(
                f"It needs {self.gpu_gib:.1f} GiB of GPU memory and {machine.title} has {machine.gpu_gib:g}: load the "
                "VLM in fewer bits (vlm_bits), or name a smaller one (vlm)."
            )
        if self.batch == 0:
            found.append("Beside the weights no single prompt fits: load the VLM in fewer bits, or name a smaller one.")
        if self.host_gib > machine.host_gib:
            found.append(
                f"It needs {self.host_gib:.1f} GiB of host memory and {machine.title} has {machine.host_gib:.1f}: take "
                "fewer tokens a picture (steering_tokens), fewer pictures (steering_pictures) or a smaller model (vlm)."
            )
        if self.disk_gb > machine.disk_gb:
            found.append(
                f"It needs {self.disk_gb:.0f} GB of disk and {machine.title} has {machine.disk_gb:g}: take fewer "
                "species, or let VLM_SAE_RUNS and HF_HOME name folders on a larger disk."
            )
        return found

    @property
    def rows_per_latent(self) -> dict[str, float]:
        return rows_per_latent(self.profile)


def plan(profile: Profile, machine: Machine, notebook: str | None = None) -> Plan:
    """What a run of the five notebooks will take, in order; or of one that is run alone.

    Raises: UserError where nothing is known of a model.
    """
    on_gpu = machine.gpu_gib is not None
    found = stages(profile, on_gpu) if notebook is None else stages_of(profile, notebook, on_gpu)
    return Plan(profile, machine, tuple(estimate(stage, machine) for stage in found))


def estimate(stage: Stage, machine: Machine) -> Estimate:
    """Seconds and memory of a stage.

    Where there is a GPU, pictures are decoded while it computes, so the slower of the two counts; without one they
    share the cores.
    """
    on_gpu = machine.gpu_gib is not None
    batch, gpu = _batch(stage, machine)
    reading = stage.pictures * machine.picture_seconds / machine.cores
    seeing = stage.tower_flop / machine.tower_flops
    seconds = (
        stage.fetch_bytes / machine.fetch_rate
        + stage.hub_bytes / machine.hub_rate
        + stage.load_bytes / machine.load_rate
        + (max(reading, seeing) if on_gpu else reading + seeing)
        + stage.language_flop / machine.language_flops
        + stage.train_steps * machine.step_seconds
        + stage.train_flop / machine.train_flops
        + stage.score_flop / machine.score_flops
        + stage.fixed * machine.figure_seconds
    )
    if stage.word_steps and stage.prompt:
        together = min(max(1, batch or 1), stage.at_once or AT_MOST)
        seconds += stage.word_steps / together * _word_seconds(stage.prompt[0], stage, machine)
    return Estimate(stage, seconds, gpu, PROCESS_GIB + stage.host_bytes / GIB, batch)


def _batch(stage: Stage, machine: Machine) -> tuple[int | None, float]:
    """Prompts at once (None where there are none), and the GPU memory in GiB."""
    on_gpu = machine.gpu_gib is not None
    held = stage.held_bytes / GIB + CONTEXT_GIB
    if stage.prompt is None:
        return None, held if on_gpu and stage.held_bytes else 0.0
    spec, tokens = stage.prompt
    cost = vlm_cost(spec)
    states = cost.tower_tokens * cost.dim
    per = prompt_bytes(cost.config, tokens, torch.float16 if on_gpu else torch.float32, states=states)
    on_host = machine.host_gib - PROCESS_GIB - stage.held_bytes / GIB
    free = (on_host if machine.gpu_gib is None else machine.gpu_gib - held) * GIB
    if free < per:
        return 0, held + per / GIB
    batch = prompts_at_once(int(free), per, at_most=AT_MOST)
    return batch, held + batch * per / GIB if on_gpu else 0.0


def _word_seconds(spec: str, stage: Stage, machine: Machine) -> float:
    """One more word of all prompts at once: every weight passes through the memory's channel, unpacked if quantised,
    and a small model waits for its kernels to start."""
    cost = vlm_cost(spec)
    packed = 0.516 + 2 + 2 if stage.bits else 2 if machine.gpu_gib is not None else 4
    return packed * cost.language_weights / machine.memory_rate + machine.word_seconds
