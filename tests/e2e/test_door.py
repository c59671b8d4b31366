"""A studio for others: what a stranger gets, what who has the password gets, and what other sites may do with it."""

import asyncio
import http.client
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import websockets
from playwright.sync_api import Browser, expect

from tests.e2e.axe import serious
from tests.e2e.conftest import MINUTES, Studio, free_port, serve

PASSWORD = "open sesame, please"
CLOSED = (
    "/",
    "/runs",
    "/run?run=x",
    "/media/abc.png",
    "/_stcore/host-config",
    "/_stcore/metrics",
    "/static/index.html",
)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, together: Path) -> Iterator[Studio]:
    """A studio that listens to other machines."""
    file = tmp_path_factory.mktemp("door") / "password"
    file.write_text(f"{PASSWORD}\n")
    options = ("--address", "0.0.0.0", "--password-file", str(file))
    made = serve(tmp_path_factory.mktemp("guarded") / "runs", together / "cache", free_port(), options)
    yield made
    made.process.terminate()
    made.process.wait(20)


def asked(studio: Studio, path: str, method: str = "GET", body: str = "", **headers: str) -> tuple[int, str, str]:
    """Status, headers and text of an answer."""
    connection = http.client.HTTPConnection(studio.url.removeprefix("http://"), timeout=20)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    return answer.status, str(answer.headers), answer.read().decode("utf-8", "replace")


def connected(studio: Studio, **headers: str) -> bool:
    """Whether a websocket is taken."""

    async def attempt() -> bool:
        url = studio.url.replace("http", "ws") + "/_stcore/stream"
        try:
            async with websockets.connect(url, subprotocols=["streamlit"], additional_headers=headers):
                return True
        except websockets.InvalidStatus as refused:
            return refused.response.status_code != 403

    with ThreadPoolExecutor(1) as thread:  # Playwright's own loop runs in this one
        return thread.submit(asyncio.run, attempt()).result()


@pytest.mark.e2e
def test_axe_finds_nothing_serious_on_the_log_in_page(guarded: Studio, browser: Browser) -> None:
    page = browser.new_page()
    page.goto(guarded.url)
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    assert serious(page) == []
    page.close()


@pytest.mark.e2e
@pytest.mark.parametrize("path", CLOSED)
def test_a_stranger_gets_nothing_but_the_log_in_page(guarded: Studio, path: str) -> None:
    assert asked(guarded, path)[::2] == (401, "Log in first.")
    status, _, text = asked(guarded, path, accept="text/html")
    assert status == 401
    assert "<h1>Log in</h1>" in text
    assert "streamlit" not in text.lower()
    assert asked(guarded, "/_stcore/upload_file/a/b", "PUT", "x")[0] == 401


@pytest.mark.e2e
def test_direct_connections_need_the_password_too(guarded: Studio) -> None:
    assert not connected(guarded)
    assert not connected(guarded, Cookie="thaw_key=guessed")
    _, headers, _ = asked(guarded, "/", "POST", "password=" + PASSWORD.replace(" ", "+"))
    (token,) = re.findall(r"thaw_key=([^;]+)", headers)
    assert "HttpOnly" in headers
    assert "SameSite=strict" in headers
    assert connected(guarded, Cookie=f"thaw_key={token}")
    assert asked(guarded, "/leave", Cookie=f"thaw_key={token}")[0] == 303
    assert not connected(guarded, Cookie=f"thaw_key={token}")


@pytest.mark.e2e
def test_the_password_opens_the_page_that_was_asked_for_and_logging_out_closes_it_in_all_tabs(
    guarded: Studio, browser: Browser
) -> None:
    context = browser.new_context()
    page, other = context.new_page(), context.new_page()
    page.goto(f"{guarded.url}/data")
    page.get_by_label("Password").fill("wrong password")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_have_text("This is not the password.")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_label("Password").press("Enter")
    expect(page.get_by_role("heading", name="Data", exact=True)).to_be_visible(timeout=3 * MINUTES)
    other.goto(guarded.url)
    expect(other.get_by_role("button", name="Start with Blooms")).to_be_enabled(timeout=3 * MINUTES)
    page.get_by_role("link", name="Log out").click(timeout=3 * MINUTES)
    expect(page.get_by_label("Password")).to_be_visible()
    expect(other.get_by_role("button", name="Choose a folder")).to_be_disabled(timeout=MINUTES)  # cut off
    other.reload()
    expect(other.get_by_label("Password")).to_be_visible()
    context.close()


@pytest.mark.e2e
def test_guessing_is_slow(guarded: Studio) -> None:
    answers = [asked(guarded, "/", "POST", f"password={number}")[0] for number in range(12)]
    assert answers[-1] == 429
    assert answers.count(401) <= 5
    assert asked(guarded, "/", "POST", "password=" + PASSWORD.replace(" ", "+"))[0] == 429


@pytest.mark.e2e
@pytest.mark.parametrize("path", ["/", "/_stcore/health", "/_stcore/host-config", "/media/none.png", "/static/none.js"])
def test_other_sites_may_not_frame_it_and_it_loads_nothing_from_them(studio: Studio, path: str) -> None:
    _, headers, _ = asked(studio, path)
    assert "frame-ancestors 'none'" in headers
    assert "img-src 'self' data: blob:;" in headers
    assert "x-frame-options: DENY" in headers
    assert "x-content-type-options: nosniff" in headers


@pytest.mark.e2e
def test_a_name_that_is_not_the_studios_is_told_so(studio: Studio, guarded: Studio) -> None:
    for each in (studio, guarded):
        status, _, text = asked(each, "/", Host="evil.example")
        assert (status, "does not go by that name" in text) == (421, True)


@pytest.mark.e2e
def test_a_frame_on_another_site_stays_empty(studio: Studio, browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "evil.html").write_text(f'<iframe id="frame" src="{studio.url}"></iframe>')
    context = browser.new_context()
    page = context.new_page()
    with page.expect_console_message(lambda message: "frame-ancestors" in message.text):
        page.goto((tmp_path / "evil.html").as_uri())
    context.close()


@pytest.mark.e2e
def test_the_server_keeps_the_password_from_its_workers(guarded: Studio) -> None:
    (child,) = Path(f"/proc/{guarded.process.pid}/task/{guarded.process.pid}/children").read_text().split()
    assert PASSWORD.encode() not in Path(f"/proc/{child}/environ").read_bytes()
    assert os.environ.get("THAW_PASSWORD") is None
