"""What a worker hears while it works: wishes in the run's control file, Ctrl-C and other signals, and silence.

While nothing is learned yet a wish to stop ends the work at once, wherever it stands; afterwards it is asked for
between two steps, where all of several processes must hear the same.
"""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

from finetune_core import places
from finetune_core.parts.jobs import Stop, Wish
from finetune_core.runs.store import Run

EVERY = 0.2  # seconds between two looks into the control file
DEAF = 2.0  # seconds after which a worker that prepares and does not end is ended
EARLY = "Stopped while it prepared"
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Ear:
    """Listens as long as it is entered. `alone` in the process: it may be ended where nothing else helps."""

    def __init__(self, run: Run, alone: bool = False) -> None:
        """Listen for this run."""
        self.run, self.alone = run, alone
        self.signalled, self.asked = False, "go"
        self.waiting: list[tuple[int, dict[str, Any]]] = []  # changes asked for, and which wishes they are
        self.parent = os.getppid()
        self.preparing = True
        self._turn, self._reading = threading.Lock(), threading.Lock()
        self._stamp: tuple[int, int] | None = None
        self._over = threading.Event()

    def __enter__(self) -> Ear:
        main = threading.current_thread() is threading.main_thread()
        self.before = {number: signal.signal(number, self._signal) for number in SIGNALS} if main else {}
        self.look()
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def wish(self) -> Wish:
        """What this process has heard."""
        self.look()
        if self.signalled or self.asked == "stop":
            return Wish.STOP
        if self.asked == "pause":
            return Wish.PAUSE
        return Wish.CHANGE if self.waiting else Wish.GO

    def look(self) -> None:
        """Read the control file where it has grown; one thread at a time, so that no older wish outlasts a newer."""
        with self._reading:
            if (stamp := places.stamp(self.run.control_file)) != self._stamp:
                self.asked, self.waiting = self.run.wish() or "go", self.run.wanted_changes()
                self._stamp = stamp

    def begun(self) -> None:
        """From now on there is something to be saved; raises Stop where it was asked for until now."""
        with self._turn:
            self.preparing = False
        if self.wish() == Wish.STOP:
            raise Stop

    def _signal(self, number: int, frame: FrameType | None) -> None:
        self.signalled = True
        if self.preparing:
            raise Stop

    def _listen(self) -> None:
        """Wake a process that prepares and is asked to stop; end it where it does not hear, being in foreign code."""
        while self.preparing and not self._over.wait(EVERY):
            if self.wish() != Wish.STOP:
                continue
            if self.before:
                signal.raise_signal(signal.SIGTERM) if os.name == "nt" else os.kill(os.getpid(), signal.SIGTERM)
            if not self._over.wait(DEAF) and self.alone:
                self._end()
            return

    def _end(self) -> None:
        with self._turn:
            if self.preparing:
                self.run.report(state="stopped", message=EARLY)
                os._exit(0)
