"""A vision tower behind one interface, whatever library it comes from."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from vlm_sae_lib import hooks
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import content_hash
from vlm_sae_lib.hooks import PROJECTION
from vlm_sae_lib.loading import first_sentence, loading
from vlm_sae_lib.machine.devices import exactly, out_of_memory, place
from vlm_sae_lib.pictures.rgb import to_rgb
from vlm_sae_lib.towers.tokens import check_rule, select_tokens

CLASS_TOKENS = {"class_embedding", "cls_token", "class_token"}


class Tower:
    """A frozen vision encoder: pictures in, activations of one hook point out; in eval mode, without gradients.

    It computes in fp32 unless told otherwise, and always gives fp32; an autocast around it changes nothing. What half
    precision costs, ``activations.rounding`` measures and says. TF32 is no choice here: it is a switch of the whole
    process, which neither the weights nor a store's id would tell.

    Hook points are ``block_0`` … ``block_{L-1}`` (a block's output after its last residual addition; a convolutional
    tower's stages, flattened to one token per position) and ``projection`` (the image embedding, not normalised).

    Attributes: ``spec``, ``name`` (the spec without any absolute path), ``module`` (the vision module), ``model``
    (the whole model it belongs to), ``preprocessing`` (what the checkpoint does to an RGB picture, as plain JSON),
    ``device``, ``dtype``.

    Raises:
        UserError: blocks or an embedding of another shape; preprocessing that gives no single square of pixels; a
            forward that fails on one; a tower that gives other activations each time it sees the same picture.
    """

    def __init__(
        self,
        *,
        spec: str,
        name: str,
        module: nn.Module,
        blocks: Sequence[nn.Module],
        project: Callable[[Tensor], Tensor | None],
        preprocess: Callable[[Image.Image], Tensor],
        preprocessing: dict[str, Any],
        config: dict[str, Any],
        device: torch.device | None,
        dtype: torch.dtype = torch.float32,
        model: nn.Module | None = None,
        widths: Sequence[int] = (),
    ):
        """``project`` runs the whole tower, pixels (n, 3, H, W) to (n, d), or to None where it has no such output;
        ``preprocess`` makes pixels of an upright RGB picture;
        ``config`` is what, beside the weights, determines the outputs; ``widths`` are the channels of the stages;
        ``device`` None leaves the module where accelerate put it."""
        self.spec, self.name, self.dtype = spec, name, dtype
        self.module, self.model = module, model if model is not None else module
        self._preprocess, self.preprocessing = preprocess, preprocessing
        self._blocks, self._project, self._config = list(blocks), project, config
        with loading(spec, "torch"):
            self.device = place(self.model.to(dtype).eval().requires_grad_(False), device)
        self._layouts, self._projection_dim = self._probe(widths)
        maps = any(layout.kind in ("n c h w", "n h w c") for layout in self._layouts)
        names = [name.split(".") for name, _ in module.named_parameters()]
        # AIMv2's attention head has a class token of its own, which no block ever sees.
        self.has_cls = any(name[-1] in CLASS_TOKENS and "head" not in name for name in names) and not maps

    @property
    def hook_points(self) -> tuple[str, ...]:
        blocks = tuple(f"block_{i}" for i in range(len(self._blocks)))
        return blocks if self._projection_dim is None else (*blocks, PROJECTION)

    @property
    def precision(self) -> str:
        """What it computes in: ``float32``, ``bfloat16`` or ``float16``."""
        return str(self.dtype).removeprefix("torch.")

    @cached_property
    def weights_hash(self) -> str:
        """SHA-256 over the vision module's tensors (names, shapes, bytes) and its configuration.

        The tensors are those it computes with, so that each precision has a hash of its own.
        """
        digest = hashlib.sha256(content_hash(self._config).encode())
        for name, tensor in sorted(self.module.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
        return digest.hexdigest()

    def preprocess(self, picture: Image.Image) -> Float[Tensor, "3 height width"]:
        """Any PIL picture as the pixels that the tower takes: upright in RGB (``pictures.to_rgb``), then as the
        checkpoint has it. Raises: UserError for a picture that cannot be read."""
        return self._preprocess(to_rgb(picture))

    def dim(self, hook_point: str) -> int:
        """Width d of a hook point's activations."""
        layout = self._layout(hook_point)
        if layout is not None:
            return layout.dim
        assert self._projection_dim is not None  # else there were no such hook point
        return self._projection_dim

    def tokens(self, hook_point: str) -> int:
        """Tokens per picture at a hook point, class token included; 1 for ``projection``."""
        layout = self._layout(hook_point)
        return 1 if layout is None else layout.n_tokens

    def check(self, hook_point: str, tokens: str) -> str:
        """The token rule in its one spelling; UserError for an unknown hook point or a rule that cannot work there."""
        on_block = self._layout(hook_point) is not None
        return check_rule(tokens, f"{self.name} {hook_point}", has_cls=self.has_cls or not on_block)

    @torch.no_grad()
    def activations(
        self,
        images: Sequence[Image.Image] | Float[Tensor, "n 3 height width"],
        hook_point: str,
        tokens: str = "cls",
        *,
        seed: int = 0,
        image_ids: Sequence[int] | np.ndarray | None = None,
    ) -> Float[Tensor, "n *tokens d"]:
        """Activations of one batch at a hook point, float32, on the CPU; the forward stops there.

        Args:
            images: PIL pictures of any mode, turned as their EXIF says; or pixels as ``preprocess`` makes them.
            tokens: ``cls`` or ``mean`` give (n, d), ``all`` (n, T, d), ``random:k`` (n, k, d) with tokens drawn with
                replacement; ``projection`` gives (n, d) under every rule.
            seed, image_ids: what a random draw depends on; ids default to 0 … n−1.

        Raises:
            UserError: unknown hook point or token rule, ``cls`` at a block of a tower without a class token, a picture
                that cannot be read.
        """
        rule = self.check(hook_point, tokens)
        layout = self._layout(hook_point)
        pixels = self._pixels(images)
        n = len(pixels)
        ids = np.arange(n) if image_ids is None else np.asarray(image_ids)
        if len(ids) != n:
            raise ValueError(f"{len(ids)} image ids for {n} pictures")
        if n == 0:
            return torch.empty(self._selected_shape(0, hook_point, rule))
        with exactly(self.device):
            if layout is None:
                embedding = self._project(pixels)
                assert embedding is not None  # it was there when it was probed
                return embedding.float().cpu()

            def keep(hidden: Tensor) -> Tensor:
                return select_tokens(layout.tokens(hidden, n), rule, ids, seed)

            block = self._blocks[self._index(hook_point)]
            return hooks.run_until(block, lambda: self._project(pixels), keep).cpu()

    @torch.no_grad()
    def activations_at(
        self,
        images: Sequence[Image.Image] | Float[Tensor, "n 3 height width"],
        points: Sequence[tuple[str, str]],
        *,
        seed: int = 0,
        image_ids: Sequence[int] | np.ndarray | None = None,
    ) -> list[Tensor]:
        """What ``activations`` gives at each (hook point, token rule), bit for bit, from one forward pass."""
        if not points:
            return []
        pixels = self._pixels(images)
        ids = np.arange(len(pixels)) if image_ids is None else np.asarray(image_ids)
        depth = {name: i for i, name in enumerate(self.hook_points)}
        rules = [self.check(point, tokens) for point, tokens in points]
        last = max(range(len(points)), key=lambda i: depth[points[i][0]])
        kept: dict[int, Tensor] = {}

        def watch(i: int) -> Callable:
            layout = self._layouts[self._index(points[i][0])]

            def hook(module: nn.Module, arguments: tuple, output: Any) -> None:
                hidden = layout.tokens(hooks.first_tensor(output), len(pixels))
                selected = select_tokens(hidden, rules[i], ids, seed)
                # "all" selects the output itself, which what follows may write over
                kept[i] = (selected.clone() if rules[i] == "all" else selected).cpu()

            return hook

        with ExitStack() as stack:
            for i, (point, _) in enumerate(points):
                if i != last and point != PROJECTION and len(pixels):
                    stack.enter_context(hooks.watched(self._blocks[self._index(point)], watch(i)))
            kept[last] = self.activations(pixels, points[last][0], rules[last], seed=seed, image_ids=ids)
        for i, (point, _) in enumerate(points):
            if i not in kept:  # the projection twice, or no picture at all
                kept[i] = kept[last] if len(pixels) else torch.empty(self._selected_shape(0, point, rules[i]))
        return [kept[i] for i in range(len(points))]

    @contextmanager
    def intervene(self, hook_point: str, function: Callable[[Tensor], Tensor]) -> Iterator[None]:
        """Inside the context a block's output is ``function`` of it, (n, T, d) to (n, T, d), class token included.

        An identity leaves every output bit for bit as it was; leaving the context, also by an error, removes the hook.

        Raises:
            UserError: ``projection``, which has nothing after it to intervene on, or an unknown hook point.
        """
        layout = self._layout(hook_point)
        if layout is None:
            raise UserError(f"Nothing follows {self.name} {PROJECTION}: intervene on a block, or change its output.")
        with hooks.intervention(self._blocks[self._index(hook_point)], layout, function):
            yield

    def _index(self, hook_point: str) -> int:
        return int(hook_point.removeprefix("block_"))

    def _layout(self, hook_point: str) -> hooks.Layout | None:
        """A block's layout, None for ``projection``."""
        if hook_point not in self.hook_points:
            last = f"block_0 … block_{len(self._blocks) - 1}"
            known = last if self._projection_dim is None else f"{last} and {PROJECTION}"
            raise UserError(f"{self.name} has no hook point {hook_point!r}: it has {known}.")
        return None if hook_point == PROJECTION else self._layouts[self._index(hook_point)]

    def _selected_shape(self, n: int, hook_point: str, rule: str) -> tuple[int, ...]:
        dim, count = self.dim(hook_point), self.tokens(hook_point)
        if hook_point == PROJECTION or rule in ("cls", "mean"):
            return n, dim
        return n, count if rule == "all" else int(rule.removeprefix("random:")), dim

    def _pixels(self, images: Sequence[Image.Image] | Tensor) -> Tensor:
        if isinstance(images, Image.Image):
            images = [images]
        if not isinstance(images, Tensor):
            made = [self.preprocess(image) for image in images]
            images = torch.stack(made) if made else torch.empty(0, 3, 1, 1)
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"pixels must be (n, 3, height, width), got {tuple(images.shape)}")
        return images.to(self.device, self.dtype)

    def _probe(self, widths: Sequence[int]) -> tuple[list[hooks.Layout], int | None]:
        """Layouts of all blocks, and the projection's width, from copies of one picture of noise.

        Two copies tell the batch axis from the token axis, unless there are just two tokens; then three do. They go
        through the tower twice, for an encoder that draws something at random would give a store of chance.
        """
        for n in (2, 3):
            embedding, shapes, last = self._probe_once(n)
            try:
                layouts = [hooks.Layout(shape, n, widths) for shape in shapes]
            except ValueError as error:
                failure = error
                continue
            if embedding is not None and (embedding.ndim != 2 or len(embedding) != n):
                raise UserError(f"{self.name} gives an embedding of shape {tuple(embedding.shape)}, not (batch, d).")
            again, _, last_again = self._probe_once(n)
            alike = embedding is None or (again is not None and _agree(embedding, again))
            if not (_agree(last, last_again) and alike):
                raise UserError(
                    f"{self.name} gives other activations each time it sees the same picture, though it is in eval "
                    "mode, so nothing collected from it could be collected again: name a tower that draws nothing at "
                    "random."
                )
            return layouts, None if embedding is None else embedding.shape[1]
        raise UserError(f"{self.name} has blocks whose outputs are not (batch, tokens, d): {failure}.")

    @torch.no_grad()
    def _probe_once(self, n: int) -> tuple[Tensor | None, list[torch.Size], Tensor]:
        """Of ``n`` copies of the picture: the embedding, each block's output's shape, and the last block's output."""
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        with loading(self.spec, "its preprocessing"):
            pixels = self.preprocess(Image.fromarray(noise))
        if pixels.ndim != 3 or len(pixels) != 3:
            raise UserError(
                f"{self.name} makes {tuple(pixels.shape)} of a picture and not (3, height, width), which are tiles or "
                "frames: name a tower that sees a picture whole, as that of a VLM does which is named vlm:<its spec>."
            )
        pixels = pixels.expand(n, *pixels.shape).to(self.device, self.dtype)
        try:
            with exactly(self.device):
                return hooks.outputs(self._blocks, lambda: self._project(pixels))
        except UserError:
            raise
        except Exception as error:  # whatever a model raises that wants something else than a picture
            if out_of_memory(error):
                raise UserError(
                    f"{self.name} finds too little memory on {str(self.device)!r} for a picture: close what else runs "
                    "there, or name a smaller tower."
                ) from error
            raise UserError(
                f"{self.name} fails on pictures of {tuple(pixels.shape[1:])} ({first_sentence(error)}): name a tower "
                "that takes one picture at a time."
            ) from error


def _agree(one: Tensor, other: Tensor) -> bool:
    """Whether two passes gave the same but for rounding; of a module without weights (meta) nothing is known."""
    if one.is_meta:
        return True
    one, other = one.float().nan_to_num(), other.float().nan_to_num()
    return bool((one - other).norm() <= 1e-3 * one.norm())
