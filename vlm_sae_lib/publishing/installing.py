"""Packages that an environment lacks are added to it; one that it has is never replaced.

Stands on the standard library, packaging and pip alone, as it runs where the rest may be missing.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from vlm_sae_lib.errors import UserError

PIP = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--no-color"]


def installed() -> dict[str, str]:
    """The version of every distribution that ``import`` would find, by its normalised name (PEP 503).

    One that lies on ``sys.path`` twice, a system's own package behind pip's, counts where it lies first. Left out is
    what pip has no words for: without a name or a version, or with one that PEP 440 does not know.
    """
    names = {name for found in distributions() if (name := _name(found))}
    # asked for by its name, so that what a broken installation left (`~umpy-2.0.dist-info`) is not taken for numpy
    versions = {name: next(filter(None, map(_version, distributions(name=name))), None) for name in sorted(names)}
    return {name: version for name, version in versions.items() if version}


def _metadata(found: Distribution) -> Any:
    """A message, whose ``get`` the protocol of Python 3.11 leaves unsaid."""
    return found.metadata


def _name(found: Distribution) -> str | None:
    """Normalised; None where the metadata cannot be read or have none."""
    try:
        return canonicalize_name(_metadata(found).get("Name") or "", validate=True)
    except ValueError:
        return None


def _version(found: Distribution) -> str | None:
    """None where ``==`` cannot be said of it."""
    try:
        version = _metadata(found).get("Version")
        Requirement(f"name=={version}")
    except ValueError:
        return None
    return version


def add_what_is_missing(requirements: Path) -> None:
    """Install what some requirements name and this environment lacks, everything that is installed held where it is.

    Raises:
        UserError: a requirement cannot be met without replacing an installed package, or pip cannot add it; with the
            reason.
    """
    held, lacking, refused = installed(), [], []
    for requirement in _read(requirements):
        version = held.get(canonicalize_name(requirement.name))
        if version is None:
            lacking.append(str(requirement))
        elif not requirement.specifier.contains(version, prereleases=True):
            refused.append(f"{requirement} where {requirement.name} {version} is installed")
    cannot = f"What {requirements.name} asks for cannot be added to what is installed here"
    if refused:
        raise UserError(
            f"{cannot}, as nothing that is there is replaced: it asks for {' and for '.join(refused)}; use a newer "
            "runtime, or upgrade that by pip and start the runtime anew."
        )
    if lacking and (reason := _refusal(lacking, held)):
        raise UserError(f"{cannot}: {reason}")


def _read(requirements: Path) -> Iterator[Requirement]:
    """Raises: UserError for a line that is no requirement."""
    for line in requirements.read_text(encoding="utf-8").splitlines():
        if text := line.partition("#")[0].strip():
            try:
                yield Requirement(text)
            except InvalidRequirement as error:
                raise UserError(f"{requirements.name} has a line that names no requirement: {text!r}.") from error


def _refusal(lacking: list[str], held: dict[str, str]) -> str | None:
    """Why pip did not install something beside what is held, or None where it did."""
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "installed.txt"
        constraints.write_text("".join(f"{name}=={version}\n" for name, version in held.items()))
        command = [*PIP, "-c", str(constraints), *lacking]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace"
        )
    return reason(done.stdout) if done.returncode else None


def reason(said: str) -> str:
    """The reason in all that a pip without ``-q`` said before it gave up; its last line is often only a hint.

    Of a conflict the packages that conflict, of an index that was not reached what kept it from being reached, else
    pip's errors.
    """
    lines = [line.strip() for line in said.splitlines() if not line.startswith("[notice]")]
    if "The conflict is caused by:" in lines:
        rest = lines[lines.index("The conflict is caused by:") + 1 :]
        return "; ".join(rest[: rest.index("")] if "" in rest else rest)
    for line in lines:
        if "after connection broken by" in line:
            return f"no package index was reached ({line.partition('after connection broken by ')[2]})"
    errors = [line.partition(" ")[2] for line in lines if line.lower().startswith(("error: ", "× "))]
    errors = [error for error in errors if not error.startswith(("Ignored the following", "ResolutionImpossible"))]
    if not errors or errors == ["Exception:"]:  # a fault of pip's own: its traceback ends with it
        return next((line for line in reversed(lines) if line), "pip gave no reason")
    return "; ".join(errors)
