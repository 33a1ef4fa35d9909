"""Slow clients, and clients that go: the server answers others meanwhile, and gives back what they held."""

import asyncio
import json
import os
import socket
import threading
import time
from contextlib import contextmanager

import psutil
import pytest
import uvicorn
from bugs import bug
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse

from inkwash.studio import guard, punctual
from inkwash.studio.guard import Guard
from inkwash.studio.punctual import Punctual

TOKEN = "secret"
PART = b"data: " + b"x" * (1 << 16) + b"\n\n"


class Answers:
    """An application with a light answer, one that reads a body, and one that has ever more to say."""

    def __init__(self):
        self.speaking = 0

    async def __call__(self, scope, receive, send):
        answer = {"/": self.light, "/api/body": self.body, "/api/stream": self.stream}[scope["path"]]
        await (await answer(Request(scope, receive)))(scope, receive, send)

    async def light(self, request):
        return JSONResponse({"light": True})

    async def body(self, request):
        return JSONResponse({"bytes": len(await request.body())})

    async def stream(self, request):
        async def parts():
            self.speaking += 1
            try:
                while True:
                    yield PART
                    await asyncio.sleep(0)
            finally:
                self.speaking -= 1

        return StreamingResponse(parts())


@contextmanager
def served():
    """The host of a server of these answers, in a thread of its own."""
    answers = Answers()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = "{}:{}".format(*listener.getsockname())
        app = Guard(answers, {host}, TOKEN)
        settings = {"log_config": None, "lifespan": "off", "timeout_graceful_shutdown": 1, "limit_concurrency": 500}
        server = uvicorn.Server(uvicorn.Config(app, http=Punctual, ws="none", **settings))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            waited(lambda: server.started, "the server")
            yield host, answers
        finally:
            server.should_exit = True
            thread.join()


def waited(condition, words, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, words
        time.sleep(0.02)


def connected(host):
    name, port = host.split(":")
    return socket.create_connection((name, int(port)), timeout=10)


def head(host, path, *more):
    lines = (f"POST {path} HTTP/1.1", f"Host: {host}", f"X-Token: {TOKEN}", *more, "", "")
    return "\r\n".join(lines).encode()


def light(host):
    """The status of the light answer."""
    with connected(host) as client:
        client.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        return int(client.makefile("rb").readline().split()[1])


def is_cut(client):
    """Whether the server has closed the connection."""
    try:
        return client.recv(1 << 16) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def handles():
    return psutil.Process(os.getpid()).num_fds()


def no_headers(host):
    """A client that sends its headers a byte at a time, and never the last one."""
    client = connected(host)

    def drip():
        try:
            for byte in head(host, "/api/body")[:-1] * 100:
                client.send(bytes([byte]))
                time.sleep(0.02)
        except OSError:
            pass

    threading.Thread(target=drip, daemon=True).start()
    return client


def no_body(host):
    """A client that promises a body and sends a part of it."""
    client = connected(host)
    client.sendall(head(host, "/api/body", "Content-Length: 1000") + b"x" * 10)
    return client


@bug("deadlines are forgotten", Punctual, "_expect", lambda self, name: None, begin=no_body)
@pytest.mark.parametrize("begin", [connected, no_headers, no_body], ids=["idle", "headers", "body"])
def test_a_request_that_does_not_become_whole_is_cut(begin, monkeypatch):
    monkeypatch.setattr(punctual, "LATE", 0.5)
    with served() as (host, _), begin(host) as client:
        assert light(host) == 200
        client.settimeout(3)
        assert is_cut(client)
        assert light(host) == 200


def test_a_hundred_idle_connections_leave_room_and_are_given_back(monkeypatch):
    monkeypatch.setattr(punctual, "LATE", 1.0)
    with served() as (host, _):
        light(host)
        before, clients = handles(), [connected(host) for _ in range(100)]
        assert light(host) == 200
        assert handles() >= before + 100
        assert all(is_cut(client) for client in clients)
        for client in clients:
            client.close()
        waited(lambda: handles() <= before + 2, "the handles of idle connections")


@bug("a reader may pause for ever", Punctual, "pause_writing", lambda self: self.flow.pause_writing())
def test_an_answer_that_is_not_read_is_dropped(monkeypatch):
    monkeypatch.setattr(punctual, "LATE", 0.5)
    with served() as (host, answers), connected(host) as client:
        client.sendall(head(host, "/api/stream", "Content-Length: 0"))
        waited(lambda: answers.speaking == 1, "an answer")
        assert light(host) == 200
        waited(lambda: answers.speaking == 0, "the end of an answer that nobody reads", 5)


def test_an_answer_whose_reader_goes_is_dropped():
    with served() as (host, answers):
        with connected(host) as client:
            client.sendall(head(host, "/api/stream", "Content-Length: 0"))
            client.recv(1 << 16)
        waited(lambda: answers.speaking == 0, "the end of an answer whose reader is gone")


def test_beyond_the_most_open_requests_one_is_told_to_come_back(monkeypatch):
    monkeypatch.setattr(guard, "MOST_OPEN", 2)
    with served() as (host, _):
        waiting = [no_body(host) for _ in range(2)]
        waited(lambda: light(host) == 503, "a full server")
        with connected(host) as client:
            client.sendall(head(host, "/api/body", "Content-Length: 0", "Connection: close"))
            found, _, body = client.makefile("rb").read().partition(b"\r\n\r\n")
        assert b"retry-after: 1" in found
        assert json.loads(body)["error"].startswith("busy")
        for client in waiting:
            client.close()
        waited(lambda: light(host) == 200, "room")
