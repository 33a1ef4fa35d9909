"""Work that the processes which were started together divide among them; each of them gets all results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from inkwash.core.display import Display
from inkwash.core.machine import accelerator, require_memory
from inkwash.core.progress import tracked
from inkwash.core.randomness import Slots
from inkwash.core.shapes import event_size
from inkwash.model.latent_model import LatentProduct
from inkwash.model.model import Model
from inkwash.model.options import WalkOptions
from inkwash.model.product import Product
from inkwash.model.walking import SAMPLE_BYTES
from inkwash.model.watch import Film, draw

if TYPE_CHECKING:
    from accelerate import Accelerator


def results_of(
    tasks: Sequence[Callable[[], Any]], place: Accelerator | None = None, weights: Sequence[float] | None = None
) -> list[Any]:
    """The results of tasks, which are dealt out in order: each process does every so-manieth of them.

    Args:
        tasks: the same in every process, and none of them waits for another process.
        place: this process; by default its place among those that were started with it.
        weights: how long each task takes beside the others, for progress; by default all take equally long.
    """
    from accelerate.utils import gather_object

    place = place or accelerator()
    mine = range(place.process_index, len(tasks), place.num_processes)
    each = None if weights is None else [weights[k] for k in mine]
    found = dict(gather_object([(k, tasks[k]()) for k in tracked(mine, each)]))
    return [found[k] for k in range(len(tasks))]


def draw_in_shares(
    model: Model | Product | LatentProduct,
    n: int,
    display: Display,
    film: Film | None = None,
    *,
    place: Accelerator | None = None,
    seed: int | None = None,
    **options: Unpack[WalkOptions],
) -> Any:
    """`n` samples, whose slots are divided among the processes, bit for bit those that a single process would make.

    Args:
        model: what is sampled: a model, or a product of one.
        n: how many samples.
        display: where to show progress.
        film: records the first slot.
        place: this process; by default its place among those that were started with it.
        seed: of the samples; several processes need one.
        options: the condition and the walk.
    """
    from accelerate.utils import gather_object

    place, source = place or accelerator(), model.model if isinstance(model, Product | LatentProduct) else model
    require_memory("n", n, SAMPLE_BYTES * event_size(source.shape))
    source.condition.inputs(n, options.get("label"), options.get("given"))  # refuses a bad condition in every process
    rows = Slots(source.shape, source.device).rows
    slots, index, count = -(-n // rows), place.process_index, place.num_processes
    first, end = (min(rows * -(-slots * i // count), n) for i in (index, index + 1))
    _cut(source, options, slice(first, end))
    film = film if place.is_main_process else None
    share = [draw(model, end - first, display, film, first=first, seed=seed, **options)] if end > first else []
    return np.concatenate(gather_object(share))


def _cut(model: Model, options: WalkOptions, mine: slice) -> None:
    """Leave only the conditions of some examples where there is one for each."""
    label, given, present, spec = options.get("label"), options.get("given"), options.get("present"), model.condition
    if label is not None and np.ndim(label):
        options["label"] = np.asarray(label)[mine]
    if given is not None and spec.given is not None and np.ndim(given) > len(spec.given.spec.data_shape):
        options["given"] = given[mine]
    if present is not None:
        options["present"] = present[mine]
