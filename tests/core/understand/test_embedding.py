"""What looks alike to a model: nearest images and a map, by features that are kept for the weights of the run."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import KNeighborsClassifier

from finetune_core import places
from finetune_core.cli import main
from finetune_core.errors import UserError
from finetune_core.finder import embedded
from finetune_core.recipe import Recipe
from finetune_core.runs import store
from finetune_core.runs.store import Run
from finetune_core.runs.work.worker import work
from finetune_core.understand import embedding
from finetune_core.understand.embedding import Look


@pytest.fixture
def run(tiny: Recipe) -> Run:
    made = store.create(tiny)
    assert work(made) == 0
    return made


def clouds(classes: int = 3, each: int = 40) -> Look:
    """Three clouds of features, one image of which has another's label."""
    draw = np.random.default_rng(0)
    centres = draw.normal(0, 6, (classes, 16))
    features = np.concatenate([centre + draw.normal(0, 1, (each, 16)) for centre in centres]).astype(np.float32)
    labels = [name for name in "abc"[:classes] for _ in range(each)]
    labels[5] = "c"
    paths = tuple(Path(f"{number}.png") for number in range(len(labels)))
    return Look(paths, tuple(labels), np.arange(len(labels)) % 4 == 0, features)


def test_alike_ones_lie_together_and_the_strange_one_is_told() -> None:
    seen = clouds()
    made = embedding.mapped(seen)
    assert np.flatnonzero(made.strange).tolist() == [5]
    right = np.array(seen.labels)
    right[5] = "a"
    assert KNeighborsClassifier(5).fit(made.places, right).score(made.places, right) == 1.0
    assert (embedding.mapped(seen).places == made.places).all(), "the same map each time"
    features = (seen.features - seen.features.mean(0)) / (seen.features.std(0) + embedded.TINY)
    assert seen.even @ seen.even.T == pytest.approx(cosine_similarity(features), abs=1e-4)


@pytest.mark.parametrize("most", [1, 5, 10])
def test_neighbours_name_as_those_of_scikit_learn(most: int) -> None:
    draw = np.random.default_rng(3)
    labels = draw.integers(0, 4, 1500)
    features = (draw.normal(0, 1, (4, 12))[labels] + draw.normal(0, 1.5, (1500, 12))).astype(np.float32)
    paths = tuple(Path(f"{number}.png") for number in range(1500))
    seen = Look(paths, tuple("abcd"[label] for label in labels), np.arange(1500) % 10 != 0, features)
    theirs = KNeighborsClassifier(most, metric="cosine", algorithm="brute").fit(
        seen.even[~seen.valid], labels[~seen.valid]
    )
    wanted = theirs.score(seen.even[seen.valid], labels[seen.valid])
    assert 0.3 < wanted < 0.95
    assert embedding.by_neighbours(seen, most) == pytest.approx(wanted, abs=1e-12)
    one_sided = replace(seen, valid=np.ones(1500, bool))
    with pytest.raises(UserError, match="no neighbours"):
        embedding.by_neighbours(one_sided)


def test_features_are_written_for_numpy_and_as_a_table(run: Run, tmp_path: Path) -> None:
    seen = embedding.look(run)
    kept = np.load(io.BytesIO(embedding.packed(seen)))
    assert np.array_equal(kept["features"], seen.features)
    assert kept["images"].tolist() == [str(path) for path in seen.paths]
    rows = list(csv.DictReader(io.StringIO(embedding.table(seen))))
    assert [row["label"] for row in rows] == kept["labels"].tolist() == list(seen.labels)
    assert [float(row["feature 3"]) for row in rows] == pytest.approx(seen.features[:, 3].tolist(), rel=1e-5)
    out = tmp_path / "features.csv"
    assert main(["features", str(run.path), "--out", str(out)]) == 0
    assert out.read_text() == embedding.table(seen)
    assert main(["features", str(run.path), "--out", str(tmp_path / "features.txt")]) == 2


def test_few_images_have_a_map_or_are_told_so() -> None:
    seen = clouds()
    for images in (4, 5, 11):
        assert embedding.mapped(seen.some(images)).places.shape == (images, 2)
    with pytest.raises(UserError, match="too few images"):
        embedding.mapped(seen.some(3))


def test_the_nearest_are_training_images_and_not_the_picture_itself(run: Run, images: Path) -> None:
    seen = embedding.look(run)
    assert len(seen.paths) == 24
    assert seen.valid.sum() == 6
    learned = next(path for path, valid in zip(seen.paths, seen.valid, strict=True) if not valid)
    others = embedding.nearest(run, learned, 5)
    assert learned not in [each.path for each in others]
    copy = Image.open(learned).convert("RGB")
    [first, *_] = found = embedding.nearest(run, copy, 5)
    assert first.path == learned
    assert first.likeness == pytest.approx(1.0, abs=1e-3)
    assert [each.likeness for each in found] == sorted((each.likeness for each in found), reverse=True)
    measured = {path for path, valid in zip(seen.paths, seen.valid, strict=True) if valid}
    assert not measured & {each.path for each in found}


def test_features_are_worked_out_once_for_the_weights(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    first = embedding.look(run)
    heard: list[int] = []
    again = embedding.look(run, lambda done, total: heard.append(done))
    assert (again.features == first.features).all()
    assert heard == []
    heard.clear()
    run.best.touch()
    embedding.look(run, lambda done, total: heard.append(done))
    assert heard
    assert len(list((places.cache_dir() / "embedded").iterdir())) == 1, "what was kept for earlier weights is gone"
    picture = first.paths[0]
    Image.open(picture).convert("L").convert("RGB").save(picture)
    assert not (embedding.look(run).features == first.features).all(), "another picture"


def test_what_says_nothing_has_no_map() -> None:
    seen = clouds()
    with pytest.raises(UserError, match="There is no map"):
        embedding.mapped(replace(seen, features=np.zeros_like(seen.features)))
    lonely = replace(seen, labels=("alone", *seen.labels[1:]))
    assert not embedding.mapped(lonely).strange[0], "nothing could lie beside it"
