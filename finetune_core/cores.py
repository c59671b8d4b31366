"""Cores that others want, too: a thread that waits soon lets go of its core.

On the processor PyTorch computes with OpenMP, whose threads wait for each other after every operation. GNU's has them
spin meanwhile, 300,000 times; as soon as anything else wants the cores (a browser, a second run), they spin on the core
that the one they wait for needs, and two trainings at once on two cores get a fifth of the work done together. A short
spin costs nothing alone (`python -m benchmarks.cores`).
"""

from __future__ import annotations

import os

SPINS = "GOMP_SPINCOUNT"
SHORT = "1000"
OWN = (SPINS, "OMP_WAIT_POLICY")


def share() -> None:
    """Let waiting threads sleep soon, in this process and those that it starts; to be called before PyTorch is loaded.

    A person's own settings go first.
    """
    if not any(name in os.environ for name in OWN):
        os.environ[SPINS] = SHORT
