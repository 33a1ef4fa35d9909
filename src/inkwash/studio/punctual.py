"""Connections that keep no one waiting: one is cut if its request does not become whole, or its answer is not read.

A slow client would otherwise hold a connection, and a worker that has more to say, for as long as it likes.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

LATE = 10.0
"""Seconds for a request to become whole, and for a client to read on."""


class Punctual(H11Protocol):
    """A connection of the server, which has no such limits of its own and is extended by what it calls."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._deadlines: dict[str, asyncio.TimerHandle] = {}
        self._expect("request")

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
            self._expect("request")
        else:
            self._met("request")

    def pause_writing(self) -> None:
        super().pause_writing()
        self._expect("reader")

    def resume_writing(self) -> None:
        super().resume_writing()
        self._met("reader")

    def connection_lost(self, exc: Exception | None) -> None:
        for name in list(self._deadlines):
            self._met(name)
        super().connection_lost(exc)

    def _expect(self, name: str) -> None:
        """Cut the connection unless the deadline of this name is met; one that runs already is kept."""
        if name not in self._deadlines:
            self._deadlines[name] = self.loop.call_later(LATE, self.transport.abort)

    def _met(self, name: str) -> None:
        if (deadline := self._deadlines.pop(name, None)) is not None:
            deadline.cancel()
