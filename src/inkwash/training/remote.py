"""Runs on the Hugging Face Hub, by name: `hf:OWNER/NAME` or `hf:OWNER/NAME@REVISION` in the place of a folder.

Only JSON and safetensors are fetched, into the cache of `huggingface_hub`, and they are read as any run is: every byte
is checked against the manifest, and nothing is executed. inkwash does not connect to the Hub unless a name begins with
`hf:`.
"""

import functools
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from inkwash.core.display import Display
from inkwash.core.errors import CheckpointError, InkwashError
from inkwash.data.hub import HUB
from inkwash.data.raw import require_extra, short
from inkwash.training.checkpoint import list_checkpoints

_FILES = (
    "config.json",
    "split.safetensors",
    "summary.json",
    *(f"checkpoints/step-*/{name}" for name in ("header.json", "manifest.json", "average.safetensors")),
)
_REPOSITORY = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"
_TROUBLES = {
    "GatedRepoError": ("a repository with terms", "a token of someone who accepted them: hf auth login"),
    "RepositoryNotFoundError": ("no such repository", "one that is there; if it is private, hf auth login first"),
    "RevisionNotFoundError": ("no such revision", "a branch, a tag or a commit of the repository"),
    "LocalEntryNotFoundError": ("no answer from the Hub", "a connection, or a run that was fetched before"),
    "OfflineModeIsEnabled": ("offline mode, and no such run fetched before", "HF_HUB_OFFLINE to be unset"),
}


class NoRunError(CheckpointError):
    """A name for which the Hub has no run."""


def is_remote(run: str | os.PathLike[str]) -> bool:
    """Whether a run is named by its place on the Hub."""
    return os.fspath(run).startswith(HUB)


def located(run: str | os.PathLike[str]) -> Path:
    """The folder of a run: where it is, or where it is fetched to, if it is on the Hub. The commit is printed.

    A name stands for one commit as long as the program runs; with a revision it does so for good.

    Raises:
        CheckpointError: no such repository or revision, no connection, or no run in it.
        DataError: the package `huggingface_hub` is not installed.
    """
    return _fetched(os.fspath(run)) if is_remote(run) else Path(run)


def names_run(name: str) -> bool:
    """Whether a name, which may be that of a data set too, stands for a run on the Hub: only runs have revisions, and
    without one a run goes before a data set. What was fetched before is not asked for again.

    Raises:
        CheckpointError: no connection, or a repository that may not be read.
        DataError: the package `huggingface_hub` is not installed.
    """
    if not is_remote(name) or "@" in name or not re.fullmatch(_REPOSITORY, name.removeprefix(HUB)):
        return is_remote(name) and "@" in name
    try:
        located(name)
    except NoRunError:
        return False
    return True


def repository_of(name: str) -> tuple[str, str | None]:
    """The repository and the revision, if there is one, that a name such as `hf:OWNER/NAME@REVISION` has.

    Raises:
        CheckpointError: another form.
    """
    repository, mark, revision = name.removeprefix(HUB).partition("@")
    if not re.fullmatch(_REPOSITORY, repository) or bool(mark) != bool(revision):
        raise CheckpointError(name, "no name of a repository", "hf:OWNER/NAME or hf:OWNER/NAME@REVISION")
    return repository, revision or None


@functools.cache
def _fetched(name: str) -> Path:
    repository, revision = repository_of(name)
    with asking(name) as hub:
        folder = Path(hub.snapshot_download(repository, revision=revision, allow_patterns=_FILES))
    if not list_checkpoints(folder / "checkpoints"):
        raise NoRunError(name, "a repository without checkpoints", "a run, as inkwash push uploads it")
    Display().say(f"fetched   {HUB}{repository}@{folder.name} → {folder}")
    return folder


@contextmanager
def asking(name: str) -> Iterator[Any]:
    """The package `huggingface_hub`, without its bars; what goes wrong with it becomes one line about `name`.

    Raises:
        CheckpointError: whatever the Hub or the connection raises.
        MissingPackageError: the package is not installed.
    """
    hub = require_extra("huggingface_hub", "hub", name)
    bars = import_module("huggingface_hub.utils")
    shown = not bars.are_progress_bars_disabled()
    bars.disable_progress_bars()
    try:
        yield hub
    except InkwashError:
        raise
    except Exception as error:  # the network, the Hub and its files raise more kinds than a list could name
        kinds = [kind.__name__ for kind in type(error).__mro__]
        raised = NoRunError if "RepositoryNotFoundError" in kinds and "GatedRepoError" not in kinds else CheckpointError
        usual = (f"a failure ({short(error)})", "a connection, and a repository that you may use")
        raise raised(name, *next((_TROUBLES[kind] for kind in kinds if kind in _TROUBLES), usual)) from None
    finally:
        if shown:
            bars.enable_progress_bars()
