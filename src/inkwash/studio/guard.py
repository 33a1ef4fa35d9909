"""What no request gets past: the host and the origin that it names, its token, and the size of its body.

The server listens on loopback, which any page in the same browser can reach. A page elsewhere cannot read the token,
and its requests carry an origin of their own, or after a change of its name's address a host of their own.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES, MOST_OPEN = 1 << 20, 64
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_RETRY = {"retry-after": "1"}
_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
}


class Guard:
    """Passes on the requests of the studio's own page.

    Args:
        app: what answers.
        hosts: names, with the port, under which the server is reached.
        token: what every request under `/api/` carries in `X-Token`.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str], token: str) -> None:
        self.app, self.hosts, self.token = app, hosts, token
        self.open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        headers = Headers(scope=scope)
        refusal = self._refusal(headers, scope["path"])
        if refusal is not None:
            status, word = refusal
            return await JSONResponse({"error": word}, status)(scope, receive, send_guarded)
        if self.open >= MOST_OPEN:
            busy = JSONResponse({"error": "busy: too many requests are open; try again in a second"}, 503, _RETRY)
            return await busy(scope, receive, send_guarded)
        self.open += 1
        try:
            await self.app(scope, _capped(receive), send_guarded)
        finally:
            self.open -= 1

    def _refusal(self, headers: Headers, path: str) -> tuple[int, str] | None:
        origin = headers.get("origin")
        if headers.get("host", "").lower() not in self.hosts:
            return 421, "host: this server answers only under its own name"
        if origin is not None and origin.lower() not in {f"http://{host}" for host in self.hosts}:
            return 403, "origin: only the studio's own page may ask"
        if path.startswith("/api/") and not hmac.compare_digest(
            headers.get("x-token", "").encode(), self.token.encode()
        ):
            return 403, "token: open the page under the address that the command printed"
        length = headers.get("content-length", "0")
        if not length.isdecimal() or len(length) > 12 or int(length) > MOST_BYTES:
            return 413, f"body: at most {MOST_BYTES} bytes"
        return None


def _capped(receive: Receive) -> Receive:
    """The body of a request, cut off beyond the most bytes: a body of unknown length is not trusted either."""
    left = MOST_BYTES

    async def receive_capped() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        return message if left >= 0 else {"type": "http.disconnect"}

    return receive_capped
