"""How the studio comes into a browser: nothing that has been seen moves while the rest arrives.

Streamlit paints its page over the whole window before it knows of a sidebar, and loads the code of each kind of element
when the first one comes: until then there is a grey bar of one height for all, as a picture has none. What follows
would jump, so it is shown once it has its place. This takes a few rules in the head of the document, which Streamlit
does not let an app write: they are put in on the way out.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEAD = b"</head>"
ASKED = (b"accept-encoding", b"if-none-match", b"if-modified-since", b"range")  # for an answer that is whole and plain


class Arriving:
    """ASGI middleware: see above."""

    def __init__(self, app: ASGIApp) -> None:
        """Stand before an app."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Put the rules into the document that a browser opens; all else passes."""
        if scope["type"] != "http" or scope["method"] != "GET" or not _is_html(scope["headers"], "accept"):
            await self.app(scope, receive, send)
            return
        plainly = [(name, value) for name, value in scope["headers"] if name not in ASKED]
        await self.app({**scope, "headers": plainly}, receive, _written(send))


def _written(send: Send) -> Send:
    """Hold back a document until it is whole, and send it with the rules in its head."""
    start: Message | None = None
    body = b""

    async def writing(message: Message) -> None:
        nonlocal start, body
        if message["type"] == "http.response.start" and _is_html(message["headers"], "content-type"):
            start = message
        elif start is None:
            await send(message)
        else:
            body += message.get("body", b"")
            if not message.get("more_body"):
                document = body.replace(HEAD, _rules() + HEAD, 1)
                headers = MutableHeaders(raw=start["headers"])
                headers["content-length"] = str(len(document))
                for stamp in ("etag", "last-modified"):  # they are of the file, not of what is written here
                    del headers[stamp]
                await send(start)
                await send({"type": "http.response.body", "body": document})

    return writing


def _is_html(headers: Any, name: str) -> bool:
    return "text/html" in Headers(raw=headers).get(name, "")


@cache
def _rules() -> bytes:
    style, script = (Path(__file__).with_suffix(suffix).read_bytes() for suffix in (".css", ".js"))
    return b"<style>\n" + style + b"</style>\n<script>\n" + script + b"</script>\n"
