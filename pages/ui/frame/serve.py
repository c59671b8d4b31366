"""Serve the studio: Streamlit's own app behind the door, told beforehand that `pages/` is a package of ours.

Without that, the first visit to a fresh server takes the folder for old-style pages, and where it asks for a page other
than Home, Streamlit opens a "Page not found" dialog over it. `python -m pages.ui.frame.serve app.py --server.port 8501`
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any

from finetune_core.interrupting import ending_at_once

with ending_at_once():
    import psutil
    import streamlit as st
    from starlette.middleware import Middleware
    from streamlit import config
    from streamlit.runtime.pages_manager import PagesManager

    from finetune_core import access
    from finetune_core.errors import UserError
    from finetune_core.places import ROOT
    from finetune_core.runs import standby
    from pages.ui.frame import arriving, door, navigating, playing
    from pages.ui.kit import warm


GENTLE = 5  # of 19


def main() -> int:
    """Serve the app named first on the command line, with Streamlit's settings as `--section.name value`."""
    script, *rest = sys.argv[1:]
    settings = {name.removeprefix("--"): _value(text) for name, text in zip(rest[::2], rest[1::2], strict=True)}
    try:
        key = door.key(os.environ.pop(access.LOCK, ""))
        access.check(settings.get("server.address") or config.get_option("server.address"), key is not None)
    except UserError as error:
        print(*error.lines(), sep="\n", file=sys.stderr)  # noqa: T201 - it is what a terminal is told
        return 2
    PagesManager.uses_pages_directory = False
    navigating.keep()
    with ending_at_once():  # until the server listens for itself
        warm.light()  # before the first session's thread is there
        standby.keep()
        _prepare()
        sys.argv = [str(ROOT / script)]  # Streamlit puts its folder first among those that modules are imported from
        before = [Middleware(door.Door, key=key), Middleware(playing.Playing), Middleware(arriving.Arriving)]
        st.App(ROOT / script, middleware=before).run(config=settings)
    return 0


def _prepare() -> None:
    """Have the first images drawn and looked at while people still read: giving way, and no longer than this lives."""
    command, nobody = [sys.executable, "-m", "finetune_core.data.beforehand"], subprocess.DEVNULL
    helper = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=nobody, stderr=nobody)  # Data says more
    with suppress(psutil.Error):
        psutil.Process(helper.pid).nice(psutil.Process().nice() + GENTLE)
    threading.Thread(target=helper.wait, daemon=True).start()


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


if __name__ == "__main__":
    sys.exit(main())
