"""Streamlit's header has a Stop of its own while a script runs: nobody shall take it for that of a run."""

import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import ROOT, free_port
from tests.e2e.test_outlives import until

pytestmark = pytest.mark.e2e

SLOW = "import time\nfrom pages.ui.frame import look\nlook.dress()\ntime.sleep(60)\n"


def _answers(url: str) -> bool:
    try:
        return urllib.request.urlopen(url, timeout=2).status == 200
    except OSError:
        return False


@pytest.mark.parametrize("quiet", [True, False])
def test_while_a_script_runs_there_is_no_stop_but_ours(tmp_path: Path, page: Page, quiet: bool) -> None:
    script, port = tmp_path / "slow.py", free_port()
    script.write_text(SLOW if quiet else SLOW.replace("look.dress()\n", ""))
    options = ["--server.port", str(port), "--server.headless", "true", "--browser.gatherUsageStats", "false"]
    command = [sys.executable, "-m", "streamlit", "run", str(script), *options]
    with subprocess.Popen(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}) as server:
        until(lambda: _answers(f"http://localhost:{port}/_stcore/health"))
        page.goto(f"http://localhost:{port}")
        expect(page.get_by_test_id("stStatusWidget")).to_be_attached()
        page.wait_for_timeout(1000)
        assert page.get_by_role("button", name="Stop").count() == (0 if quiet else 1), "how Streamlit is without it"
        server.kill()
