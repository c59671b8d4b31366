"""Downloads against a real server that breaks off, changes its mind, or cannot go on."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from finetune_core import downloads
from finetune_core.downloads import NotPublishedError
from finetune_core.errors import UserError

DATA = bytes(range(256)) * 4000


class Server:
    """Offers one file; what it does next is set on it."""

    def __init__(self) -> None:
        self.data, self.tag, self.least, self.ranges = DATA, '"one"', len(DATA), True  # what it has, and how it is
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = self.headers.get("Range", "")
                outer.asked.append(asked)
                if self.path != "/file.bin":
                    self.send_error(404)
                    return
                start = 0
                if asked and outer.ranges and self.headers.get("If-Range") == outer.tag:
                    start = int(asked.removeprefix("bytes=").removesuffix("-"))
                if start >= len(outer.data):
                    self.send_error(416)
                    return
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(outer.data) - start))
                if outer.tag:
                    self.send_header("ETag", outer.tag)
                self.end_headers()
                self.wfile.write(outer.data[start : outer.least])

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/file.bin"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.http.shutdown()


def fetch(server: Server, target: Path, heard: list[tuple[int, int]] | None = None) -> bytes:
    hear = lambda done, total: heard.append((done, total)) if heard is not None else None  # noqa: E731
    return downloads.fetch(server.url, target, hear, what="the images").read_bytes()


def broken(server: Server, target: Path, at: int = 700_000) -> None:
    server.least = at
    with pytest.raises(UserError, match="broke off"):
        fetch(server, target)
    server.least = len(DATA)
    assert not target.exists()


def test_what_broke_off_goes_on_from_there(server: Server, tmp_path: Path) -> None:
    broken(server, tmp_path / "file.bin")
    broken(server, tmp_path / "file.bin", at=900_000)
    assert fetch(server, tmp_path / "file.bin") == DATA
    assert server.asked == ["", "bytes=700000-", "bytes=900000-"]
    assert [each.name for each in tmp_path.glob("*file*")] == ["file.bin"], "nothing else is left"
    assert fetch(server, tmp_path / "file.bin") == DATA
    assert len(server.asked) == 3, "it is there"


def test_a_file_that_changed_meanwhile_begins_anew(server: Server, tmp_path: Path) -> None:
    broken(server, tmp_path / "file.bin")
    server.tag, server.data = '"two"', DATA[::-1]
    assert fetch(server, tmp_path / "file.bin") == DATA[::-1]


def test_all_that_had_arrived_but_its_name_is_not_asked_for_for_ever(server: Server, tmp_path: Path) -> None:
    broken(server, tmp_path / "file.bin")
    (tmp_path / ".file.bin.part").write_bytes(DATA)
    assert fetch(server, tmp_path / "file.bin") == DATA
    assert server.asked[1:] == [f"bytes={len(DATA)}-", ""]


def test_a_kill_between_old_and_new_glues_nothing_together(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(server, tmp_path / "file.bin")
    server.tag, server.data = '"two"', DATA[::-1]
    with monkeypatch.context() as patch:
        patch.setattr(downloads, "_copy", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            fetch(server, tmp_path / "file.bin")
    assert fetch(server, tmp_path / "file.bin") == DATA[::-1]


@pytest.mark.parametrize("what", ["cannot go on", "no tag", "a weak tag"])
def test_a_server_that_cannot_go_on_sends_all_again(server: Server, tmp_path: Path, what: str) -> None:
    server.ranges = what != "cannot go on"
    server.tag = {"cannot go on": '"one"', "no tag": "", "a weak tag": 'W/"one"'}[what]
    broken(server, tmp_path / "file.bin")
    assert bool([*tmp_path.glob(".file*.part")]) == (what == "cannot go on")
    assert fetch(server, tmp_path / "file.bin") == DATA


def test_two_at_once_download_once(server: Server, tmp_path: Path) -> None:
    threads = [threading.Thread(target=fetch, args=(server, tmp_path / "file.bin")) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(server.asked) == 1
    assert (tmp_path / "file.bin").read_bytes() == DATA


def test_how_far_it_is_is_told(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "OFTEN", 0.0)
    heard: list[tuple[int, int]] = []
    fetch(server, tmp_path / "file.bin", heard)
    assert heard[-1] == (len(DATA), len(DATA))
    assert [done for done, _ in heard] == sorted(done for done, _ in heard)


def test_what_is_not_there_or_cannot_be_reached_is_told(server: Server, tmp_path: Path) -> None:
    with pytest.raises(NotPublishedError):
        downloads.fetch(server.url + "x", tmp_path / "x", lambda *_: None, what="the images")
    server.http.shutdown()
    server.http.server_close()
    with pytest.raises(UserError, match=r"The images file\.bin could not be downloaded"):
        fetch(server, tmp_path / "file.bin")
