"""Only the studio's own page is answered, and no answer lets a page do more than the studio's own scripts."""

import asyncio
import json

import pytest
from bugs import bug
from starlette.responses import JSONResponse

from inkwash.studio import guard
from inkwash.studio.guard import MOST_BYTES, Guard

HOST, TOKEN = "127.0.0.1:8765", "secret"


async def _app(scope, receive, send):
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return await JSONResponse({"cut": True}, 400)(scope, receive, send)
        body, more = body + message.get("body", b""), message.get("more_body", False)
    await JSONResponse({"bytes": len(body)})(scope, receive, send)


def asked(path="/api/start", body=(b"",), **headers):
    """Status, headers and JSON of the answer to a request."""
    found = {"host": HOST, "x-token": TOKEN, **{name.replace("_", "-"): value for name, value in headers.items()}}
    scope = {
        "type": "http",
        "path": path,
        "method": "POST",
        "headers": [(name.encode(), value.encode()) for name, value in found.items()],
    }
    parts = [{"type": "http.request", "body": each, "more_body": i < len(body) - 1} for i, each in enumerate(body)]
    sent = []

    async def receive():
        return parts.pop(0)

    async def send(message):
        sent.append(message)

    asyncio.run(Guard(_app, {HOST}, TOKEN)(scope, receive, send))
    names = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], names, json.loads(sent[1]["body"])


def test_the_page_is_answered():
    assert asked(origin=f"http://{HOST}")[0] == 200
    assert asked("/studio.js", x_token="")[0] == 200


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"host": "elsewhere.example:8765"}, 421),
        ({"host": "127.0.0.1:9999"}, 421),
        ({"origin": "http://elsewhere.example"}, 403),
        ({"origin": "null"}, 403),
        ({"content_length": str(MOST_BYTES + 1)}, 413),
        ({"content_length": "-1"}, 413),
        ({"content_length": "9" * 5000}, 413),
    ],
    ids=["host", "port", "origin", "no origin", "large", "negative", "long"],
)
def test_others_are_refused(headers, expected):
    status, _, answer = asked(**headers)
    assert status == expected
    assert set(answer) == {"error"}


@bug("a token is no longer compared", guard.hmac, "compare_digest", lambda a, b: True)
@pytest.mark.parametrize("token", ["guess", ""])
def test_a_request_without_the_token_is_refused(token):
    assert asked(x_token=token)[0] == 403


def test_a_body_of_unknown_length_is_cut():
    half = b"x" * (MOST_BYTES // 2 + 1)
    assert asked(body=(half,))[2] == {"bytes": len(half)}
    assert asked(body=(half, half, half))[2] == {"cut": True}


@pytest.mark.parametrize("headers", [{}, {"x_token": "guess"}, {"host": "elsewhere"}], ids=["answer", "token", "host"])
def test_every_answer_has_the_policy(headers):
    found = asked(**headers)[1]
    policy = dict(part.strip().split(" ", 1) for part in found["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert found["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in found
