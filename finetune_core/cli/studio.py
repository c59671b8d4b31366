"""Open the studio: check what would fail obscurely, then hand over to Streamlit."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys

from finetune_core import access, machine, places
from finetune_core.cli.shared import check_free


def serve(port: int, address: str = "127.0.0.1", password: str = "", hosts: tuple[str, ...] = ()) -> int:
    """Serve the studio until Ctrl-C; returns the server's exit code. UserErrors before it starts.

    With an empty `password` only the accounts of secrets.toml can open it to other machines; `hosts` are names by which
    it may be opened besides this machine's own.
    """
    machine.check_torch_pair()
    access.check(address, bool(password) or access.accounts() is not None)
    runs, cache = places.runs_place(), places.cache_place()
    runs.check("runs")
    cache.check("what is kept for reuse")
    check_free(address, port, "studio")
    command = [sys.executable, "-m", "pages.ui.frame.serve", "app.py", "--server.port", str(port)]
    command += ["--server.address", address, "--server.allowedHosts", json.dumps(access.names(address, hosts))]
    if address not in access.LOCAL:  # else Streamlit would ask another host what this machine is called from outside
        command += ["--browser.serverAddress", hosts[0] if hosts else socket.gethostname()]
    here = {places.RUNS: str(runs.folder), places.CACHE: str(cache.folder)}  # it runs in another folder
    if password:
        here[access.LOCK] = access.hashed(password)
    kept = {name: value for name, value in os.environ.items() if name != access.PASSWORD}
    with subprocess.Popen(command, cwd=places.ROOT, env={**kept, **here}) as server:
        signal.signal(signal.SIGTERM, lambda *_: server.terminate())
        try:
            return server.wait()
        except KeyboardInterrupt:  # the server has had the same Ctrl-C and is closing; runs go on
            return server.wait()
