"""The Sphinx extensions of ``book/_ext``, which are no package."""

import importlib.util
import sys

from vlm_sae_lib import paths

FOLDER = paths.PACKAGE.parent / "book" / "_ext"


def extension(name: str):
    """A module of ``book/_ext``, where they import each other by name, as Sphinx lets them."""
    if str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
