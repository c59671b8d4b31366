"""Play: the page that `serve RUN` answers with, for the model of each run, below an address of the studio's own.

It stands behind the door and before Streamlit, which never sees what is asked for here.
"""

from __future__ import annotations

import html

from anyio import to_thread
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from finetune_core.errors import UserError
from finetune_core.runs import store
from pages.ui.kit import models
from pages.ui.kit.path import PLAY

ROUTES = ("", "about", "predict")  # of a run; for no other a model is loaded
PAGE = """\
<!doctype html>
<html lang="en" style="color-scheme: light dark; background: Canvas; color: CanvasText; font: 16px/1.5 system-ui">
<meta charset="utf-8"><title>Play</title><link rel="icon" href="data:,">
<p><b>{what}</b></p><p>{why}</p><p>{hint}</p>
</html>"""


class Playing:
    """ASGI middleware: see above."""

    def __init__(self, app: ASGIApp) -> None:
        """Stand before an app."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what is asked for below the address, and let through all else."""
        if scope["type"] != "http" or not scope["path"].startswith(PLAY):
            await self.app(scope, receive, send)
            return
        name, _, rest = scope["path"].removeprefix(PLAY).partition("/")
        answer: ASGIApp
        try:
            answer = await to_thread.run_sync(_answering, name, rest)
        except UserError as error:
            answer = JSONResponse(error.words(), 404) if rest else _page(error)
        await answer({**scope, "root_path": f"{PLAY}{name}"}, receive, send)


def _answering(name: str, asked: str) -> ASGIApp:
    """What answers for a run; it is loaded first where that is to be done."""
    run = store.among(name)
    if asked not in ROUTES:
        raise UserError("There is nothing here.", f"Of a run this may be asked: {', '.join(filter(None, ROUTES))}.")
    predictor = models.best(run)
    from finetune_core.export import serving  # with torch, so not before somebody plays

    return serving.answering(run, predictor)


def _page(error: UserError) -> Response:
    """A person's mistake as a page."""
    return HTMLResponse(PAGE.format_map({name: html.escape(text) for name, text in error.words().items()}), 404)
