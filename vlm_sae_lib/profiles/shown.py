"""The SAEs whose single latents the book shows."""

SHOWN: dict[str, tuple[str | None, str]] = {
    "main_matryoshka": ("matryoshka_batch_top_k", "main"),
    "main_batch_top_k": ("batch_top_k", "main"),
    "taxonomy_matryoshka": ("matryoshka_batch_top_k", "taxonomy"),
    "taxonomy_batch_top_k": ("batch_top_k", "taxonomy"),
    "steering": (None, "steering"),
}
"""By name: the kind, and what it is trained for; the one for steering has its kind from the profile."""
