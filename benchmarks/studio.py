"""Measure the studio: how soon the first sample is there, how light routes answer meanwhile, and what odd requests do.

    python benchmarks/studio.py runs/digits --requests 10000

The server runs in a process of its own on loopback. Odd requests have methods, paths, headers, bodies and options drawn
from a seed; none of them may end in an answer of 500, or end the server. The page has its weight as it is sent.
"""

import argparse
import http.client
import json
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import psutil

import inkwash

PAGE = Path(inkwash.__file__).parent / "studio/page"
QUESTIONS = ("about", "examples", "walk", "inpaint", "interpolate", "relatives", "likelihood", "fill", "forecast", "x")
VALUES = (0, -1, 1, 10**30, 1.5, True, None, "", "0", "a" * 300, [], {}, [[1]], {"steps": 10**9}, "../../etc", "\x00")
NAMES = ("n", "seed", "walk", "example", "hidden", "a", "b", "t", "cells", "first", "terms", "horizon", "method", "zz")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a run")
    parser.add_argument("--requests", type=int, default=10_000, help="how many odd requests")
    parser.add_argument("--seed", type=int, default=0, help="of the odd requests")
    options = parser.parse_args()
    started = time.perf_counter()
    words = [sys.executable, "-u", "-m", "inkwash", "studio", str(options.run), "--port", "0"]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        found = re.search(r"http://([^/]+)/#(\S+)", server.stdout.readline())
        client = Client(found[1], found[2])
        result = {"page_bytes": sum(path.stat().st_size for path in PAGE.iterdir())}
        result["seconds_to_the_address"] = time.perf_counter() - started
        client.ask(options.run.name, "walk", {"n": 16, "walk": {"steps": 50}})
        result["seconds_to_the_first_sample"] = time.perf_counter() - started
        result |= light_while_sampling(client, options.run.name)
        memory = psutil.Process(server.pid)
        odd(client, options.run.name, min(options.requests, 500), options.seed + 1)
        before = memory.memory_info().rss
        result |= odd(client, options.run.name, options.requests, options.seed)
        result["megabytes_grown"] = (memory.memory_info().rss - before) / 1e6
        print(json.dumps(result, indent=1))
    finally:
        server.terminate()
        server.wait(60)


class Client:
    """Requests of the studio's page.

    Args:
        host: where the server listens.
        token: of the page.
    """

    def __init__(self, host: str, token: str) -> None:
        self.host, self.token = host, token

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        """The status and the body of an answer."""
        connection = http.client.HTTPConnection(self.host, timeout=300)
        try:
            usual = {"X-Token": self.token, "Content-Type": "application/json"}
            connection.request(method, path, body, {**usual, **headers})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def ask(self, run: str, question: str, options: dict) -> list[dict]:
        """The parts of an answer."""
        _, body = self.request("POST", f"/api/runs/{run}/ask/{question}", json.dumps(options).encode())
        return [json.loads(part[6:]) for part in body.decode().split("\n\n") if part]


def light_while_sampling(client: Client, run: str) -> dict[str, float]:
    """Milliseconds until a light route has answered while a sample is drawn: the median, and the longest of 50."""
    connection = http.client.HTTPConnection(client.host, timeout=300)
    headers = {"X-Token": client.token, "Content-Type": "application/json"}
    body = json.dumps({"n": 64, "walk": {"steps": 1000}}).encode()
    connection.request("POST", f"/api/runs/{run}/ask/walk", body, headers)
    connection.getresponse()
    taken = []
    for _ in range(50):
        began = time.perf_counter()
        client.request("GET", "/studio.js")
        taken.append(1000 * (time.perf_counter() - began))
        time.sleep(0.05)
    connection.close()
    return {"light_ms_median": sorted(taken)[25], "light_ms_longest": max(taken)}


def odd(client: Client, run: str, count: int, seed: int) -> dict[str, object]:
    """Send odd requests; how many there were, and their statuses."""
    rng, statuses = random.Random(seed), {}
    for _ in range(count):
        method, path, body, headers = odd_request(rng, run)
        try:
            status = client.request(method, path, body, **headers)[0]
        except http.client.HTTPException as error:
            status = type(error).__name__
        statuses[status] = statuses.get(status, 0) + 1
    return {"odd_requests": count, "statuses": {str(status): n for status, n in sorted(statuses.items(), key=str)}}


def odd_request(rng: random.Random, run: str) -> tuple[str, str, bytes | None, dict[str, str]]:
    """A request with something wrong in most of its parts."""
    names = (run, "..", "%2e%2e", "%2Fetc", "a" * 200, "%00", "x")
    paths = (
        f"/api/runs/{rng.choice(names)}/ask/{rng.choice(QUESTIONS)}",
        f"/api/runs/{rng.choice(names)}/{rng.choice(('watch', 'samples', 'stop', 'resume', 'x'))}",
        "/api/start",
        "/api/train",
        f"/{rng.choice(names)}",
        "/studio.js",
    )
    options = {rng.choice(NAMES): rng.choice(VALUES) for _ in range(rng.randrange(4))}
    asked = rng.choice((options, options, [], 1, None, {"source": rng.choice(VALUES), "options": options}))
    body = json.dumps(asked).encode()
    body = rng.choice((body, body, body, body[:-1], b"[" * 2000, b"\xff\xfe", b""))
    headers = rng.choice(
        (
            {},
            {},
            {},
            {"X-Token": "x"},
            {"Host": "elsewhere"},
            {"Origin": "http://elsewhere"},
            {"Content-Type": "text/plain"},
        )
    )
    return rng.choice(("POST", "POST", "POST", "GET", "PUT", "DELETE", "OPTIONS")), rng.choice(paths), body, headers


if __name__ == "__main__":
    main()
