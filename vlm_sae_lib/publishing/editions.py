"""Editions of the book: the same pages, with the notebooks as another profile ran them.

The published edition shows the notebooks of the checkout. Another one is built from a copy of the book's source in
which they are replaced by the profile's own runs; its pages say so. It is made to be read by others too: pictures whose
terms forbid that are not in it (``withholding``). The copy lies under ``_build``, and neither the notebooks nor the
results of the checkout are touched.
"""

import ast
import html
import shutil
from pathlib import Path
from typing import Any

import yaml
from nbformat import NotebookNode

from vlm_sae_lib import paths
from vlm_sae_lib.errors import UserError
from vlm_sae_lib.files import whole_folder
from vlm_sae_lib.profiles import Profile, load_profile
from vlm_sae_lib.publishing import colab, notebooks, withholding
from vlm_sae_lib.publishing.edition_switch import PUBLISHED
from vlm_sae_lib.terms import terms_of

BOOK = ("_toc.yml", "book")
"""What a copy of the book's source holds beside its configuration and its notebooks."""


def source_folder(edition: str) -> Path:
    """Where the source of an edition lies: the checkout for the published one, else a copy under ``_build``."""
    return paths.root() if edition == PUBLISHED else paths.site().parent / "editions" / edition


def site_folder(edition: str) -> Path:
    """Where the pages of an edition lie: the others within the published one's."""
    return paths.site() if edition == PUBLISHED else paths.site() / edition


def write_source(edition: str) -> Path:
    """Copy the book's source for an edition, with the profile's notebooks in it; return the folder.

    Raises:
        UserError: no such profile; or a notebook was not run under it, or is not fit to be shown.
    """
    profile = load_profile(edition)
    ready = _fit_to_show(profile)
    with whole_folder(source_folder(edition)) as folder:
        for name in BOOK:
            origin = paths.root() / name
            copy = shutil.copytree if origin.is_dir() else shutil.copyfile
            copy(origin, folder / name)
        for name, notebook in ready.items():
            notebooks.write(folder / "notebooks" / f"{name}.ipynb", notebook)
        text = (paths.root() / "_config.yml").read_text(encoding="utf-8")
        configuration = yaml.safe_dump(configured(yaml.safe_load(text), profile), sort_keys=False, allow_unicode=True)
        (folder / "_config.yml").write_text(configuration, encoding="utf-8")
    return source_folder(edition)


def configured(configuration: dict[str, Any], profile: Profile) -> dict[str, Any]:
    """The book's configuration for another edition: its name in the title, and the line that stands on each page."""
    sphinx = configuration.setdefault("sphinx", {}).setdefault("config", {})
    options = sphinx.get("html_theme_options", {}) | {"announcement": announcement(profile)}
    sphinx.update(edition=profile.name, html_theme_options=options)
    return configuration | {"title": f"{configuration['title']} ({profile.name} edition)"}


def announcement(profile: Profile) -> str:
    """The line on every page of an edition, as HTML: what was run on what, what was not, and what is not shown."""
    models = [_short(spec) for spec in (profile.tower, profile.scoring_towers[0][1], profile.vlm)]
    pictures = profile.test_pictures.partition(":")[0]
    terms = terms_of(profile.test_pictures)
    not_shown = "" if terms.may_be_published else " The pictures themselves are not shown, as their terms forbid it."
    return (
        f"<strong>{html.escape(profile.name)} edition</strong>: the notebooks run on {html.escape(', '.join(models))} "
        f"and pictures of {html.escape(pictures)}. All other pages, experiments too: the pocket world."
        f"{not_shown}"
    )


def as_run(source: NotebookNode, executed: NotebookNode, profile: str) -> NotebookNode:
    """A notebook as an edition shows it: a run's outputs that may be published, its profile in the parameters cell.

    What went to stderr is left out, as the book shows none of it: public models come with warnings of their own.

    Raises:
        ValueError: the code differs, or an output does not say what of it may be published.
    """
    shown = withholding.withhold(notebooks.grafted(source, executed))
    for cell in notebooks.code_cells(shown):
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        if "parameters" in notebooks.tags(cell):
            cell.source = _with_profile(cell.source, profile)
    return notebooks.normalised(shown)


def _fit_to_show(profile: Profile) -> dict[str, NotebookNode]:
    ready, faults, repository = {}, [], colab.Repository.read()
    for path in sorted(paths.notebooks().glob("[0-9][0-9]_*.ipynb")):
        run = paths.runs(profile.name) / "notebooks" / path.name
        if not run.exists():
            faults.append(f"{path.stem}: there is no {run}")
            continue
        source = colab.headed(notebooks.read(path), path.stem, repository)
        try:
            ready[path.stem] = as_run(source, notebooks.read(run), profile.name)
            faults += [f"{path.stem}: {problem}" for problem in notebooks.problems(ready[path.stem])]
        except ValueError as error:
            faults.append(f"{path.stem}: {error}")
    if faults or not ready:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise UserError(
            f"The {profile.name} edition cannot be built: {faults[0] if faults else 'there are no notebooks'}{more}; "
            f"run `python -m vlm_sae_lib run --profile {profile.name}` first."
        )
    return ready


def _with_profile(source: str, profile: str) -> str:
    """The parameters cell with another value for ``profile``; all else in it, comments too, stays."""
    lines = source.splitlines(keepends=True)
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign) and [ast.unparse(target) for target in statement.targets] == ["profile"]:
            value = statement.value
            line = lines[value.lineno - 1].encode()
            lines[value.lineno - 1] = (line[: value.col_offset] + f'"{profile}"'.encode()
                                       + line[value.end_col_offset :]).decode()  # fmt: skip
    return "".join(lines)


def _short(spec: str) -> str:
    """A model's name without the library, the owner and the commit: ``clip-vit-base-patch32``."""
    return (spec.rpartition("/")[2] or spec).partition("@")[0]
