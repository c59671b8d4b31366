"""The page on which a model is tried: the same where it is served and where it works from a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from finetune_core.places import ASSETS
from finetune_core.runs.shelf import naming
from finetune_core.runs.store import Run
from finetune_core.understand.predict import Predictor


def known(run: Run, predictor: Predictor) -> dict[str, Any]:
    """What the page says of the model, and needs to know."""
    targets = predictor.targets
    return {
        "title": naming.given(run)
        or f"{run.recipe.model.backbone.architecture}: {targets.about.there(len(targets.names))}",
        "names": list(targets.names),
        "shares": targets.about.counted,
        "channels": predictor.network.channels,
    }


def page(known: Mapping[str, Any], asking: str, scripts: Sequence[str] = ()) -> str:
    """The whole page; `asking` is a script that defines `window.ask(picture)`, `scripts` are files that it needs."""
    whole = (ASSETS / "play.html").read_text("utf-8")
    files = "".join(f'<script src="{each}"></script>\n' for each in scripts)
    whole = whole.replace("<!--SCRIPTS-->\n", files).replace("/*ASKING*/", asking)
    return whole.replace("/*KNOWN*/", f"window.known = {_safe(known)};")  # last: names may hold anything


def _safe(known: Mapping[str, Any]) -> str:
    """JSON that cannot end the script that it stands in."""
    return json.dumps(known).replace("<", "\\u003c")
