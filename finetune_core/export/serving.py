"""A run's model behind an address of this machine: a picture is sent there, and the answer comes back as JSON.

    curl --data-binary @photo.jpg http://127.0.0.1:8600/predict

It listens to this machine alone, and answers only where it is asked for by one of its own names, so that no web site
can speak to it by having its name point here.
"""

from __future__ import annotations

import io
import math
import threading
import time
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from finetune_core.errors import UserError
from finetune_core.export import play
from finetune_core.runs.store import Run
from finetune_core.understand import predict
from finetune_core.understand.predict import Predictor
from finetune_core.wording import megabytes

LOCAL = ["127.0.0.1", "localhost", "[::1]"]
LARGEST = 100_000_000  # bytes of a picture
MOST = 100  # names in an answer; five unless `?top=` asks for more
_one_at_a_time = threading.Lock()
ASKING = """\
window.ask = async (picture) => {
  const answer = await fetch("predict", { method: "POST", body: picture });
  const said = await answer.json();
  if (!answer.ok) throw new Error([said.what, said.why, said.hint].filter(Boolean).join(" "));
  return said.answers;
};"""


class _TooLargeError(Exception):
    """More was sent than is looked at."""


def app(run: Run) -> ASGIApp:
    """The application, for this machine alone: see `answering`."""
    return TrustedHostMiddleware(answering(run, predict.load(run)), allowed_hosts=LOCAL)


def answering(run: Run, predictor: Predictor) -> Starlette:
    """For whoever asks: `/` a page to try it, `/about` what the model knows, `/predict` takes pictures by POST."""
    about = play.known(run, predictor)

    async def known(request: Request) -> Response:
        return JSONResponse(about)

    async def tried(request: Request) -> Response:
        return HTMLResponse(play.page(about, ASKING))

    async def asked(request: Request) -> Response:
        return await _answer(request, predictor)

    return Starlette(routes=[Route("/", tried), Route("/about", known), Route("/predict", asked, methods=["POST"])])


async def _answer(request: Request, predictor: Predictor) -> Response:
    """What it sees in the picture that was sent."""
    started = time.perf_counter()
    try:
        answers = await run_in_threadpool(_look, predictor, await _picture(request), _top(request))
    except UserError as error:
        return JSONResponse(error.words(), 400)
    except _TooLargeError:
        why = f"It is larger than {megabytes(LARGEST)}."
        return JSONResponse({"what": "This is too much for one picture.", "why": why, "hint": ""}, 413)
    except ClientDisconnect:
        return Response(status_code=400)  # nobody is there to read it
    return JSONResponse({"answers": answers, "seconds": round(time.perf_counter() - started, 4)})


def _look(predictor: Predictor, sent: bytes, top: int) -> list[dict[str, Any]]:
    with _one_at_a_time:
        found = predictor([io.BytesIO(sent)], top)[0]
    return [{"name": name, "value": value if math.isfinite(value) else None} for name, value in found]


def _top(request: Request) -> int:
    """How many answers are wanted."""
    asked = request.query_params.get("top", "5")
    if not (asked.isascii() and asked.isdigit()):
        raise UserError("top is no whole number.", f"It is {asked[:20]!r}.", "Ask for ?top=5.")
    return min(MOST, max(1, int(asked[:6])))


async def _picture(request: Request) -> bytes:
    """What was sent."""
    if request.headers.get("content-type", "").startswith("multipart/"):
        raise UserError("A form was sent.", "Only the picture itself is read.", "curl --data-binary @photo.jpg")
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > LARGEST:
            raise _TooLargeError
        parts.append(part)
    if not size:
        raise UserError("No picture came along.", "The body is empty.", "Send one: curl --data-binary @photo.jpg")
    return b"".join(parts)
