"""Where a run's worker is at work: what an engine is. The engines themselves need a run's folder, and lie in `runs`."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, ClassVar

from finetune_core.parts.base import Part


class Engine(Part):
    """Where a run is at work."""

    package: ClassVar[str] = ""  # what must be installed for it

    @classmethod
    def installed(cls) -> bool:
        """Whether it can be chosen here."""
        return not cls.package or find_spec(cls.package) is not None

    def check(self) -> None:
        """A UserError where no run can be started so, before a folder is made."""

    def start(self, run: Any) -> None:
        """Set a run going whose folder is made, or have it wait for its turn. A UserError where it is refused."""
        raise NotImplementedError

    def cancel(self, run: Any) -> None:
        """Take back a run that waits for its turn."""

    def words(self, run: Any) -> str:
        """What a person must know or do now; empty where that is nothing."""
        return ""
