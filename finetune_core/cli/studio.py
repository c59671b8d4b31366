"""Open the studio: check what would fail obscurely, then hand over to Streamlit."""

import os
import signal
import socket
import subprocess
import sys

from finetune_core import machine, places
from finetune_core.errors import UserError

ADDRESS = "127.0.0.1"


def serve(port: int) -> int:
    """Serve the studio on localhost until Ctrl-C; returns the server's exit code. UserErrors before it starts."""
    machine.check_torch_pair()
    runs, cache = places.runs_place(), places.cache_place()
    runs.check("runs")
    cache.check("what is kept for reuse")
    _check_free(port)
    command = [sys.executable, "-m", "pages.ui.serve", "app.py", "--server.port", str(port)]
    here = {places.RUNS: str(runs.folder), places.CACHE: str(cache.folder)}  # it runs in another folder
    with subprocess.Popen(command, cwd=places.ROOT, env={**os.environ, **here}) as server:
        signal.signal(signal.SIGTERM, lambda *_: server.terminate())
        try:
            return server.wait()
        except KeyboardInterrupt:  # the server has had the same Ctrl-C and is closing; runs go on
            return server.wait()


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, port))
        except OSError as error:
            raise UserError(
                f"Port {port} is taken.",
                "Another program, perhaps Thaw itself, is using it.",
                f"Open http://localhost:{port}, or take another: python -m finetune_core studio --port {port + 1}",
            ) from error
