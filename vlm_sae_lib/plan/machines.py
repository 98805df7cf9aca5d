"""The machines that the profiles are meant for: what they hold, and how fast each kind of work goes on them.

What a machine *holds* is its maker's or its host's figure. How *fast* work goes is the peak in the data sheet times a
share that such work reaches; nothing of it was timed where this was written, so a plan's minutes are an estimate, and
the machine at hand (``here.py``) is measured instead.
"""

from dataclasses import dataclass

from vlm_sae_lib.errors import UserError

GIB, GB = 2**30, 10**9


@dataclass(frozen=True)
class Machine:
    """A machine. Memory in GiB (2^30 bytes), disk in GB (10^9); rates per second, all cores or the whole GPU."""

    name: str
    title: str
    source: str
    """Where the figures come from."""
    gpu_gib: float | None
    """GPU memory that a process finds free; None: there is no GPU."""
    host_gib: float
    disk_gb: float
    cores: float
    """Physical cores' worth of work."""
    tower_flops: float
    """Operations a vision tower reaches, in the precision that the profile computes in there."""
    language_flops: float
    """Operations a language model reaches over whole prompts."""
    memory_rate: float
    """Bytes per second between the memory that holds weights and the units that use them: it bounds each next word."""
    train_flops: float
    """Operations that one training step of an SAE reaches, counted as three dense products of single precision."""
    step_seconds: float
    """What a training step takes beside them."""
    score_flops: float
    """Operations that the intervals of scores reach, on the processor."""
    word_seconds: float = 0.03
    """What the next word of an answer takes beside its weights: a generating loop starts each kernel of each layer."""
    picture_seconds: float = 0.007
    """One core: a photograph of 500 pixels decoded, resized and normalised."""
    fetch_rate: float = 40e6
    """Bytes per second from a public archive."""
    hub_rate: float = 80e6
    """Bytes per second from the hub."""
    load_rate: float = 150e6
    """Bytes per second of a checkpoint from the disk into the model, quantised on the way."""
    figure_seconds: float = 40.0
    """What a notebook takes for its start, its figures and its pocket examples."""
    setup_minutes: float = 3.0
    """Cloning and installing."""


MACHINES = {
    "t4": Machine(
        name="t4",
        title="Colab, one T4",
        source="Data sheet: 65 TFLOP/s in half, 8.1 in single precision, 320 GB/s; a fifth to a quarter of the former "
        "and half of the latter are counted on. Colab: 15 GB of the GPU, 12.7 GB of host memory, two virtual cores.",
        gpu_gib=14.5,
        host_gib=12.7e9 / GIB,
        disk_gb=70,
        cores=1.5,
        tower_flops=16e12,
        language_flops=14e12,
        memory_rate=260e9,
        train_flops=4e12,
        step_seconds=0.010,
        score_flops=8e9,
    ),
    "runner": Machine(
        name="runner",
        title="a hosted runner",
        source="Four virtual cores, two physical ones, of an EPYC of the third generation (AVX2, 3.2 GHz, 205 GFLOP/s "
        "in single precision, of which two thirds are counted on); 16 GB, 14 GB of free disk.",
        gpu_gib=None,
        host_gib=16e9 / GIB,
        disk_gb=14,
        cores=2.5,
        tower_flops=130e9,
        language_flops=110e9,
        memory_rate=20e9,
        train_flops=90e9,
        step_seconds=0.012,
        score_flops=15e9,
        word_seconds=0.02,
    ),
    "a100": Machine(
        name="a100",
        title="one A100 of 40 GB",
        source="Data sheet: 312 TFLOP/s in half, 19.5 in single precision, 1.6 TB/s; two fifths of the former and two "
        "thirds of the latter are counted on. Twelve virtual cores, 85 GB.",
        gpu_gib=39.0,
        host_gib=79.0,
        disk_gb=2000,
        cores=8,
        tower_flops=125e12,
        language_flops=125e12,
        memory_rate=1.2e12,
        train_flops=13e12,
        step_seconds=0.006,
        score_flops=40e9,
        hub_rate=150e6,
        load_rate=1e9,
        figure_seconds=30,
    ),
    "two_cores": Machine(
        name="two_cores",
        title="two cores without a GPU",
        source="Two cores of a server of 2023, as this book was made on: 180 GFLOP/s in single precision at most.",
        gpu_gib=None,
        host_gib=8,
        disk_gb=10,
        cores=2,
        tower_flops=90e9,
        language_flops=140e9,
        memory_rate=20e9,
        train_flops=80e9,
        step_seconds=0.003,
        score_flops=5.4e9,
        word_seconds=0.01,
        picture_seconds=0.003,
        figure_seconds=15,
    ),
}


def machine(name: str) -> Machine:
    """A machine of the table. Raises: UserError for an unknown name, with the known ones."""
    if name not in MACHINES:
        raise UserError(f"There is no machine {name!r} in the table: name one of {', '.join(MACHINES)}, or here.")
    return MACHINES[name]
