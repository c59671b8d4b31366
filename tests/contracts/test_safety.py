"""Promises about safety that hold for the whole tree, so that one careless line turns red."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
OURS = [path for folder in ("finetune_core", "pages", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
OURS.append(ROOT / "app.py")


@pytest.mark.parametrize("path", OURS, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_unpickled_and_no_markup_of_strangers_is_shown(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for call in re.findall(r"torch\.load\([^\n]*", text):
        assert "weights_only=True" in call
    assert not re.search(r"\bpickle\.loads?\(|unsafe_allow_html|shell=True", text)


def test_the_server_listens_on_this_machine_only() -> None:
    config = (ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8")
    assert 'address = "127.0.0.1"' in config
    assert 'allowedHosts = ["localhost", "127.0.0.1"]' in config
    assert "gatherUsageStats = false" in config


def test_the_pinned_pair_is_the_one_that_is_checked() -> None:
    from finetune_core.machine import PAIRS

    pins = dict(re.findall(r"^(torch|torchvision)==(\d+\.\d+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE))
    assert PAIRS[pins["torch"]] == pins["torchvision"]
