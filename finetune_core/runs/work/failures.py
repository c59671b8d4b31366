"""What went wrong in a run, in words: of what kind it was, and in which state the run ends.

kind        state       what happened
given       failed      a mistake that a person can mend, told where it was found
memory      failed      the memory of the machine or of the GPU ran out
disk        failed      the disk was full, or refused
device      failed      the GPU was lost or is in no state to go on
process     failed      one of several processes ended without a word
diverged    diverged    the loss is no longer a number, or far above its start
bug         failed      a mistake of Thaw's; the log has the traceback
"""

from __future__ import annotations

import errno
import sys
from dataclasses import dataclass

from finetune_core.errors import UserError
from finetune_core.places import FULL, REFUSED
from finetune_core.training.divergence import Diverged

KEPT = "What was saved last remains: resume the run."


@dataclass(frozen=True)
class Failure:
    """An error, in words and of a kind."""

    kind: str
    error: UserError

    @property
    def state(self) -> str:
        """In which state the run ends."""
        return "diverged" if self.kind == "diverged" else "failed"

    @property
    def bug(self) -> bool:
        """Whether it is Thaw's own, so that its traceback is worth keeping."""
        return self.kind == "bug"


def told(error: Exception) -> Failure:
    """What this error means to a person."""
    if isinstance(error, UserError):
        return Failure(_kind(error), error)
    if isinstance(error, OSError) and error.errno in (*FULL, *REFUSED, errno.EIO):
        what = "The disk has no room for the run." if error.errno in FULL else "The run's files cannot be written."
        why = f"{error.strerror}{f': {error.filename}' if error.filename else ''}."
        return Failure("disk", UserError(what, why, f"Free some space. {KEPT}"))
    if isinstance(error, MemoryError) or _is_torch(error, "OutOfMemoryError") or "can't allocate memory" in str(error):
        hint = "Use more micro-batches (training.accumulate), take smaller images, or freeze more layers."
        return Failure("memory", UserError("The memory ran out.", str(error).split("\n")[0], hint))
    if _lost_touch(error):
        what = "One of the processes that trained together is gone."
        return Failure(
            "process", UserError(what, "It was killed, or the memory ran out.", f"{KEPT} The log may say more.")
        )
    if _is_torch(error, "AcceleratorError") or "CUDA error" in str(error):
        hint = f"{KEPT} Where it happens again, restart the machine."
        return Failure("device", UserError("The GPU stopped working for this run.", str(error).split("\n")[0], hint))
    why = f"{type(error).__name__}: {error}"
    return Failure(
        "bug", UserError("Thaw made a mistake.", why, "The log has the details; the run's folder is intact.")
    )


def _kind(error: UserError) -> str:
    if isinstance(error, Diverged):
        return "diverged"
    cause = error.__cause__
    return "disk" if isinstance(cause, OSError) and cause.errno in (*FULL, errno.EROFS) else "given"


def _is_torch(error: Exception, name: str) -> bool:
    """Whether it is this class of torch's, which is not imported for the purpose."""
    cls = getattr(sys.modules.get("torch"), name, None)
    return cls is not None and isinstance(error, cls)


def _lost_touch(error: Exception) -> bool:
    if "torch.distributed" not in sys.modules:
        return False
    from finetune_core.training import distributed

    return distributed.lost_touch(error)
