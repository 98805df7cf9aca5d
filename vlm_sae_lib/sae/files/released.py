"""The authors' released SAEs: what a repository of checkpoints holds, told by names, confirmed by one header."""

import math
import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.hooks import PROJECTION
from vlm_sae_lib.sae.artefact import SparseAutoencoder
from vlm_sae_lib.sae.files.header import Header, read_header
from vlm_sae_lib.sae.files.hub import from_hub, listing

if TYPE_CHECKING:
    from vlm_sae_lib.towers.tower import Tower

AUTHORS = "mateuszpach/sae-for-vlm"
FAMILIES = ("siglip", "dinov2", "dinov3", "aimv2", "clip")
"""Told in this order: every siglip is a clip by name."""
BLOCK = re.compile(r"(?:layer|block)s?(?:[_.=]?|-(?!1(?!\d)))(-1|last|\d+)(?!\d)")
"""0-based, as our hook points; -1, also in ``layer-1``, and ``last`` are the projection (paper App. A)."""
ATTACHED = re.compile(r"_(\d+)_post_mlp_residual")
"""The authors' own way to name a block: ``…_clip-vit-large-patch14-336_22_post_mlp_residual_…``."""
MODEL = re.compile(r"(?:siglip2?|aimv2|clip)-[a-z0-9]+(?:-[a-z0-9]+)*?-?patch\d+(?:-\d+)?")
"""A tower's name on the hub within a name."""
SAME = {
    "clip-vit-large-patch14-336": ("vit-l-14-336/openai", "vit-l-14-336-quickgelu/openai", "llava-1.5-"),
    "siglip-so400m-patch14-384": ("vit-so400m-14-siglip-384/webli",),
}
"""Other names of the same weights: open_clip's, and a VLM's that keeps its tower frozen (arXiv 2304.08485, §4.2)."""
STEPS = re.compile(r"ae_(\d+)\.pt$")
WIDEST = 64
LAST = re.compile(r"(?:^|[/_\-])(?:last|projection|post_projection)(?=$|[/_\-.])")
RANDOM = re.compile(r"random[_\-]?(?:k[_\-]?)?(\d+)")
EXPANSION = re.compile(r"(?:^|[/_\-])x(\d+)(?=$|[/_\-.])")
K = re.compile(r"top_?k[_\-](\d+)")


@dataclass(frozen=True)
class ReleasedSae:
    """One checkpoint of a release, as its path tells it; None is what that leaves open, for the layout of a release is
    its authors' own. ``opened`` adds what its tensors tell."""

    repo_id: str
    revision: str
    """the commit"""
    file: str
    kind: str | None = None
    expansion: float | None = None
    """ε, latents per dimension"""
    k: int | None = None
    hook_point: str | None = None
    tokens: str | None = None
    tower: str | None = None
    """the family: clip, siglip, …"""
    model: str | None = None
    """the very model, as the hub names it: clip-vit-large-patch14-336"""
    header: Header | None = None
    """of its tensors; None before it was opened"""

    def opened(self) -> "ReleasedSae":
        """The same with its ``header``, for which a few kilobytes are fetched. Raises ``UserError``."""
        if self.header:
            return self
        header = read_header(self.repo_id, self.revision, self.file)
        kind, expansion = self.kind or header.kind, self.expansion or header.expansion
        return replace(self, header=header, kind=kind, expansion=expansion)

    def misfit(self, tower: "Tower", hook_point: str, tokens: str) -> str | None:
        """Why this SAE does not belong to a hook point of a tower under a token rule, as words; None where it does.

        Judged by the name, and by the tensors once it was opened. An SAE of other tokens is refused, too: one that was
        trained on class tokens has never seen the patches that steering changes.
        """
        family = _family(f"{tower.spec} {tower.name}")
        if self.tower and not (self.model and _is_called(self.model, tower)):
            if family and self.tower != family:
                return f"it is of a {self.tower} tower and {tower.name} is a {family} one"
            if self.model or not family:
                what = self.model or f"a {self.tower} tower"
                return f"it is of {what}, and nothing tells that {tower.name} has the same weights"
        if self.hook_point != hook_point:
            return f"its name says {self.hook_point or 'nothing of the block'}, and {hook_point} is asked for"
        if self.tower is None:
            return f"its name says nothing of the tower, and {tower.name} is asked for"
        alike = self.tokens == tokens or (_single(self.tokens) and _single(tokens))
        if hook_point != PROJECTION and not alike:
            trained = {"cls": "class", None: "unnamed"}.get(self.tokens, self.tokens)
            return f'it was trained on {trained} tokens, and "{tokens}" is asked for'
        return self._tensors_misfit(self.header, tower, hook_point) if self.header else None

    def _tensors_misfit(self, header: Header, tower: "Tower", hook_point: str) -> str | None:
        width = tower.dim(hook_point)
        if header.kind is None:
            return "it holds no SAE of the paper's two kinds"
        said, told = (f"×{sae.expansion:g} {sae.kind}" for sae in (self, header))
        if said != told:
            return f"its name says {said} and its tensors {told}"
        if header.dim != width:
            return f"it reads {header.dim}-wide activations and those of {tower.name} {hook_point} are {width}-wide"
        return None

    def load(self, tower: "Tower", hook_point: str, tokens: str = "cls", *, device: Any = None) -> SparseAutoencoder:
        """Fetch it for a hook point of a tower. Raises ``UserError`` where it is another one's; see ``misfit``."""
        reason = self.misfit(tower, hook_point, tokens) or self.opened().misfit(tower, hook_point, tokens)
        if reason is not None:
            raise UserError(f"{self.file} of {self.repo_id} does not fit: {reason}, so choose another or train one.")
        return from_hub(self.repo_id, revision=self.revision, file=self.file, device=device)


def released_saes(repo_id: str = AUTHORS, revision: str | None = None) -> list[ReleasedSae]:
    """The checkpoints of a release by their names, none of them opened; offline, those in the cache.

    A torch file whose path tells neither a kind nor a block is none of them. Raises ``UserError`` where the hub cannot
    be asked and where there is no checkpoint.
    """
    commit, names = listing(repo_id, revision)
    named = [_named(repo_id, commit, name) for name in names if name.endswith(".pt")]
    saes = [sae for sae in named if sae.kind or sae.hook_point]
    if not saes:
        raise UserError(f"{repo_id} at {commit} holds no SAE checkpoint: check the name and the revision.")
    return saes


def released_for(
    tower: "Tower",
    hook_point: str,
    tokens: str,
    *,
    repo_id: str = AUTHORS,
    revision: str | None = None,
    kind: str | None = None,
    expansion: float | None = None,
) -> tuple[ReleasedSae | None, str]:
    """The released SAE for a hook point of a tower under a token rule, and one sentence that says which it is; None
    where there is none or the hub cannot be asked, and the sentence says why.

    Only those without a ``misfit`` by name are chosen among. ``kind`` comes first, then an ``expansion`` as near as can
    be; where they are left out, the widest of at most ×64 and Matryoshka; at last the longest trained. They are opened
    in that order, until one's tensors are what its name says: mostly one. What was asked for and is not there is said
    in the sentence, too.
    """
    place = f'{hook_point} of {tower.name} on "{tokens}" tokens'
    try:
        saes = released_saes(repo_id, revision)
        source = f"{repo_id} at {saes[0].revision[:8]}"
        reasons = {sae: sae.misfit(tower, hook_point, tokens) for sae in saes}
        fitting = [sae for sae, reason in reasons.items() if reason is None]
        for named in sorted(fitting, key=lambda sae: _rank(sae, tokens, kind, expansion)):
            best = named.opened()
            reasons[named] = best.misfit(tower, hook_point, tokens)
            if reasons[named] is None:
                break
        else:
            why = f"{source} holds {len(saes)} and none for {place} ({_told(reasons, hook_point)})"
            return None, f"No released SAE is used: {why}."
    except UserError as error:
        return None, f"No released SAE is used: {str(error).rstrip('.')}."
    asked = f", though {kind} was asked for" if kind not in (None, best.kind) else ""
    if expansion is not None and best.expansion != expansion:
        asked += f", {'and' if asked else 'though'} ×{expansion:g}" + ("" if asked else " was asked for")
    n = sum(reason is None for reason in reasons.values())
    chosen = f"×{best.expansion:g} {best.kind} ({best.file})"
    return best, f"Of {n} released SAEs in {source} for {place} the {chosen} is used{asked}."


def released_or_trained(
    tower: "Tower", hook_point: str, tokens: str, *, repo_id: str | None, kind: str | None, expansion: float
) -> tuple[ReleasedSae | None, str]:
    """As ``released_for``, for who trains one ``expansion`` times as wide as the block where none is released, or none
    is asked for (no ``repo_id``): the sentence says that, too."""
    if repo_id is None:
        return None, "It is trained here."
    found, sentence = released_for(tower, hook_point, tokens, repo_id=repo_id, kind=kind, expansion=expansion)
    trained = "" if found else f" So it is trained here, {expansion:g} times as wide as the block."
    return found, sentence + trained


def _rank(sae: ReleasedSae, tokens: str, kind: str | None, expansion: float | None) -> tuple:
    """Less is better."""
    matryoshka = sae.kind == "matryoshka_batch_top_k"
    if not sae.expansion:
        width = too_wide = math.inf
    else:
        width = -sae.expansion if expansion is None else abs(math.log(sae.expansion / expansion))
        too_wide = expansion is None and sae.expansion > WIDEST
    exactly = sae.tokens == tokens
    return kind not in (None, sae.kind), too_wide, width, not matryoshka, not exactly, -_steps(sae.file), sae.file


def _told(reasons: dict[ReleasedSae, str | None], hook_point: str) -> str:
    """The most frequent reasons, those of the very block first: they say what is missing."""
    near = {reason for sae, reason in reasons.items() if sae.hook_point == hook_point}
    most = sorted(Counter(reasons.values()).most_common(), key=lambda told: told[0] not in near)
    return "; ".join(f"{n}: {reason}" for reason, n in most[:3])


def _named(repo_id: str, commit: str, file: str) -> ReleasedSae:
    name = file.lower()
    return ReleasedSae(
        repo_id=repo_id,
        revision=commit,
        file=file,
        kind=_said_kind(name),
        expansion=_number(EXPANSION, name),
        k=_number(K, name),
        hook_point=_hook_point(name),
        tokens=_tokens(name),
        tower=_family(name),
        model=model[0] if (model := MODEL.search(name)) else None,
    )


def _said_kind(name: str) -> str | None:
    if "matryoshka" in name or "matroyshka" in name:  # the authors write both
        return "matryoshka_batch_top_k"
    return "batch_top_k" if "batch_top_k" in name or "batchtopk" in name else None


def _hook_point(name: str) -> str | None:
    attached = ATTACHED.search(name)
    if attached:
        return f"block_{int(attached[1])}"
    found = BLOCK.search(name)
    if found and found[1] not in ("-1", "last"):
        return f"block_{int(found[1])}"
    return PROJECTION if found or LAST.search(name) else None


def _tokens(name: str) -> str | None:
    found = RANDOM.search(name)
    if found:
        return f"random:{int(found[1])}"
    if re.search(r"(?:^|[/_\-])mean(?=$|[/_\-.])", name):
        return "mean"
    named = re.search(r"(?:^|[/_\-])cls(?=$|[/_\-.])", name)
    # the authors' scripts put "random_k_2" and "mean_pool" into the path, and nothing where they take the class token
    return "cls" if named or ATTACHED.search(name) else None


def _single(tokens: str | None) -> bool:
    """Whether a rule takes single tokens of all kinds, patches among them."""
    return tokens is not None and (tokens == "all" or tokens.startswith("random:"))


def _is_called(model: str, tower: "Tower") -> bool:
    """Whether a tower goes by a model's name on the hub, or by another name for the same weights."""
    names = f"{tower.spec} {tower.name}".lower()
    own = re.search(rf"{re.escape(model)}(?![a-z0-9-])", names)
    return own is not None or any(other in names for other in SAME.get(model, ()))


def _steps(file: str) -> int:
    return int(found[1]) if (found := STEPS.search(file)) else 0


def _family(name: str) -> str | None:
    return next((family for family in FAMILIES if family in name.lower()), None)


def _number(pattern: re.Pattern, name: str) -> int | None:
    found = pattern.search(name)
    return int(found[1]) if found else None
