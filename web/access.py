"""Who may ask the explorer: addresses, the token, and the rules for requests that other pages could send."""

from __future__ import annotations

import hmac
import http
import ipaddress
import secrets
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, quote, urlencode

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import InputError

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
"""Names of this machine in the `Host` of a request."""
TOKEN = "token"
"""The parameter of the printed URL."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; font-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
"""Content security policy: nothing inline but styles, which plots set, and nothing from elsewhere."""
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
SAFE = frozenset({"GET", "HEAD"})
"""Methods that change nothing."""


@dataclass(frozen=True)
class Access:
    """Where the explorer listens, and who may ask it.

    Attributes:
        host: the address.
        port: the port.
        token: what a browser must have been given; None to let everyone on this machine in.
    """

    host: str
    port: int
    token: str | None

    @classmethod
    def of(cls, host: str, port: int, token: bool | str = True) -> Access:
        """Return the access with a token: a new one, a given one, or none.

        Raises:
            InputError: an address beyond this machine without a token, or an empty token.
        """
        if isinstance(token, str) and not (token and token.isascii() and token.isprintable()):
            raise InputError(
                f"--token: expected printable ASCII, got {'an empty text' if not token else 'other characters'}; leave "
                "it out to get a random one"
            )
        secret = secrets.token_urlsafe(24) if token is True else token or None
        if secret is None and not _is_loopback(host):
            raise InputError(
                f"--host {host}: anyone in the network could read the store without a token; leave out --no-token, or "
                "listen on 127.0.0.1 and reach it through ssh -L"
            )
        return cls(host, port, secret)

    @cached_property
    def hosts(self) -> frozenset[str]:
        """The values of `Host` that name this server."""
        names: Iterable[str] = LOOPBACK
        if not _is_loopback(self.host):
            names = (*LOOPBACK, _bracketed(self.host), socket.gethostname().lower(), socket.getfqdn().lower())
        return frozenset(f"{name}:{self.port}" for name in names) | frozenset(names if self.port == 80 else ())

    @property
    def cookie(self) -> str:
        """The name of the cookie; cookies do not know ports, and two explorers must not take each other's."""
        return f"circuitstore-{self.port}"

    @property
    def url(self) -> str:
        """The URL to open."""
        host = "localhost" if _is_loopback(self.host) else _bracketed(self.host)
        if self.host in ("0.0.0.0", "::"):  # every address of this machine
            host = socket.gethostname()
        query = "" if self.token is None else "/?" + urlencode({TOKEN: self.token})
        return f"http://{host}:{self.port}{query}"

    def knows(self, given: str | None) -> bool:
        """Return whether a token is the right one, in constant time."""
        return self.token is None or (given is not None and hmac.compare_digest(given.encode(), self.token.encode()))


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


class Guard:
    """Refuses requests that are not the user's own, and adds the headers of every response.

    - The `Host` must name this server with its port; otherwise a page could have its own name resolve to this machine
      (DNS rebinding).
    - The token must be in the cookie, or in `Authorization: Bearer` for programs. The printed URL has it as a
      parameter; it is exchanged for the cookie, and leaves the address bar.
    - A request that may change something must come from a page of this server (`Sec-Fetch-Site`, else `Origin`) and be
      JSON, which no form of another page can send.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                added = [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in present]
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        answer = self._refusal(scope)
        await (self._app if answer is None else answer)(scope, receive, with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if headers.getlist("host") != [host := headers.get("host", "")] or host.lower() not in self._access.hosts:
            return _refused(http.HTTPStatus.FORBIDDEN, "this server has another name; open the URL that it printed")
        parameters = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = dict(parameters).get(TOKEN)
        if given is not None and scope["method"] in SAFE and self._access.token is not None:
            return self._exchange(scope, parameters, given)
        if not self._access.knows(self._sent(headers)):
            return _refused(
                http.HTTPStatus.UNAUTHORIZED, "open the URL that `circuitstore serve` printed, which has a token"
            )
        if scope["method"] not in SAFE:
            return self._foreign(headers, host)
        return None

    def _exchange(self, scope: Scope, parameters: list[tuple[str, str]], given: str) -> Response:
        """Exchange the token for the cookie, at the same address without it."""
        if not self._access.knows(given):
            return _refused(http.HTTPStatus.UNAUTHORIZED, "this token is of another server, or of an earlier start")
        rest = urlencode([(name, value) for name, value in parameters if name != TOKEN])
        path = "/" + quote(scope["path"].lstrip("/"))  # `//host` would leave this server
        response = RedirectResponse(path + (f"?{rest}" if rest else ""), http.HTTPStatus.SEE_OTHER)
        response.set_cookie(self._access.cookie, given, httponly=True, samesite="strict", path="/")
        response.headers["cache-control"] = "no-store"
        return response

    def _sent(self, headers: Headers) -> str | None:
        kind, _, value = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return value.strip()
        try:
            found = SimpleCookie(headers.get("cookie", "")).get(self._access.cookie)
        except CookieError:
            return None
        return None if found is None else found.value

    def _foreign(self, headers: Headers, host: str) -> Response | None:
        """Return a refusal of a request that another page could have sent."""
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        own = site in ("same-origin", "none") if site is not None else origin in (None, f"http://{host}")
        if not own:
            return _refused(http.HTTPStatus.FORBIDDEN, "another page sent this request")
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return _refused(http.HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "expected Content-Type: application/json")
        return None


def _refused(status: http.HTTPStatus, why: str) -> Response:
    text = f"{status.value}: {why}\n"
    return PlainTextResponse(text, status, headers={"cache-control": "no-store"})
