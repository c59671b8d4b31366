"""Where a run has come from that began where another one stood."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import TypeAdapter

from finetune_core.runs.folder import Folder, read_json, shaped


@dataclass(frozen=True)
class Lineage:
    """Where a run has come from: another run, at an optimizer step, and (place, before, after) of what was changed."""

    run: str
    step: int
    changed: tuple[tuple[str, str, str], ...] = ()

    def words(self) -> str:
        """In one line."""
        what = ", ".join(f"{place} {before} → {after}" for place, before, after in self.changed)
        return f"Branched from {self.run} at step {self.step:,}" + (f": {what}" if what else "")


_LINEAGE = TypeAdapter(Lineage)


def lineage(folder: Folder) -> Lineage | None:
    """Where a run has come from; None where it began by itself. A UserError where that is damaged."""
    saved = read_json(folder.lineage_file)
    return None if saved is None else shaped(folder.lineage_file, _LINEAGE, saved)
