"""Stores of activations that no tower has made."""

import hashlib

import numpy as np
from safetensors.numpy import save

from vlm_sae_lib.activations.store import ActivationStore
from vlm_sae_lib.files import content_hash, write_bytes, write_json


def make_store(path, values, image_ids, fingerprint="same", cuts=(7,)):
    """A finished store of (rows, dim) values in two shards."""
    shards, values, image_ids = [], np.asarray(values, dtype=np.float32), np.asarray(image_ids)
    for number, rows in enumerate(np.split(np.arange(len(values)), cuts)):
        shard = {"activations": values[rows], "image_id": image_ids[rows], "token": np.full(len(rows), -1)}
        data, name = save(shard), f"{number:06d}.safetensors"
        write_bytes(path / "shards" / name, data)
        last, digest = int(image_ids[rows][-1]), hashlib.sha256(data).hexdigest()
        shards.append({"file": name, "rows": len(rows), "last_image_id": last, "sha256": digest})
    facts = {
        "schema": 1,
        "tower": "toy",
        "weights_hash": "w",
        "hook_point": "block_0",
        "tokens": "all",
        "preprocessing": {},
        "fingerprint": fingerprint,
        "dtype": "float32",
        "seed": 0,
    }
    facts |= {
        "id": content_hash([facts, str(values.shape)]),
        "source": f"{fingerprint} pictures",
        "dim": values.shape[1],
    }
    write_json(
        path / "metadata.json", facts | {"rows": len(values), "shards": shards, "complete": True, "unreadable": []}
    )
    return ActivationStore.open(path)
