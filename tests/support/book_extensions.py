"""The Sphinx extensions of ``book/_ext``, which are no package."""

import importlib.util

from vlm_sae_lib import paths


def extension(name: str):
    """A module of ``book/_ext``."""
    spec = importlib.util.spec_from_file_location(name, paths.PACKAGE.parent / "book" / "_ext" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
