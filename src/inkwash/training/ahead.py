"""Work for the next step that is done in a thread while this step is computed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class Ahead(Generic[T]):
    """Calls a function of the step in a thread, one step ahead; leaving its context ends the thread.

    The function may depend on nothing that a step changes, because it runs before the step does.

    Args:
        work: the function, of the number of steps done.
        last: the number of steps before which it stops.
    """

    def __init__(self, work: Callable[[int], T], last: int) -> None:
        self.work, self.last = work, last
        self._pool = ThreadPoolExecutor(1, "ahead")
        self._next: tuple[int, Future[T]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def take(self, step: int) -> T:
        """The result for a step; what the function raised there is raised here."""
        now = self._next[1] if self._next and self._next[0] == step else self._pool.submit(self.work, step)
        self._next = (step + 1, self._pool.submit(self.work, step + 1)) if step + 1 < self.last else None
        return now.result()
