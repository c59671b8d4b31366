"""Play: below its address the answers are those of `predict`, behind the door, framed by the studio alone."""

import asyncio
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from finetune_core import access
from finetune_core.errors import UserError
from finetune_core.places import ROOT
from finetune_core.recipe import Recipe
from finetune_core.runs import store
from finetune_core.runs.store import Run
from finetune_core.runs.work.worker import work
from finetune_core.understand import predict
from pages.ui.frame.door import TRIES, Door, Key, Password
from pages.ui.frame.playing import Playing
from pages.ui.kit import models, path

HOSTILE = ("..", ".", "", "../runs", ".trash", "../../etc")
UNKNOWN = ("no-such-run", "a\0b", "x" * 5000, "<b onclick=x>")


@pytest.fixture
def trained(tiny: Recipe) -> Run:
    run = store.create(tiny.with_value("phases.0.epochs", 1))
    assert work(run) == 0
    return run


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def said(self) -> dict:
        return json.loads(self.body)


async def _streamlit(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("Streamlit")(scope, receive, send)


def studio(key: Key | None = None) -> ASGIApp:
    return Door(Playing(_streamlit), key)


async def _asked(app: ASGIApp, place: str, body: bytes | None = None, **headers: str) -> Answer:
    """As a server hands it on: the path decoded already."""
    given = {"host": "localhost:8501", **headers}
    scope: Scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET" if body is None else "POST",
        "scheme": "http",
        "path": place.partition("?")[0],
        "root_path": "",
        "query_string": place.partition("?")[2].encode(),
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 8501),
    }
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body or b""}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start, *parts = sent
    told = {name.decode().lower(): value.decode() for name, value in start["headers"]}
    return Answer(start["status"], told, b"".join(part.get("body", b"") for part in parts))


def done(work: Coroutine[Any, Any, Any]) -> Any:
    with ThreadPoolExecutor(1) as thread:  # Playwright's own loop may run in this one
        return thread.submit(asyncio.run, work).result()


def asked(place: str, body: bytes | None = None, app: ASGIApp | None = None, **headers: str) -> Answer:
    return done(_asked(app or studio(), place, body, **headers))


def test_the_page_is_that_of_serve_and_answers_as_predict_does(trained: Run, odd_photos: list[Path]) -> None:
    page = asked(path.play(trained.id))
    assert page.status == 200
    assert b'fetch("predict"' in page.body
    assert b"class_0" in page.body
    predictor = predict.load(trained, "cpu")
    for photo in odd_photos:
        answer = asked(f"{path.play(trained.id)}predict?top=2", photo.read_bytes())
        assert answer.status == 200
        own = predictor([photo], 2)[0]
        assert [each["name"] for each in answer.said["answers"]] == [name for name, _ in own]
        assert [each["value"] for each in answer.said["answers"]] == pytest.approx(
            [value for _, value in own], abs=1e-5
        )
    assert asked(f"{path.play(trained.id)}predict", b"hello").status == 400
    without = asked(path.play(trained.id).removesuffix("/"))
    assert (without.status, without.headers["location"].partition("8501")[2]) == (
        307,
        path.play(trained.id),
    )
    assert asked("/run").body == b"Streamlit"


@pytest.mark.parametrize("name", HOSTILE + UNKNOWN)
def test_what_is_no_run_is_told_in_words(name: str, tiny: Recipe) -> None:
    run = store.create(tiny)
    for place in (".trash", ".."):  # runs, too, but not among those in sight
        shutil.copytree(run.path, run.path.parent / place, dirs_exist_ok=True)
    answer = asked(f"/play/{name}/predict", b"picture")
    assert answer.status == 404
    told = "There is no run" if name in UNKNOWN else "This is not the name of a run."
    assert answer.said["what"].startswith(told)
    page = asked(f"/play/{name}/")
    assert page.status == 404
    if "/" not in name:
        assert b"<p><b>" in page.body
    assert b"<b onclick" not in page.body
    assert b"Traceback" not in answer.body + page.body


def test_a_run_without_a_model_says_so(tiny: Recipe) -> None:
    run = store.create(tiny)
    answer = asked(f"{path.play(run.id)}predict", b"picture")
    assert answer.status == 404
    assert answer.said == {
        "what": f"The run {run.id} has no model yet.",
        "why": "Its first epoch has not ended.",
        "hint": "Wait for the first epoch.",
    }
    assert b"has no model yet" in asked(path.play(run.id)).body


def test_the_studio_alone_may_frame_it_and_nobody_anything_else(trained: Run) -> None:
    for place in (path.play(trained.id), f"{path.play(trained.id)}about", "/play/none/"):
        headers = asked(place).headers
        assert headers["x-frame-options"] == "SAMEORIGIN"
        assert "frame-ancestors 'self'" in headers["content-security-policy"]
        assert "permissions-policy" not in headers, "which could take the camera away"
    for place in ("/", "/play", "/player/", "/run"):
        headers = asked(place).headers
        assert headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert asked(path.play(trained.id), host="evil.example").status == 421


def test_a_stranger_plays_with_nothing_and_pictures_are_no_tries_at_the_password(trained: Run) -> None:
    app = studio(Password(access.hashed("open sesame, please")))
    for _ in range(TRIES + 1):
        answer = asked(f"{path.play(trained.id)}predict", b"picture", app)
        assert (answer.status, answer.said["what"]) == (401, "Log in first.")
    page = asked(path.play(trained.id), None, app, accept="text/html")
    assert (page.status, b"<h1>Log in</h1>" in page.body) == (401, True)
    into = asked(path.play(trained.id), b"password=open+sesame,+please", app)
    assert into.status == 303
    cookie = into.headers["set-cookie"].partition(";")[0]
    assert asked(path.play(trained.id), None, app, cookie=cookie).status == 200


def test_a_better_epoch_is_answered_by_its_own_weights_and_two_models_at_most_are_kept(
    trained: Run, tiny: Recipe, odd_photos: list[Path]
) -> None:
    picture, other = odd_photos[0].read_bytes(), store.create(tiny.with_value("training.seed", 7))
    assert work(other) == 0
    before = asked(f"{path.play(trained.id)}predict", picture).said["answers"]
    shutil.copyfile(other.best, trained.best)
    after = asked(f"{path.play(trained.id)}predict", picture).said["answers"]
    assert after != before
    assert after == asked(f"{path.play(other.id)}predict", picture).said["answers"]
    assert models._best.cache_info().currsize == models.MOST == 2
    shutil.rmtree(trained.path)
    assert asked(f"{path.play(trained.id)}predict", picture).status == 404


def test_others_are_answered_while_a_model_is_loaded(monkeypatch: pytest.MonkeyPatch, tiny: Recipe) -> None:
    go = threading.Event()

    def slow(run: Run) -> None:
        assert go.wait(20)
        raise UserError("It is loaded.")

    monkeypatch.setattr(models, "best", slow)

    async def both() -> tuple[Answer, Answer]:
        app = studio()
        waits = asyncio.ensure_future(_asked(app, f"{path.play(run.id)}predict", b"picture"))
        await asyncio.sleep(0.1)
        first = await _asked(app, "/")
        assert not waits.done()
        go.set()
        return first, await waits

    run = store.create(tiny)
    first, second = done(both())
    assert first.body == b"Streamlit"
    assert second.said["what"] == "It is loaded."


def test_the_server_starts_without_torch() -> None:
    code = "import sys; import pages.ui.frame.serve; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
