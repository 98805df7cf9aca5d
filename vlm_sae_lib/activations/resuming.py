"""The promise that a killed collection costs nothing, put to the test on a reader's own machine."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from vlm_sae_lib.activations.collect import collect_activations
from vlm_sae_lib.activations.store import METADATA
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import folder_hash, read_json, write_json
from vlm_sae_lib.towers import Tower


def resumes_to_the_same_bytes(tower: Tower, pictures: Any, hook_point: str, *, pictures_per_shard: int) -> bool:
    """Collect once whole, once with the last shard written but not yet entered; whether both end up the same bytes.

    That is the state in which a process dies between writing a shard and writing the metadata. Works in a temporary
    folder.

    Raises:
        UserError: so few pictures that they fill one shard only.
    """
    with tempfile.TemporaryDirectory() as scratch:
        options: dict[str, Any] = {"pictures_per_shard": pictures_per_shard}
        whole = collect_activations(tower, pictures, hook_point, Path(scratch) / "whole", **options)
        cut = Path(shutil.copytree(whole.path, Path(scratch) / "cut"))
        facts = read_json(cut / METADATA)
        if len(facts["shards"]) < 2:
            raise UserError("An interruption needs at least two shards; give more pictures, or fewer per shard.")
        lost = facts["shards"].pop()
        write_json(cut / METADATA, facts | {"complete": False, "rows": facts["rows"] - lost["rows"]})
        resumed = collect_activations(tower, pictures, hook_point, cut, **options)
        return folder_hash(whole.path) == folder_hash(resumed.path)
