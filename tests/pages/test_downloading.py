"""Weights that are not on this machine: the card says so, and fetches them while the page goes on."""

from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
import timm
from safetensors.torch import save_file
from streamlit.testing.v1 import AppTest

from finetune_core import places
from finetune_core.parts.backbones.hub import Published
from finetune_core.recipe import Recipe
from pages.ui.layers import downloading
from tests.pages.conftest import saved

Open = Callable[[str], AppTest]
SOURCE = "timm/test_resnet.r160_in1k"


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where a hub of our own keeps the file; other caches are empty."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "none"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

    folder = tmp_path / "served"
    folder.mkdir()
    downloading._known.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        yield folder / SOURCE / "resolve" / "main" / "model.safetensors"
        server.shutdown()


def draw(open_page: Open) -> AppTest:
    backbone = {"kind": "timm", "architecture": "test_resnet", "weights": {"kind": "hub"}}
    saved(Recipe().with_value("model.backbone", backbone))
    return open_page("layers")


def words(app: AppTest) -> str:
    return " ".join(str(each.value) for each in (*app.caption, *app.markdown))


def over() -> None:
    assert downloading._known[SOURCE].over(20)


def test_it_is_said_and_fetched(open_page: Open, address: Path) -> None:
    address.parent.mkdir(parents=True)
    save_file(timm.create_model("test_resnet").state_dict(), address)
    app = draw(open_page)
    assert "Not on this machine yet" in words(app)
    app.button(key="download-weights").click().run()
    over()
    app.run()
    assert not app.exception
    assert "Not on this machine yet" not in words(app)
    assert (places.cache_dir() / "weights" / "test_resnet.r160_in1k.safetensors").read_bytes() == address.read_bytes()
    assert not [each for each in app.button if each.key == "download-weights"]


def test_where_the_hub_cannot_be_reached_it_says_so_and_can_be_tried_again(
    open_page: Open, address: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = __import__("os").environ["HF_ENDPOINT"]
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    app = draw(open_page)
    app.button(key="download-weights").click().run()
    over()
    app.run()
    assert not app.exception
    assert "could not be downloaded" in words(app)
    assert "bundled" not in words(app), "Thaw brings none for this network"
    again = app.button(key="download-weights")
    assert again.label == "Try again"
    monkeypatch.setenv("HF_ENDPOINT", there)
    address.parent.mkdir(parents=True)
    save_file(timm.create_model("test_resnet").state_dict(), address)
    again.click().run()
    over()
    assert "Not on this machine yet" not in words(app.run())


def test_a_cache_that_is_a_file_is_told_in_words(
    open_page: Open, address: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address.parent.mkdir(parents=True)
    save_file(timm.create_model("test_resnet").state_dict(), address)
    app = draw(open_page)
    (places.cache_dir() / "weights").unlink(missing_ok=True)
    places.cache_dir().mkdir(parents=True, exist_ok=True)
    (places.cache_dir() / "weights").write_text("a file")
    app.button(key="download-weights").click().run()
    over()
    app.run()
    assert not app.exception
    assert "There is no place for the published weights" in words(app)
    assert any(str(places.cache_dir() / "weights") in each.value for each in app.text)


def test_a_bug_is_raised_once(open_page: Open, address: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = Event()

    def broken(*_: Any) -> None:
        drawn.wait(20)
        raise ZeroDivisionError

    monkeypatch.setattr(Published, "fetched", broken)
    app = draw(open_page)
    app.button(key="download-weights").click().run()
    drawn.set()
    over()
    assert app.run().exception
    app.run()
    assert not app.exception, "the page is there again"
    assert app.button(key="download-weights").label == "Download now"


def test_two_clicks_are_one_download(address: Path) -> None:
    first = [downloading.begin(Published(SOURCE), "") or downloading._known[SOURCE] for _ in range(2)]
    assert first[0] is first[1] or first[0].over()
    over()
