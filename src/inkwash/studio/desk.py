"""Who answers: a worker process for each run that is asked about, started when it is first needed.

A worker answers one question at a time; a few more may wait. When nobody waits for an answer any more, its worker is
told to stop, and killed if it does not.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio import StreamReader, StreamWriter
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, cast

MOST_WORKERS, MOST_WAITING = 3, 4
PATIENCE = 300.0
"""Seconds that an answer may take."""
GRACE = 5.0
"""Seconds that a worker has to drop an answer."""
COMMAND = (sys.executable, "-m", "inkwash.studio.worker")
_LINE = 64 << 20
_LARGE = f"the answer has more than {_LINE >> 20} MB in one part; need fewer or smaller examples, or the command"
_CRASHED = "the worker ended without an answer; it starts again with the next question"


class BusyError(Exception):
    """Too many questions wait already."""


class Worker:
    """A process that answers questions about one run.

    Args:
        run: the folder of the run.
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        self.process: Process | None = None
        self.turn = asyncio.Lock()
        self.waiting = 0
        self.stopping: asyncio.Task[None] | None = None

    async def start(self) -> Process:
        """The process, which is started unless it lives."""
        if self.process is None or self.process.returncode is not None:
            self.process = await asyncio.create_subprocess_exec(
                *COMMAND, str(self.run), stdin=PIPE, stdout=PIPE, limit=_LINE, start_new_session=True
            )
        return self.process

    async def ask(self, name: str, options: Any) -> AsyncGenerator[dict[str, Any], None]:
        """The parts of the answer to a question. The first says at once how many questions are `before` it, and the
        last one has an `end`.

        Raises:
            BusyError: too many questions wait.
        """
        if self.waiting >= MOST_WAITING:
            raise BusyError
        self.waiting += 1
        try:
            yield {"before": self.waiting - 1}
            async with self.turn, aclosing(self._answer({"ask": name, "options": options})) as parts:
                async for part in parts:
                    yield part
        finally:
            self.waiting -= 1

    async def _answer(self, asked: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        if self.stopping is not None:
            await self.stopping
        process, part = await self.start(), {}
        latest = asyncio.get_running_loop().time() + PATIENCE
        try:
            cast(StreamWriter, process.stdin).write(json.dumps(asked).encode() + b"\n")
            while "end" not in part:
                async with asyncio.timeout_at(latest):  # it holds no `yield`, after which the task may be another
                    part = await _next_part(process)
                yield part
        except TimeoutError:
            yield {"end": "refused", "error": f"time: got no answer in {PATIENCE:g} s, need a smaller question"}
        finally:
            if "end" not in part:  # a task of its own, since the one that asked may be cancelled
                self.stopping = asyncio.create_task(self._cancel(process))

    async def _cancel(self, process: Process) -> None:
        """Have the process drop its answer, or end it."""
        if process.returncode is not None:
            return
        process.send_signal(signal.SIGINT)
        try:
            async with asyncio.timeout(GRACE):
                while "end" not in await _next_part(process):
                    pass
        except TimeoutError:
            await self.close()

    async def close(self) -> None:
        """End the process."""
        if self.process is not None and self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()


async def _next_part(process: Process) -> dict[str, Any]:
    """The next part of an answer; if the process is gone, one that says so."""
    try:
        line = await cast(StreamReader, process.stdout).readline()
    except ValueError:
        process.kill()
        return {"end": "failed", "error": _LARGE}
    if not line.endswith(b"\n"):
        await process.wait()
        return {"end": "failed", "error": _CRASHED}
    part: dict[str, Any] = json.loads(line)
    return part


class Desk:
    """The workers of the runs that were asked about last."""

    def __init__(self) -> None:
        self.workers: dict[Path, Worker] = {}

    async def worker(self, run: Path) -> Worker:
        """The worker of a run. The one that has been idle longest makes room.

        Raises:
            BusyError: all of them are at work.
        """
        if run not in self.workers:
            idle = [each for each in self.workers.values() if not each.waiting]
            if len(self.workers) >= MOST_WORKERS:
                if not idle:
                    raise BusyError
                await self.workers.pop(idle[0].run).close()
            self.workers[run] = Worker(run)
        self.workers[run] = self.workers.pop(run)
        return self.workers[run]

    async def close(self) -> None:
        """End all workers."""
        for worker in self.workers.values():
            await worker.close()
