"""How long the Runs page and `runs` take with many runs, here and in another checkout, in turn on the same folders.

    python -m benchmarks.many_runs OTHER_CHECKOUT [--runs 500] [--rounds 3]

The runs are copies of one that version 1 wrote, so that every version can read them. A round is a process of its own;
only the first finds nothing in the cache folder. Prints medians, in seconds of the clock and of the processor, which
other programs do not disturb, and the ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent.parent
FIXTURE = HERE / "tests" / "fixtures" / "version-1" / "finished"
TIMER = """
import contextlib, io, json, sys, time
from streamlit.testing.v1 import AppTest
from finetune_core.cli import main
def timed(work):
    began = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began[0], time.process_time() - began[1]
with contextlib.redirect_stdout(io.StringIO()):
    listed = timed(lambda: main(["runs"]))
    listed_again = timed(lambda: main(["runs"]))
app = AppTest.from_file("app.py", default_timeout=300).run()
opened = timed(lambda: app.switch_page("pages/views/runs.py").run())
again = timed(app.run)
assert not app.exception and len(app.dataframe[0].value) == int(sys.argv[1])
home = timed(lambda: app.switch_page("pages/views/home.py").run())
found = {"`runs`": listed, "`runs` again": listed_again, "Runs page": opened, "Runs page again": again, "Home": home}
print(json.dumps(found))
"""


def main() -> None:
    """Time both, round by round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = _copies(Path(folder), options.runs)
        os.environ["THAW_CACHE"] = str(Path(folder) / ".cache")
        found: dict[Path, list[dict[str, tuple[float, float]]]] = {HERE: [], options.other.resolve(): []}
        for _ in range(options.rounds):
            for checkout, rows in found.items():
                rows.append(_timed(checkout, runs, options.runs))
    here, other = found.values()
    for what in here[0]:
        ours, theirs = (_medians([row[what] for row in rows]) for rows in (here, other))
        print(f"{what:18}here {_said(ours)}   other {_said(theirs)}   here / other {ours[1] / theirs[1]:.3f}")


def _medians(rows: list[tuple[float, float]]) -> tuple[float, float]:
    clock, processor = zip(*rows, strict=True)
    return median(clock), median(processor)


def _said(seconds: tuple[float, float]) -> str:
    return f"{seconds[0]:6.2f} s ({seconds[1]:5.2f} s of the processor)"


def _copies(folder: Path, count: int) -> Path:
    for number in range(count):
        path = folder / f"20260101-{number:06d}-test"
        shutil.copytree(FIXTURE, path, ignore=shutil.ignore_patterns("checkpoints"))
        recipe = path / "recipe.yaml"
        recipe.write_text(recipe.read_text().replace("written by 0.1", f"number {number}"))
    return folder


def _timed(checkout: Path, runs: Path, count: int) -> dict[str, tuple[float, float]]:
    done = subprocess.run(
        [sys.executable, "-c", TIMER, str(count)],
        cwd=checkout,
        env={**os.environ, "THAW_RUNS": str(runs), "PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    main()
