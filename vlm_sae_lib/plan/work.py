"""What a profile's notebooks do, as amounts: bytes to fetch, pictures to read, operations to carry out, memory to hold.

Nothing here knows a machine. Each stage follows the cells of its notebook; what an earlier notebook has made already
has the same ``key`` and counts once.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from vlm_sae_lib.plan.models import ModelCost, PocketTower, tower_cost, vlm_cost
from vlm_sae_lib.plan.pictures import KEPT_BYTES, counted
from vlm_sae_lib.plan.prompts import Prompts, prompts
from vlm_sae_lib.profiles.settings import Profile
from vlm_sae_lib.sae.training.memory import learning_bytes

NOTEBOOKS = (
    "01_activation_collection", "02_sae_training", "03_monosemanticity_score", "04_taxonomy_alignment",
    "05_llava_steering",
)  # fmt: skip
SINGLE, HALF = 4, 2
SHARD_BYTES = 5 * 10**9
"""Of a checkpoint, what lies in host memory on its way to a GPU: one file of several."""
DENSE_PRODUCTS = 3
"""A training step as dense products: the encoder's, and a gradient of encoder and decoder (paper §3.1)."""
RAW = 0.1
"""What a dense column costs beside a sparse one with an entry for each picture."""
DRAWS, WIDTH_DRAWS = 150, 50
"""Bootstraps over pictures in notebook 3, of the main dictionaries and of the others."""


@dataclass(frozen=True)
class Stage:
    """One stage. Amounts are sums over the whole stage; ``…_bytes`` and ``…_flop`` are what their names say."""

    notebook: str
    part: str
    key: str
    fetch_bytes: float = 0
    """From a public archive."""
    hub_bytes: float = 0
    load_bytes: float = 0
    """Weights that are read into memory."""
    disk_bytes: float = 0
    """What stays on the disk."""
    pictures: float = 0
    """Pictures that are read, or painted."""
    tower_flop: float = 0
    language_flop: float = 0
    word_steps: float = 0
    """Tokens of answers, summed over sequences."""
    at_once: int | None = None
    """How many answers are made together; None: as many as the machine holds."""
    train_steps: int = 0
    train_flop: float = 0
    score_flop: float = 0
    held_bytes: float = 0
    """On the device: weights and what stays beside them."""
    prompt: tuple[str, int] | None = None
    """The VLM and the length in tokens of the longest sequence that is read, where one is."""
    bits: int | None = None
    """In which the VLM's weights are held."""
    host_bytes: float = 0
    fixed: int = 0
    """Starts of a notebook."""


def stages(profile: Profile, on_gpu: bool) -> list[Stage]:
    """All stages of the five notebooks, in order; what was made before is not made again."""
    seen: set[str] = set()
    kept = []
    for notebook in NOTEBOOKS:
        for stage in stages_of(profile, notebook, on_gpu):
            if stage.key not in seen:
                seen.add(stage.key)
                kept.append(stage)
    return kept


def stages_of(profile: Profile, notebook: str, on_gpu: bool) -> list[Stage]:
    """The stages of one notebook that is run alone; ``on_gpu``: whether models are on a GPU."""
    makers = dict(zip(NOTEBOOKS, (_collection, _training, _scores, _taxonomy, _steering), strict=True))
    work = _Work(profile, on_gpu)
    start = Stage(notebook, "start, figures, examples", f"start {notebook}", fixed=1)
    found = {stage.key: replace(stage, notebook=notebook) for stage in [start, *makers[notebook](work)]}
    return list(found.values())


@dataclass(frozen=True)
class _Work:
    profile: Profile
    on_gpu: bool

    @property
    def per_weight(self) -> int:
        return HALF if self.on_gpu and self.profile.half_on_gpu else SINGLE

    @property
    def tower(self) -> ModelCost | PocketTower:
        return tower_cost(self.profile.tower)

    def pictures(self, spec: str) -> Iterator[Stage]:
        found = counted(spec)
        if found.fetched:
            kept = found.kept_bytes
            yield Stage("", "fetching pictures", found.archive, fetch_bytes=found.fetched, disk_bytes=kept,
                        pictures=kept / KEPT_BYTES)  # fmt: skip

    def model(self, spec: str) -> Iterator[Stage]:
        cost = tower_cost(spec)
        if cost.fetched:
            yield Stage("", "fetching weights", f"weights {spec}", hub_bytes=cost.fetched, disk_bytes=cost.fetched)

    def collect(
        self,
        spec: str,
        pictures: str,
        points: dict[str, int],
        cost: ModelCost | PocketTower,
        limit: int | None = None,
        rule: str = "cls",
    ) -> Iterator[Stage]:
        """Points: the width of each hook point and token rule by its name; one pass of the pictures for all."""
        yield from self.pictures(pictures)
        yield from self.model(spec)
        count = counted(pictures)
        n = min(count.number, limit or count.number)
        stored = sum(n * width * SINGLE for width in points.values())
        weights = cost.tower_weights * self.per_weight
        batch = self.profile.collect_batch * cost.tower_tokens * cost.dim * 12 * self.per_weight
        yield Stage(
            "", "collecting activations", f"collect {spec} {pictures} {rule} {limit} {sorted(points)}",
            pictures=n, tower_flop=n * cost.tower_flop, load_bytes=weights, disk_bytes=stored,
            held_bytes=weights + batch, host_bytes=0 if self.on_gpu else weights + batch,
        )  # fmt: skip

    def points(self, tokens: bool = True) -> dict[str, int]:
        """The explained tower's hook points, and the steering tokens where they are of the same tower."""
        profile = self.profile
        found = {point: self.tower.width(point) for point in profile.hook_points}
        if tokens and profile.steering_hook_point:
            found[profile.steering_tokens] = self.tower.dim * tokens_per_picture(profile.steering_tokens, self.tower)
        return found

    def all_points(self) -> Iterator[Stage]:
        yield from self.collect(self.profile.tower, self.profile.train_pictures, self.points(), self.tower)
        yield from self.collect(self.profile.tower, self.profile.test_pictures, self.points(False), self.tower)

    def main_only(self, pictures: str) -> Iterator[Stage]:
        main = self.profile.main_hook_point
        if pictures == self.profile.train_pictures:
            return  # that store is there already
        yield from self.collect(self.profile.tower, pictures, {main: self.tower.width(main)}, self.tower)

    def embeddings(self) -> Iterator[Stage]:
        for _, spec in self.profile.scoring_towers:
            cost = tower_cost(spec)
            pictures = self.profile.test_pictures
            yield from self.collect(spec, pictures, {"projection": cost.projection_dim}, cost)

    def sae(self, what: str, width: int, expansion: float, rows: float, steps: int | None = None) -> Stage:
        steps, latents = steps or self.profile.steps, int(expansion * width)
        batch = min(self.profile.batch_size, rows)
        return Stage(
            "", "training autoencoders", f"sae {what}", train_steps=steps, disk_bytes=2 * width * latents * SINGLE,
            train_flop=steps * DENSE_PRODUCTS * 2 * batch * width * latents,
            held_bytes=learning_bytes(width, latents) + 3 * batch * latents * SINGLE,
            host_bytes=min(rows * width * SINGLE, 4 * 2**30),
        )  # fmt: skip


def tokens_per_picture(rule: str, tower: ModelCost | PocketTower) -> int:
    """Rows that a token rule takes of each picture."""
    return tower.tower_tokens if rule == "all" else int(rule.partition(":")[2] or 1)


def _collection(work: _Work) -> Iterator[Stage]:
    yield from work.all_points()
    yield from work.main_only(work.profile.choosing_pictures)
    yield from work.embeddings()


def _training(work: _Work) -> Iterator[Stage]:
    profile, main = work.profile, work.profile.main_hook_point
    yield from work.all_points()
    yield from work.main_only(profile.choosing_pictures)
    rows, width = counted(profile.train_pictures).number, work.tower.width(main)
    narrow = profile.expansions[0]
    asked = [(main, e, 0, profile.k) for e in (*profile.expansions, profile.main_expansion)]
    asked += [(main, narrow, seed, profile.k) for seed in (1, 2)]
    asked += [(main, narrow, 0, k) for k in (profile.k // 2, 2 * profile.k)]
    asked += [(point, profile.main_expansion, 0, profile.k) for point in profile.hook_points]
    for kind in profile.kinds:
        for point, expansion, seed, k in dict.fromkeys(asked):
            width = work.tower.width(point)
            yield work.sae(f"{kind} {point} ×{expansion:g} K{k} seed {seed}", width, expansion, rows)


def _scores(work: _Work) -> Iterator[Stage]:
    profile, main = work.profile, work.profile.main_hook_point
    yield from work.all_points()
    yield from work.embeddings()
    rows, width = counted(profile.train_pictures).number, work.tower.width(main)
    for kind in profile.kinds:
        for expansion in dict.fromkeys((*profile.expansions, profile.main_expansion)):
            yield work.sae(f"{kind} {main} ×{expansion:g} K{profile.k} seed 0", width, expansion, rows)
    n = counted(profile.test_pictures).number
    sizes = [tower_cost(spec).projection_dim for _, spec in profile.scoring_towers]
    sparse = 6 * profile.k  # two SAEs and four controls as sparse as they; rectified neurons come to one for each raw
    flop = sum(2 * DRAWS * n * ((RAW + 1) * width + sparse) * size for size in sizes)
    flop += 2 * WIDTH_DRAWS * n * len(profile.kinds) * len(profile.expansions) * profile.k * sizes[0]
    yield Stage("", "scores and intervals", "scores", score_flop=flop, host_bytes=n * 4 * width * SINGLE)


def _taxonomy(work: _Work) -> Iterator[Stage]:
    profile = work.profile
    train = profile.taxonomy_train or profile.train_pictures
    if profile.taxonomy_train:
        for pictures in (profile.taxonomy_train, profile.taxonomy_test or profile.test_pictures):
            yield from work.collect(profile.tower, pictures, {"projection": work.tower.projection_dim}, work.tower)
    else:
        yield from work.all_points()
    rows = counted(train).number
    for kind in profile.kinds:
        yield work.sae(f"taxonomy {kind}", work.tower.projection_dim, profile.taxonomy_expansion, rows)


def _steering(work: _Work) -> Iterator[Stage]:
    profile = work.profile
    vlm = vlm_cost(profile.vlm)
    bits = profile.vlm_bits if work.on_gpu else None
    weights = vlm.bytes_held(bits, HALF if work.on_gpu else SINGLE)
    yield from work.model(f"vlm:{profile.vlm}")
    for _, judge in profile.scoring_towers:  # the first with a text part lays words beside pictures
        yield from work.model(judge)
    yield from work.pictures(profile.choosing_pictures)
    tower, spec = (work.tower, profile.tower) if profile.steering_hook_point else (vlm, f"vlm:{profile.vlm}")
    per_picture = tokens_per_picture(profile.steering_tokens, tower)
    latents = profile.steering_expansion * tower.dim
    sae = 2 * latents * tower.dim * SINGLE
    if not profile.shipped:
        if profile.steering_hook_point:
            yield from work.all_points()
        else:
            points, limit = {profile.steering_tokens: tower.dim * per_picture}, profile.steering_pictures
            yield from work.collect(spec, profile.train_pictures, points, tower, limit, profile.steering_tokens)
        number = min(counted(profile.train_pictures).number, profile.steering_pictures or 1e12)
        yield work.sae("steering", tower.dim, profile.steering_expansion, number * per_picture)
    looked = profile.steering_choosing + profile.steering_scored
    states = max(profile.steering.test, profile.steering.choosing) * vlm.tower_tokens * vlm.dim * SINGLE
    held = weights + sae + states + 2**28  # dense latents of one batch: intervention.ENCODED_BYTES
    yield Stage(
        "", "the gallery", "gallery", load_bytes=vlm.fetched or weights, pictures=looked,
        tower_flop=profile.steering_choosing * vlm.tower_flop, held_bytes=held,
        host_bytes=looked * 3 * 1024**2 + (min(vlm.fetched, SHARD_BYTES) if work.on_gpu else held),
    )  # fmt: skip
    yield from _asked(prompts(profile), profile.vlm, vlm, held, bits)


def _asked(parts: list[Prompts], spec: str, vlm: ModelCost, held: float, bits: int | None) -> Iterator[Stage]:
    for i, one in enumerate(parts):
        yield Stage(
            "", f"prompts: {one.part}", f"prompts {i}", tower_flop=one.pictures * vlm.tower_flop,
            language_flop=one.sequences * vlm.prompt_flop(one.words) + one.sequences * one.new_tokens * vlm.word_flop,
            word_steps=one.sequences * one.new_tokens, at_once=one.at_once, held_bytes=held,
            prompt=(spec, vlm.picture_tokens + one.words + one.new_tokens), bits=bits,
        )  # fmt: skip


def rows_per_latent(profile: Profile) -> dict[str, float]:
    """Training rows for each latent of the widest SAE of each kind of use; few rows are learned by heart."""
    train, tower = counted(profile.train_pictures).number, tower_cost(profile.tower)
    steering = tower if profile.steering_hook_point else vlm_cost(profile.vlm)
    main = max(*profile.expansions, profile.main_expansion)
    widths = [tower.width(point) * profile.main_expansion for point in profile.hook_points]
    taxonomy = counted(profile.taxonomy_train or profile.train_pictures).number
    rows = min(train, profile.steering_pictures or train) * tokens_per_picture(profile.steering_tokens, steering)
    return {
        "layers": train / max(*widths, main * tower.width(profile.main_hook_point)),
        "taxonomy": taxonomy / (tower.projection_dim * profile.taxonomy_expansion),
        "steering": rows / (steering.dim * profile.steering_expansion),
    }
