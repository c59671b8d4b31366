"""The door of the studio: who has not shown a key gets the log-in page and nothing else, of whatever is asked.

It stands before Streamlit (ASGI middleware), so that no page script has to think of it: pages, pictures, uploads and
direct websocket connections wait alike. Without a password or accounts the door is open. In any case every answer says
that other sites may not frame it (the studio itself only what can be played with) and that browsers load nothing from
other hosts, and it must have been asked for by a name that the studio goes by.
"""

from __future__ import annotations

import asyncio
import hashlib
import html
import json
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs

from anyio import to_thread
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import auth_util
from streamlit.web.server.starlette import starlette_websocket

from finetune_core import access
from finetune_core.errors import UserError
from finetune_core.places import ASSETS
from pages.ui.kit.path import PLAY

OPEN = "/_stcore/health"  # for whoever watches over the server
LEAVE = "/leave"
COOKIE = "thaw_key"
STAY = 12 * 3600.0  # seconds that a log-in lasts
TRIES, WAIT = 5, 60.0  # wrong passwords from one address, and the seconds in which they count
LOOK = 2.0  # seconds between two looks whether a tab that says nothing may stay
LARGEST = 4096  # bytes of a password sent here


class Key(Protocol):
    """What opens the door."""

    ways: str  # the log-in page's form or links

    def fits(self, cookies: Mapping[str, str]) -> bool:
        """Whether these cookies are of somebody who has come in."""

    async def enter(self, request: Request) -> Response | None:
        """The answer to somebody who tries to come in; None to whoever does not."""

    def leave(self, cookies: Mapping[str, str]) -> str:
        """Forget that somebody has come in; says where to go on."""


def key(lock: str) -> Key | None:
    """The key of this studio: the password of a hash, else the accounts of secrets.toml; None without either."""
    if lock:
        return Password(lock)
    accounts = access.accounts()
    return Account(accounts) if accounts else None


class Password:
    """One password for everybody."""

    ways = (
        '<form method="post"><label for="password">Password</label>'
        '<input id="password" name="password" type="password" autocomplete="current-password" autofocus required>'
        "<button>Log in</button></form>"
    )

    def __init__(self, lock: str) -> None:
        """Keep its hash; who has come in is known by a token, of which again only a hash is kept."""
        self.lock = lock
        self._inside: dict[str, float] = {}  # until when
        self._wrong: dict[str, list[float]] = {}  # by address, when

    def fits(self, cookies: Mapping[str, str]) -> bool:
        """Whether there is a token that was given out and has not run out."""
        return self._inside.get(_digest(cookies.get(COOKIE, "")), 0.0) > time.monotonic()

    async def enter(self, request: Request) -> Response | None:
        """Compare what was sent; after some wrong tries from an address, none is looked at for a while."""
        if request.method != "POST":
            return None
        address, now = request.client.host if request.client else "", time.monotonic()
        self._wrong = {
            who: kept for who, tries in self._wrong.items() if (kept := [t for t in tries if now - t < WAIT])
        }
        if len(self._wrong.get(address, ())) >= TRIES:
            return login(self, f"Too many wrong tries. Wait {WAIT:.0f} seconds.", 429)
        self._wrong.setdefault(address, []).append(now)  # taken back below; tries at the same time count too
        if not await to_thread.run_sync(access.matches, await _sent(request), self.lock):
            return login(self, "This is not the password.", 401)
        del self._wrong[address]
        return self._welcome(request)

    def _welcome(self, request: Request) -> Response:
        token, now = secrets.token_urlsafe(32), time.monotonic()
        self._inside = {each: until for each, until in self._inside.items() if until > now} | {
            _digest(token): now + STAY
        }
        answer = _to(request.url.path, request.url.query)
        secure = request.headers.get("x-forwarded-proto", request.url.scheme) == "https"
        answer.set_cookie(COOKIE, token, httponly=True, samesite="strict", secure=secure, max_age=int(STAY))
        return answer

    def leave(self, cookies: Mapping[str, str]) -> str:
        """The token is worth nothing from now on, in any tab."""
        self._inside.pop(_digest(cookies.get(COOKIE, "")), None)
        return "/"


class Account:
    """The accounts of a provider, by Streamlit's own log-in: a signed cookie says who somebody is."""

    def __init__(self, accounts: access.Accounts) -> None:
        """Offer a link for each provider."""
        self.accounts = accounts
        links = (f'<a class="button" href="/enter?with={name}">{_label(name)}</a>' for name in accounts.providers)
        self.ways = "".join(links)

    def fits(self, cookies: Mapping[str, str]) -> bool:
        """Whether the cookie is of an account that is allowed."""
        try:
            raw = starlette_websocket._get_signed_cookie_with_chunks(dict(cookies), "_streamlit_user")
            return raw is not None and self.accounts.admit(json.loads(raw))
        except (ValueError, UnicodeError):
            return False

    async def enter(self, request: Request) -> Response | None:
        """Lead to the provider, as `st.login` does, and let it lead back."""
        path, asked = request.url.path, request.query_params.get("with")
        if path == "/enter" and asked in self.accounts.providers:
            return RedirectResponse(f"/auth/login?provider={auth_util.encode_provider_token(asked)}")
        return _PASS if path in ("/auth/login", "/auth/logout", "/oauth2callback") else None

    def leave(self, cookies: Mapping[str, str]) -> str:
        """By the provider, too."""
        return "/auth/logout"


_PASS = Response()  # lets Streamlit answer


class Door:
    """ASGI middleware: see above."""

    def __init__(self, app: ASGIApp, key: Key | None) -> None:
        """Stand before an app."""
        self.app, self.key = app, key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let through who may come in, and answer everybody else."""
        if scope["type"] == "http":
            guarded = _with_headers(send, scope)
            answer = await self._answer(Request(scope, receive))
            await (answer or self.app)(scope, receive, guarded)
        elif scope["type"] == "websocket":
            await self._connect(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _answer(self, request: Request) -> Response | None:
        """What to say instead of the app; None where that may speak."""
        path = request.url.path
        if not _known(request):
            return PlainTextResponse(UNKNOWN, 421)
        key = self.key
        if key is None or path == OPEN:
            return None
        if path == LEAVE:
            return _left(key.leave(request.cookies))
        if key.fits(request.cookies):
            return None
        if path.startswith(PLAY) and path.endswith("/predict"):  # a picture is no password
            return JSONResponse(OUTSIDE.words(), 401)
        answer = await key.enter(request)
        if answer is _PASS:
            return None
        if answer is None and "text/html" in request.headers.get("accept", ""):
            return login(key)
        return answer or PlainTextResponse("Log in first.", 401)

    async def _connect(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A websocket lives as long as its log-in: who leaves in one tab is out in all of them."""
        asked, key = HTTPConnection(scope), self.key
        if not _known(asked) or not (key is None or key.fits(asked.cookies)):
            await send({"type": "websocket.close", "code": 1008})
            return

        def inside() -> bool:
            return key is None or key.fits(asked.cookies)

        async def heard() -> Message:
            message = asyncio.ensure_future(receive())
            try:
                while not message.done() and inside():
                    await asyncio.wait({message}, timeout=LOOK)
                return message.result() if inside() else {"type": "websocket.disconnect", "code": 1008}
            finally:
                message.cancel()

        async def said(message: Message) -> None:
            if inside():
                await send(message)
            else:
                raise OSError("logged out")  # as where the browser has gone

        await self.app(scope, heard, said)


OUTSIDE = UserError("Log in first.", "Nobody is logged in here any more.", "Reload the page.")
UNKNOWN = "This studio does not go by that name.\nOpen it as it was printed, or start it with --host and this name."


def login(key: Key, told: str = "", status: int = 401) -> Response:
    """The log-in page: a page of its own, with nothing in it of the studio's."""
    page = Path(__file__).with_suffix(".html").read_text(encoding="utf-8")
    logo = (ASSETS / "logo.svg").read_text(encoding="utf-8")
    said = f'<p class="told" role="alert">{html.escape(told)}</p>' if told else ""
    for mark, text in {"{logo}": logo, "{ways}": key.ways, "{told}": said}.items():
        page = page.replace(mark, text)
    return HTMLResponse(page, status)


def _left(where: str) -> Response:
    answer = _to(where)
    answer.delete_cookie(COOKIE)
    return answer


def _to(path: str, query: str = "") -> Response:
    """Go on at a page here; `//elsewhere` would be another host."""
    return RedirectResponse("/" + path.lstrip("/\\") + (f"?{query}" if query else ""), 303)


async def _sent(request: Request) -> str:
    """The password in a form."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST:
            return ""
    return parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True).get("password", [""])[0]


def _known(asked: HTTPConnection) -> bool:
    return starlette_websocket.is_host_allowed(asked.headers.get("host"))


def _with_headers(send: Send, scope: Scope) -> Send:
    framed = scope["path"].startswith(PLAY)
    host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
    policy = _policy(host, "'self'" if framed else "'none'")

    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["Content-Security-Policy"] = policy
            headers["X-Frame-Options"] = "SAMEORIGIN" if framed else "DENY"
            headers["X-Content-Type-Options"] = "nosniff"
            headers["Referrer-Policy"] = "same-origin"
        await send(message)

    return guarded


def _policy(host: str, frames: str) -> str:
    """What a page may load: only from here; and who may frame it.

    Streamlit compiles its components' scripts in the browser (blob:).
    """
    parts: dict[str, str] = {
        "default-src": "'self'",
        "script-src": "'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self' data: blob:",
        "font-src": "'self' data:",
        "media-src": "'self' data: blob:",
        "worker-src": "'self' blob:",
        "connect-src": f"'self' blob: data: ws://{host} wss://{host}",
        "base-uri": "'self'",
        "form-action": "'self'",
        "object-src": "'none'",
        "frame-ancestors": frames,
    }
    return "; ".join(f"{name} {sources}" for name, sources in parts.items())


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _label(provider: str) -> str:
    return "Log in" if provider == "default" else f"Log in with {html.escape(provider.capitalize())}"


def inside(context: Any) -> bool:
    """Whether this session came in by a key, so that there is something to leave."""
    return COOKIE in context.cookies or "_streamlit_user" in context.cookies
