"""Labels of some pictures propose those of the rest, by what a frozen backbone sees in them."""

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from finetune_core.data import labelling
from finetune_core.finder import embed, embedded
from finetune_core.finder.embedded import Embedding
from finetune_core.network import build
from finetune_core.parts.heads import ConcatPool
from finetune_core.recipe import Recipe
from finetune_core.runs import store
from finetune_core.runs.jobs import Embed
from finetune_core.runs.work.worker import work


@pytest.fixture
def clouds() -> tuple[Embedding, dict[str, str]]:
    """Two clouds of points in forty dimensions, and the truth."""
    rng = np.random.default_rng(0)
    middle = rng.normal(0, 1, 40)
    truth = {f"{number}.png": "one" if number % 2 else "two" for number in range(200)}
    points = np.stack([rng.normal(0, 1, 40) + (middle if label == "one" else -middle) for label in truth.values()])
    return Embedding(tuple(truth), points.astype(np.float32)), truth


def test_a_few_labels_propose_the_rest(clouds: tuple[Embedding, dict[str, str]]) -> None:
    found, truth = clouds
    some = {name: truth[name] for name in list(truth)[:8]}
    said = embedded.proposals(found, some)
    assert {*said} == {*truth} - {*some}
    assert np.mean([each.label == truth[name] for name, each in said.items()]) > 0.95
    assert all(0.5 <= each.sure <= 1 for each in said.values())
    order = embedded.unsure_first(said, [*said])
    assert said[order[0]].sure == min(each.sure for each in said.values())


def test_nothing_is_proposed_before_two_classes_are_known(clouds: tuple[Embedding, dict[str, str]]) -> None:
    found, _ = clouds
    assert embedded.proposals(found, {}) == {}
    assert embedded.proposals(found, {"0.png": "two", "2.png": "two", "1.png": "one"}) == {}
    assert embedded.proposals(found, {"0.png": "two", "2.png": "two", "other.png": "one", "gone.png": "one"}) == {}


def test_left_out_errors_are_those_of_fitting_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The closed form against ridge regression fitted once for each picture left out, by numpy's own solver."""
    rng = np.random.default_rng(1)
    known, wanted = rng.normal(0, 1, (20, 6)), rng.integers(0, 3, 20)
    for pull in (0.01, 1.0):
        monkeypatch.setattr(embedded, "PULLS", np.array([pull]))
        monkeypatch.setattr(embedded, "SHARPEST", np.array([1.0]))
        monkeypatch.setattr(embedded, "MODEST", 0)
        gram = known @ known.T / 6
        targets = np.eye(3)[wanted] - np.bincount(wanted, minlength=3) / 20
        asked = rng.normal(0, 1, (4, 6))
        answer = asked @ known.T / 6 @ np.linalg.solve(gram + pull * np.eye(20), targets)
        shares = np.exp(answer) / np.exp(answer).sum(1, keepdims=True)
        assert np.allclose(embedded._shares(known, wanted, asked, 3), shares)
        held = embedded._left_out(*np.linalg.eigh(gram), targets, pull)
        for index in range(20):
            rest = np.delete(np.arange(20), index)
            fitted = np.linalg.solve(gram[np.ix_(rest, rest)] + pull * np.eye(19), targets[rest])
            assert np.allclose(held[index], gram[index, rest] @ fitted)


@pytest.mark.parametrize("head", [Recipe().model.head, ConcatPool()])
def test_features_are_those_that_timm_gives_to_its_head(head) -> None:
    model = Recipe().model.replace(head=head)
    network = build.build(model, 2)
    network.module.eval()
    images = torch.randint(0, 255, (3, 3, 64, 64), dtype=torch.uint8).float()
    found = embed.features(network, images)
    plain = timm.create_model("resnet10t", num_classes=0).eval()
    plain.load_state_dict(network.module.state_dict(), strict=False)
    mean, std = (torch.tensor(each).view(1, -1, 1, 1) for each in (network.mean, network.std))
    with torch.inference_mode():
        assert torch.allclose(found, plain((images / 255 - mean) / std), atol=1e-4)


def test_a_job_looks_once_and_what_it_saw_is_kept(tmp_path: Path, tiny: Recipe) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(30):
        pixels = rng.integers(0, 60, (40, 40, 3)) + (150 if number % 2 else 0)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number:02}.png")
    (folder / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    recipe = tiny.replace(model=Recipe().model)
    run = store.create(recipe, Embed(folder=str(folder)))
    assert work(run) == 0, run.log_tail()
    assert run.job.lines(run.records()[0], recipe) == ["Looked at 30 pictures."]
    file = embedded.place(recipe, folder)
    found = embedded.known(file)
    assert found is not None
    assert len(found.names) == 30, "what cannot be read is left out"
    given = {f"{number:02}.png": "light" if number % 2 else "dark" for number in range(6)}
    labelling.give(folder, given)
    said = embedded.proposals(embedded.standard(found), labelling.read(str(folder)).labels)
    assert all(said[f"{number:02}.png"].label == ("light" if number % 2 else "dark") for number in range(6, 30))
    assert found.bad == ("cut.png",)
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    for damaged in (b"damaged", whole[: len(whole) // 2], bytes(flipped), b""):
        file.write_bytes(damaged)
        known = embedded.known(file)
        assert known is None or len(known.names) == 30


def test_features_beyond_half_precision_are_kept_within_it(tmp_path: Path) -> None:
    features = np.random.default_rng(0).normal(0, 1, (20, 8)).astype(np.float32)
    features[0, 0], features[1, 1] = 1e30, np.nan
    names = tuple(f"{number}.png" for number in range(20))
    embedded.keep(tmp_path / "kept.npz", Embedding(names, features, ("no text \udcff.png",)))
    found = embedded.known(tmp_path / "kept.npz")
    assert found is not None
    assert found.bad == ("no text \udcff.png",)
    found = embedded.standard(found)
    assert np.isfinite(found.features).all()
    given = {f"{number}.png": "ab"[number % 2] for number in range(8)}
    assert len(embedded.proposals(found, given)) == 12


def test_a_folder_without_pictures_ends_in_words(tmp_path: Path, tiny: Recipe) -> None:
    run = store.create(tiny.replace(model=Recipe().model), Embed(folder=str(tmp_path / "empty")))
    (tmp_path / "empty").mkdir()
    work(run)
    assert run.status.state == "failed"
    assert "no pictures" in run.status.error["what"]
