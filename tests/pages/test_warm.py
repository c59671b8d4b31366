"""Imports are made once and by one thread: what pages use is there before the first is drawn."""

import subprocess
import sys

from finetune_core.places import ROOT
from finetune_core.recipe import Recipe
from finetune_core.runs import store
from tests.pages.conftest import saved

SCRIPT = """
import gc
import sys
from streamlit.testing.v1 import AppTest
from pages.ui.kit import path, warm
warm.light()
assert not {"torch", "timm", "torchvision"} & set(sys.modules)
assert len(gc.get_objects()) < gc.get_freeze_count() / 10  # what Streamlit collects after each script run
before = set(sys.modules)
app = AppTest.from_file("app.py", default_timeout=120).run()
for step in path.PAGES.values():
    app = app.switch_page(step.script).run()
    assert not app.exception, (step.key, app.exception[0].value)
new = {name for name in set(sys.modules) - before if name.startswith(("finetune_core.", "pandas."))}
later = tuple(f"finetune_core.{name}" for name in warm.LATER) + warm.HEAVY
print(*sorted(name for name in new if not name.startswith(later)))
"""


def test_no_page_imports_what_another_could_import_at_the_same_time(tiny: Recipe) -> None:
    saved(tiny)
    store.create(tiny).report(state="finished")
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == ""


SOONER = """
import sys, time
from pages.ui.kit import warm
warm.HEAVY = ("wave",)
warm.start(after=600)
time.sleep(0.2)
assert "wave" not in sys.modules
assert not warm.ready()
warm.join()
assert warm.ready()
"""


def test_what_is_loaded_while_one_reads_is_there_at_once_for_who_wants_it_sooner() -> None:
    done = subprocess.run([sys.executable, "-c", SOONER], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
