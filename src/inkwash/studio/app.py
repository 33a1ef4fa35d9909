"""The page's server: what it answers at which address. The guard stands before all of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from inkwash.core.config import BUILTIN_NAMES
from inkwash.core.errors import ConfigError, InkwashError
from inkwash.core.text import typed
from inkwash.studio.desk import BusyError, Desk
from inkwash.studio.guard import Guard
from inkwash.studio.options import as_words, offered
from inkwash.studio.runs import Shelf, facts, metrics, newest_samples, resuming_words
from inkwash.studio.trainings import MOST, Training, new_folder

_PAGE = Path(__file__).parent / "page"
_TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css"}
_RETRY = {"retry-after": "5"}
_LOOK = 1.0
_DEEPEST = 64
_NO_RUN = Path()
LECTURES = ("forward", "schedules", "predictions", "backward")
"""What can be asked without a run."""


@dataclass
class Studio:
    """What the server knows.

    Args:
        shelf: the runs.
        sources: data to train on beside the built-in sets, by the name that the page shows.
        first: the run that the page opens with.
    """

    shelf: Shelf
    sources: dict[str, str] = field(default_factory=dict)
    first: str | None = None
    desk: Desk = field(default_factory=Desk)
    trainings: dict[str, Training] = field(default_factory=dict)
    plans: list[Training] = field(default_factory=list)

    def app(self, hosts: tuple[str, ...], token: str) -> Guard:
        """The application, for a server that is reached under these hosts."""
        routes = [
            Route("/", _file("index.html")),
            *(Route(f"/{path.name}", _file(path.name)) for path in sorted(_PAGE.glob("*.*s"))),
            Route("/api/start", self.start),
            Route("/api/runs/{run}/watch", self.watch),
            Route("/api/runs/{run}/samples", self.samples),
            Route("/api/runs/{run}/stop", self.stop, methods=["POST"]),
            Route("/api/runs/{run}/resume", self.resume, methods=["POST"]),
            Route("/api/runs/{run}/ask/{question}", self.ask, methods=["POST"]),
            Route("/api/lecture/{question}", self.lecture, methods=["POST"]),
            Route("/api/plan", self.plan, methods=["POST"]),
            Route("/api/train", self.train, methods=["POST"]),
        ]
        errors: dict[Any, Any] = {InkwashError: _refused, _Missing: _missing, BusyError: _busy, ClientDisconnect: _gone}
        return Guard(Starlette(routes=routes, exception_handlers=errors, lifespan=self._lifespan), hosts, token)

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        if self.first is not None:
            await (await self.desk.worker(self._run(self.first))).start()
        yield
        for training in self.trainings.values():
            training.stop()
        await asyncio.gather(*(training.ended() for training in self.trainings.values() if training.runs))
        await self.desk.close()

    def _run(self, name: str) -> Path:
        path = self.shelf.runs().get(name)
        if path is None:
            raise _Missing
        return path

    async def start(self, request: Request) -> Response:
        """All runs, the sources and the options of training."""
        runs = {name: {**facts(path), **self._state(name)} for name, path in self.shelf.runs().items()}
        sources = [*BUILTIN_NAMES, *self.sources]
        return JSONResponse({"runs": runs, "sources": sources, "options": offered(), "first": self.first})

    def _state(self, name: str) -> dict[str, Any]:
        """What is known of a run that the page started."""
        training = self.trainings.get(name)
        if training is None:
            return {"trains": False}
        return {"trains": training.runs, "exit_code": training.exit_code, "lines": list(training.lines)[-12:]}

    async def watch(self, request: Request) -> Response:
        """The learning curve of a run as it grows: server-sent events, until the training ends or the page goes."""
        name = request.path_params["run"]
        new = self.shelf.folder / name if name in self.trainings else None
        path = self.shelf.runs().get(name, new)
        if path is None:
            raise _Missing

        async def events() -> AsyncIterator[bytes]:
            sent = None
            while True:
                state = {**facts(path), **self._state(name)}
                newest = newest_samples(path)
                news = {**state, "samples": newest and newest.name, "metrics": metrics(path)}
                if news != sent:
                    yield _event(news)
                    sent = news
                if not state["trains"]:
                    return
                await asyncio.sleep(_LOOK)

        return StreamingResponse(events(), media_type="text/event-stream")

    async def samples(self, request: Request) -> Response:
        """The newest samples that were made while the run trained."""
        path = newest_samples(self._run(request.path_params["run"]))
        if path is None:
            raise _Missing
        return FileResponse(path, media_type="image/png")

    async def ask(self, request: Request) -> Response:
        """The parts of an answer of the run's model, as server-sent events."""
        return await self._answer(self._run(request.path_params["run"]), request)

    async def lecture(self, request: Request) -> Response:
        """The parts of an answer that is about no run."""
        if request.path_params["question"] not in LECTURES:
            raise _Missing
        return await self._answer(_NO_RUN, request)

    async def _answer(self, path: Path, request: Request) -> Response:
        options = await _body(request)
        parts = (await self.desk.worker(path)).ask(request.path_params["question"], options)
        first = await anext(parts)  # a full queue is said before the answer begins

        async def events() -> AsyncIterator[bytes]:
            try:
                yield _event(first)
                async for part in parts:
                    yield _event(part)
            finally:
                await parts.aclose()

        return StreamingResponse(events(), media_type="text/event-stream")

    async def plan(self, request: Request) -> Response:
        """What training would make of a source and options, as `inkwash inspect` says it."""
        source, words = self._asked(await _body(request))
        if len(self.plans) >= MOST:
            raise BusyError
        training = Training(["inspect", source, *words])
        self.plans.append(training)
        try:
            await training.start()
            code = await training.ended()
        finally:
            training.stop()
            self.plans.remove(training)
        return JSONResponse({"exit_code": code, "lines": list(training.lines)}, 200 if code == 0 else 422)

    async def train(self, request: Request) -> Response:
        """Start a training."""
        asked = await _body(request)
        source, words = self._asked(asked)
        name = asked.get("name")
        path = new_folder(self.shelf.folder, name if isinstance(name, str) else "")
        if path.exists():
            raise ConfigError("name", path.name, "a name that no run has")
        return await self._begin(path.name, ["train", source, "--out", str(path), *words])

    async def resume(self, request: Request) -> Response:
        """Go on with a training that was stopped."""
        name = request.path_params["run"]
        words = resuming_words(self._run(name))
        if words is None:
            raise _Missing
        return await self._begin(name, words)

    async def _begin(self, name: str, words: list[str]) -> Response:
        if sum(training.runs for training in self.trainings.values()) >= MOST:
            raise BusyError
        if name in self.trainings and self.trainings[name].runs:
            raise ConfigError("name", name, "a run that is not in training already")
        self.trainings[name] = Training(words)
        await self.trainings[name].start()
        return JSONResponse({"name": name, "command": typed(*words)}, 202)

    async def stop(self, request: Request) -> Response:
        """Have a training save and end."""
        training = self.trainings.get(request.path_params["run"])
        if training is None:
            raise _Missing
        training.stop()
        return JSONResponse({"stopping": True}, 202)

    def _asked(self, asked: dict[str, Any]) -> tuple[str, list[str]]:
        """The source and the words of the options of a training."""
        source, options = asked.get("source"), asked.get("options", {})
        if source not in (*BUILTIN_NAMES, *self.sources):
            raise ConfigError("source", repr(source), "one of the sources that the page lists")
        if not isinstance(options, dict) or not all(isinstance(value, str) for value in options.values()):
            raise ConfigError("options", repr(options), "text by the name of an option")
        return self.sources.get(source, source), as_words(options)


class _Missing(Exception):
    """There is no such thing."""


def _file(name: str) -> Callable[[Request], Awaitable[Response]]:
    path = _PAGE / name

    async def answer(request: Request) -> Response:
        return FileResponse(path, media_type=_TYPES[path.suffix])

    return answer


async def _body(request: Request) -> dict[str, Any]:
    """The JSON object in the body of a request.

    Raises:
        ConfigError: something else is there.
    """
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise ConfigError("content-type", repr(request.headers.get("content-type")), "application/json")
    try:
        plain = json.loads(await request.body())
    except (ValueError, RecursionError):
        raise ConfigError("body", "no JSON", "a JSON object") from None
    if not isinstance(plain, dict) or _depth(plain) > _DEEPEST:
        raise ConfigError("body", "something else", "a JSON object, which is not nested deeply")
    return plain


def _depth(plain: Any) -> int:
    """How deeply plain data is nested, as far as that is allowed."""
    level, depth = [plain], 0
    while level and depth <= _DEEPEST:
        inner = [each for each in level if isinstance(each, dict | list)]
        level = [item for each in inner for item in (each.values() if isinstance(each, dict) else each)]
        depth += 1
    return depth


def _event(plain: Any) -> bytes:
    return b"data: " + json.dumps(plain).encode() + b"\n\n"


async def _refused(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 422)


async def _missing(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "there is no such thing"}, 404)


async def _busy(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "busy: too much waits already; try again in a few seconds"}, 429, _RETRY)


async def _gone(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "body: cut short"}, 400)
