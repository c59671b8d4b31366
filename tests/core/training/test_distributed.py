"""Several processes for one run, here two on the CPU by torchrun and gloo: the same training, and no hanging."""

import importlib.util
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from finetune_core import records
from finetune_core.cli import main
from finetune_core.data.loader import Batches
from finetune_core.errors import UserError
from finetune_core.parts import Job
from finetune_core.places import ROOT
from finetune_core.recipe import Recipe, parse
from finetune_core.recipe.changes import parsed
from finetune_core.records import Event, Find, Suggestions
from finetune_core.runs import launch, preflight, store
from finetune_core.runs.jobs import Race, RangeTest
from finetune_core.runs.store import Run
from finetune_core.runs.work import torchrun
from finetune_core.runs.work.torchrun import lead
from finetune_core.runs.work.worker import work
from finetune_core.training import distributed, session
from tests.conftest import paint

SCRIPT = Path(__file__).with_name("in_ranks.py")
HEAD, ALL = {"epochs": 1, "thaw": ["head"], "learning_rate": 1e-2}, {"epochs": 2, "thaw": ["*"], "learning_rate": 3e-3}
VIT = {"model.backbone.architecture": "test_vit"}
WEIGHTED = {"training.loss": {"kind": "cross_entropy", "balance": "table", "weights": [0.5, 1.0, 2.5]}}

# Batches of 5 from 18 images: shares of 3 and 2, and a last batch of 3 for one process alone.
SAME = {
    "head": {"phases": [HEAD]},
    "held norms": {"phases": [{**ALL, "hold": ["type:BatchNorm2d"]}]},
    "phases": {**VIT, **WEIGHTED, "phases": [HEAD, ALL], "training.accumulate": 2, "training.ema": 0.9},
    "views": {
        "phases": [
            {**HEAD, "epochs": 5, "views": 2},
            {**ALL, "thaw": ["head", "layer4"], "hold": ["type:BatchNorm2d"], "views": 1},
        ]
    },
    "clipped": {**VIT, "training.clip_norm": 0.5, "training.l1": 1e-4},
}
HALF = {**VIT, "training.precision": "fp16", "training.accumulate": 2}
PROBES = {
    "find": RangeTest(steps=8, tries=2),
    "race": Race(rates={"slow": 1e-5, "quick": 1e-2}, steps=5),
}
OWN_WAY = {  # what each process does by itself: dropout, mixed images, BatchNorm's statistics
    "model.head": {"kind": "mlp", "hidden": 16, "dropout": 0.5},
    "training.mix": "either",
    "training.ema": 0.9,
    "phases": [HEAD, ALL],
}
CHANGES = ("rate x0.5", "epochs -1", "thaw *", "thaw nothing")
TOLERANCE = 1e-5


class Done:
    """Runs by name: those of two processes, and the same jobs done by one."""

    def __init__(self, folder: Path) -> None:
        self.base = parse(
            {
                "data": {"source": {"kind": "folder", "path": str(paint(folder / "images"))}, "image_size": 32},
                "model": {"backbone": {"kind": "timm", "architecture": "test_resnet", "weights": {"kind": "random"}}},
                "phases": [ALL],
                "training": {"batch_size": 5, "device": "cpu"},
            }
        ).with_value("data.valid_share", 0.25)
        self.folder, self.two, self.one = folder, {}, {}

    def recipe(self, changes: dict) -> Recipe:
        recipe = self.base
        for path, value in changes.items():
            recipe = recipe.with_value(path, value)
        return recipe

    def make(self, name: str, changes: dict, job: Job | None = None) -> None:
        for runs, processes in ((self.one, 1), (self.two, 2)):
            folder = self.folder / f"runs-{processes}"
            runs[name] = store.create(self.recipe(changes), job, folder)

    def work(self, *arguments: str) -> None:
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        done = subprocess.run(
            [*torchrun, str(SCRIPT), *arguments],
            env={"TORCH_CPP_LOG_LEVEL": "ERROR", **os.environ, "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Everything that needs two processes, in one start of them."""
    found = Done(tmp_path_factory.mktemp("several"))
    before = dict(os.environ)
    os.environ["THAW_CACHE"] = str(found.folder / "cache")
    try:
        for name, changes in SAME.items():
            found.make(name, changes)
        for name, job in PROBES.items():
            found.make(name, VIT, job)
        found.make("half", HALF)
        for name in ("whole", "stopped"):
            found.make(name, OWN_WAY)
        for number in range(len(CHANGES)):
            found.make(f"change {number}", {**VIT, "phases": [{**ALL, "thaw": ["head", "blocks.*"]}]})
        stopped = str(found.two["stopped"].path)
        paths = [str(run.path) for name, run in found.two.items() if not name.startswith(("stopped", "change "))]
        paths += [f"{found.two[f'change {number}'].path}@3={change}" for number, change in enumerate(CHANGES)]
        found.work(*paths, f"{stopped}@2", f"{stopped}@6", stopped)
        yield found
    finally:
        os.environ.clear()
        os.environ.update(before)


def values(run: Run, *names: str) -> np.ndarray:
    """Numbers of all records that have any of these names, in order."""
    rows = run.records()[0]
    return np.array([row[name] for row in rows for name in names if isinstance(row.get(name), float)])


@pytest.mark.parametrize("name", SAME)
def test_two_processes_train_as_one(done: Done, name: str) -> None:
    one, two = done.one[name], done.two[name]
    assert work(one) == 0
    for number in ("loss", "grad_norm", "train_loss", "train_score", "valid_loss", "valid_score"):
        assert values(two, number) == pytest.approx(values(one, number), rel=TOLERANCE), number
    ours, theirs = load_file(one.last), load_file(two.last)
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        assert torch.allclose(value, theirs[key], rtol=1e-4, atol=1e-5), key
    checks = [row["text"] for row in two.records()[0] if row.get("name", "").startswith("truth")]
    assert checks
    assert checks == [row["text"] for row in one.records()[0] if row.get("name", "").startswith("truth")]


def test_half_precision_is_scaled_alike(done: Done) -> None:
    one, two = done.one["half"], done.two["half"]
    assert work(one) == 0
    assert values(two, "loss")[:2] == pytest.approx(values(one, "loss")[:2], rel=1e-3), "rounding grows from then on"


@pytest.mark.parametrize("name", PROBES)
def test_finder_and_race_are_the_same(done: Done, name: str) -> None:
    one, two = done.one[name], done.two[name]
    assert work(one) == 0
    assert values(two, "loss", "valid_loss") == pytest.approx(values(one, "loss", "valid_loss"), rel=10 * TOLERANCE)


def test_all_processes_stop_at_one_step_and_go_on_exactly(done: Done) -> None:
    whole, stopped = done.two["whole"], done.two["stopped"]
    for number in ("loss", "valid_loss"):
        assert values(stopped, number).tolist() == values(whole, number).tolist()
    ours, theirs = load_file(stopped.last), load_file(whole.last)
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())


@pytest.mark.parametrize("number", range(len(CHANGES)))
def test_all_processes_make_a_change_at_one_step(done: Done, number: int) -> None:
    one, two = done.one[f"change {number}"], done.two[f"change {number}"]

    def watch(record) -> None:
        if record.kind == "step" and record.step == 2:
            one.ask_change(parsed(CHANGES[number]).model_dump(mode="json"))

    assert work(one, watch) == 0
    assert values(two, "loss") == pytest.approx(values(one, "loss"), rel=TOLERANCE)
    told = [[row for row in run.records()[0] if row.get("name", "").startswith("change")] for run in (one, two)]
    assert told[0] == told[1]
    assert [row["step"] for row in told[0]] == [3]
    made = [[{**row, "wish": 0} for row in run.changes()] for run in (one, two)]  # each wish has a number of its own
    assert made[0] == made[1]


@pytest.mark.parametrize(("images", "processes"), [(18, 2), (23, 3), (7, 4)])
def test_shares_add_up_to_the_batch(images: int, processes: int) -> None:
    def batches(rank: int, of: int) -> Batches:
        labels = np.arange(images)
        return Batches(labels, labels, labels, lambda image: image, 5, 0, shuffle=True, workers=0, share=(rank, of))

    whole = batches(0, 1).order(3)
    shares = [[batches(rank, processes)._mine(batch) for batch in whole] for rank in range(processes)]
    for batch, *mine in zip(whole, *shares, strict=True):
        counted = [indices[:count] for indices, count in mine]
        assert np.concatenate(counted).tolist() == batch.tolist()
        assert all(len(indices) > 1 for indices, _ in mine), "BatchNorm cannot train on one image"


def test_a_run_can_be_made_for_torchrun_to_start(tiny: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    tiny.save(tmp_path / "recipe.yaml")
    assert main(["train", str(tmp_path / "recipe.yaml"), "--on", "nodes", "--set-on", "endpoint=a:1"]) == 0
    *_, module, named, path = capsys.readouterr().out.split()
    assert importlib.util.find_spec(module)
    assert named == path
    run = store.open_run(path)
    assert run.status.state == "queued"
    assert work(run) == 0
    assert run.status.state == "finished"


def test_a_record_comes_back_from_its_line() -> None:
    lost = Find(step=3, lr=0.1, loss=math.nan, smooth=1.5)
    found = records.parse(json.loads(lost.line()))
    assert isinstance(found, Find)
    assert math.isnan(found.loss)
    assert (found.step, found.smooth, found.trial) == (3, 1.5, 0)
    nothing = Suggestions(None, None, None)
    assert records.parse(json.loads(nothing.line())) == nothing


def endless(tiny: Recipe) -> Recipe:
    return tiny.with_value("phases.0.epochs", 500).with_value("training.processes", 2)


def test_what_prepares_is_gone_before_it_is_said_to_have_stopped(tiny: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    run, gone = store.create(endless(tiny)), []
    report = run.report
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:

        def started(run: Run, processes: int) -> subprocess.Popen:
            run.ask("stop")
            return child

        def note(**changes: object) -> None:
            gone.append((changes.get("state"), child.poll() is not None))
            report(**changes)

        monkeypatch.setattr(torchrun, "_started", started)
        monkeypatch.setattr(run, "report", note)
        assert lead(run) == 0
    assert gone[-1] == ("stopped", True)


def test_the_first_process_says_for_all_what_there_is_to_tell(tiny: Recipe, tmp_path: Path) -> None:
    """The others may read the records when it has put them in order already."""
    run = store.create(tiny.with_value("training.processes", 2))
    run.append(Event("paused", 0, "x"))
    with run.records_file.open("ab") as file:
        file.write(b"damaged\n")
    late = tmp_path / "late.py"
    late.write_text(
        "import os, sys, time\n"
        "from finetune_core.runs import store\n"
        "from finetune_core.runs.work import worker\n"
        "keep = store.Run.keep_records\n"
        "def later(*all):\n"
        "    time.sleep(3 * int(os.environ['RANK']))\n"
        "    return keep(*all)\n"
        "store.Run.keep_records = later\n"
        "sys.exit(worker.main())\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(late)]
    there = {"TORCH_CPP_LOG_LEVEL": "ERROR", **os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run([*command, str(run.path)], env=there, check=False, timeout=120).returncode == 0
    assert run.status.state == "finished"
    assert [row["text"] for row in run.records()[0] if row.get("name") == "checkpoint"] == [
        "1 record could not be read and will be missing."
    ]


def test_a_killed_process_fails_the_run_in_words(tiny: Recipe) -> None:
    run = store.create(endless(tiny))
    launch.start(run)
    _wait(lambda: run.status.step > 2)
    ranks = [each for each in psutil.Process(run.worker_pid()).children(recursive=True) if "RANK" in each.environ()]
    assert len(ranks) == 2
    next(each for each in ranks if each.environ()["RANK"] == "1").kill()
    _wait(lambda: not run.alive())
    assert run.status.state == "failed"
    assert "processes that trained together" in run.status.error["what"]
    assert not psutil.wait_procs(ranks, timeout=20)[1], "the other one has ended too"


@pytest.mark.slow
def test_several_processes_are_stopped_like_one(tiny: Recipe) -> None:
    run, heard = store.create(endless(tiny)), []

    def watch(record) -> None:
        heard.append(record)
        if len(heard) == 4:
            run.ask("stop")

    assert lead(run, watch) == 0
    assert run.status.state == "stopped"
    assert run.states
    assert run.log_tail() == "", "torchrun and torch have nothing to complain of"


def _wait(condition) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


@pytest.mark.parametrize("architecture", ["test_resnet", "test_efficientnet"])
def test_norms_over_all_processes_are_torchs_and_the_same_network(
    tiny: Recipe, architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What torch does on GPUs is torch's; here: every batch norm is one, and names, numbers and answers stay."""
    made = session.prepare(tiny.with_values({"model.backbone.architecture": architecture, "phases.0.thaw": ["*"]}))
    module, images = made.network.module.eval(), made.normalised(next(made.valid.epoch(0))[0])
    with torch.no_grad():
        before, answer = {name: value.clone() for name, value in module.state_dict().items()}, module(images)
    monkeypatch.setattr(distributed, "size", lambda: 2)
    distributed.share_norms(module, torch.device("cuda", 0))
    norms = [layer for layer in module.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    assert len(norms) > 5
    assert {isinstance(layer, nn.SyncBatchNorm) for layer in norms} == {True}
    after = module.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    with torch.no_grad():
        assert torch.equal(module.eval()(images), answer)


def test_norms_over_all_processes_are_refused_on_a_cpu_before_any_work(
    tiny: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny.with_values({"training.sync_norm": True, "training.processes": 2, "training.device": "cpu"})
    told = [finding for finding in preflight.findings(recipe) if finding.error]
    assert [(each.title, each.mend.path) for each in told] == [("Processes", "training.sync_norm")]
    assert not [finding for finding in preflight.findings(recipe.with_value("training.processes", 1)) if finding.error]
    monkeypatch.setattr(distributed, "size", lambda: 2)
    with pytest.raises(UserError, match="Norms cannot go over all processes"):
        distributed.share_norms(nn.BatchNorm2d(3), torch.device("cpu"))
