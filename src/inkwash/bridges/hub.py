"""`push`: a run to the Hugging Face Hub, as a repository that `inkwash.load("hf:OWNER/NAME")` reads.

The repository is a run without what only training needs: the newest checkpoint with the averaged weights, in JSON and
safetensors, beside a model card (Mitchell et al. 2019, arXiv:1810.03993).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from inkwash.core import storage
from inkwash.core.errors import ConfigError
from inkwash.core.options import to_json
from inkwash.core.resolved import AnyResolvedConfig
from inkwash.core.text import visible
from inkwash.core.version import __version__
from inkwash.data.hub import HUB
from inkwash.evaluation.report import describe_run
from inkwash.training.checkpoint import save_checkpoint
from inkwash.training.remote import asking, repository_of
from inkwash.training.run import Header, Run, StrPath, load, read_average
from inkwash.training.summary import Summary

_KEPT = ("split.safetensors", "summary.json")
_FIGURED = "evaluation/evaluation.json"
_FIGURES = ("bound", "overfitting", "log_density", "importance", "two_sample")
"""The parts of an evaluation whose numbers stand on the card; its JSON has all of them."""


def push(run: StrPath, name: str, *, private: bool = False) -> str:
    """Upload a run, and return the name by which this very upload is loaded: `hf:OWNER/NAME@COMMIT`.

    A repository that is there gets a new commit. Of the path of the data, and of those of its labels and conditions,
    only the last part is uploaded. The names of columns, categories and classes, and the smallest and largest numbers,
    are part of every run; pictures of an evaluation show examples of the data.

    Args:
        run: folder of a run or checkpoint.
        name: OWNER/NAME, with or without `hf:` before it.
        private: whether a new repository is private.

    Raises:
        ConfigError: no token, or a revision in the name.
        CheckpointError: no run; or the Hub refuses.
        DataError: the package `huggingface_hub` is not installed.
    """
    repository, revision = repository_of(name)
    if revision is not None:
        raise ConfigError("name", name, "OWNER/NAME: every upload is a new revision")
    header, weights = read_average(run)
    with tempfile.TemporaryDirectory(prefix="inkwash-") as made, asking(HUB + repository) as hub:
        if hub.get_token() is None:
            raise ConfigError("token", "none", "hf auth login, or a token that may write in HF_TOKEN")
        folder, message = Path(made), f"inkwash {__version__}, step {header.step}"
        write_repository(folder, repository, Run(run), header, weights)
        hub.create_repo(repository, exist_ok=True, private=private or None)
        commit = hub.upload_folder(
            repo_id=repository,
            folder_path=folder,
            commit_message=message,
            delete_patterns=["checkpoints/*", "evaluation/*"],
        )
    return f"{HUB}{repository}@{commit.oid}"


def write_repository(folder: Path, repository: str, run: Run, header: Header, weights: dict[str, Any]) -> None:
    """Write what the repository shall hold into a folder."""
    header = replace(header, config=_without_folders(header.config))
    save_checkpoint(folder / "checkpoints", header.step, to_json(header), {"average": weights})
    pictures = _pictures(run)
    for name in (*_KEPT, *pictures):
        if (run.path / name).exists():
            storage.make_folder((folder / name).parent)
            storage.write(folder / name, (run.path / name).read_bytes())
    if (run.path / _FIGURED).exists():  # not the report, which holds the options, commands and paths as they were
        found = storage.parse_json((run.path / _FIGURED).read_bytes(), str(run.path / _FIGURED))
        storage.make_folder((folder / _FIGURED).parent)
        storage.write(folder / _FIGURED, storage.dump_json({**found, "data": header.config.source}))
    storage.write(folder / "config.json", storage.dump_json(to_json(header.config)))
    storage.write(folder / "README.md", card(repository, run, header, pictures).encode())


def _without_folders(config: AnyResolvedConfig) -> AnyResolvedConfig:
    """Options in which no path says where on this machine a file lies."""
    files = {name: getattr(config.data, name) for name in ("labels", "condition", "lengths")}
    beside: dict[str, Any] = {
        name: Path(file).name for name, file in files.items() if file and Path(file).is_absolute()
    }
    source = config.source if config.source.startswith(HUB) else Path(config.source).name
    return replace(config, source=source, data=replace(config.data, **beside))


def _pictures(run: Run) -> list[str]:
    """The pictures of the evaluation, or else those of the run: its samples and its curve."""
    found = sorted(run.path.glob("evaluation/*.png")) or sorted(run.path.glob("*.png"), reverse=True)
    return [str(path.relative_to(run.path)) for path in found]


def card(repository: str, run: Run, header: Header, pictures: list[str]) -> str:
    """The model card, in Markdown."""
    about = describe_run(header, load(run.path))
    kind = ["pipeline_tag: unconditional-image-generation"] if header.transform.spec.is_image else []
    return "\n".join(
        [
            "---",
            "library_name: inkwash",
            "tags: [inkwash, diffusion, safetensors]",
            *kind,
            "---",
            "",
            f"# {repository.partition('/')[2]}",
            "",
            "A generative model that inkwash has trained: a distribution to sample, evaluate and condition.",
            "",
            "```python",
            "import inkwash as iw  # pip install 'inkwash[hub]'",
            "",
            f'model = iw.load("{HUB}{repository}")  # JSON and safetensors: no code of this repository is run',
            "x = model.sample(16, seed=0)",
            "```",
            "",
            "## What it is",
            "",
            *_table(("", ""), about.items()),
            "",
            *_evaluation(run),
            *(f"![{name}]({name})" for name in pictures),
            "",
        ]
    )


def _evaluation(run: Run) -> Iterator[str]:
    """The figures of the last evaluation, or else of the summary of training."""
    file, summary = run.path / "evaluation" / "evaluation.json", run.path / "summary.json"
    if file.exists():
        found = storage.parse_json(file.read_bytes(), str(file))
        yield from ("## Evaluation", "", f"By `inkwash evaluate`, at step {found['step']}.", "")
        figures = ((f"{part}{name}", f"{value:.6g}") for part in _FIGURES for name, value in _numbers(found[part]))
        yield from (*_table(("figure", "value"), figures), "")
        yield from (f"- Warning: {_cell(text)}" for text in found["warnings"])
    elif summary.exists():
        yield from ("## Evaluation", "", "```text", *Summary.read(summary).lines(), "```")
    yield ""


def _numbers(plain: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """The numbers within plain data, by the names that lead to them."""
    if isinstance(plain, dict):
        for key, value in plain.items():
            yield from _numbers(value, f"{name}, {key.replace('_', ' ')}")
    elif isinstance(plain, float):
        yield name, plain


def _table(head: tuple[str, str], rows: Any) -> list[str]:
    """A table in Markdown, in which the content of cells is text."""
    cells = [head, ("---", "---"), *((_cell(a), _cell(b)) for a, b in rows)]
    return [f"| {a} | {b} |" for a, b in cells]


def _cell(text: str) -> str:
    """Text of the data or of a file, in which nothing is markup."""
    escaped = visible(text.replace("\n", " "))
    for mark in "\\|`<>[]*_":
        escaped = escaped.replace(mark, f"\\{mark}")
    return escaped
