"""Whether images are like those of the pretraining: the judgement by its figures, and the measure on real features."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from finetune_core.finder import halfway, probes, scout
from finetune_core.finder.likeness import judged
from finetune_core.parts import modules
from finetune_core.parts.backbones import Bundled, RandomWeights, Timm
from finetune_core.places import cache_dir
from finetune_core.recipe import Recipe, parse
from finetune_core.records import Probed
from finetune_core.records import parse as record_of
from finetune_core.training import reuse

BUNDLED = Timm(architecture="resnet10t", weights=Bundled())


def probed(last: float, halfway: float, margin: float = 0.04, *, score: float = 0.05, chance: float = 0.1) -> Probed:
    """A probe of 300 images with these shares told right, and their margins."""
    row = {"stage": "layer2", "halfway": halfway, "lead_margin": margin, "chance": chance}
    return Probed("timm", "resnet10t", last, score, 300, 1.0, 1.0, 1, 1.0, **row)


@pytest.mark.parametrize(
    ("found", "word", "why"),
    [
        (probed(0.75, 0.50), "alike", "is of use"),
        (probed(0.58, 0.52, 0.05), "alike", "is of use"),
        (probed(0.56, 0.50, 0.07), "between", "of some use at most"),  # it may be chance
        (probed(0.53, 0.50, 0.02), "between", "of some use at most"),  # it is none, but small
        (probed(0.47, 0.59, 0.05), "unlike", "of no use"),
        (probed(0.90, 0.99, 0.03), "unlike", "of no use"),
        (probed(0.32, 0.35, 0.05), "unlike", "of no use"),
        (probed(0.99, 0.97, 0.02), "", "nearly all at either place"),
        (probed(1.0, 1.0, 0.0), "", "nearly all at either place"),
        (probed(0.50, 0.48, 0.15), "", "too few images"),
        (probed(0.75, 0.50, 0.15), "alike", "is of use"),  # so large that few images are enough
        (probed(0.13, 0.12), "", "the commonest class 10%"),
        (probed(0.62, 0.55, chance=0.6), "", "the commonest class 60%"),
    ],
)
def test_the_lead_of_the_last_features_is_judged_with_its_margin(found: Probed, word: str, why: str) -> None:
    said = judged(BUNDLED, found)
    assert said.word == word
    assert why in said.reason
    assert f"{found.score:.0%} of 300 images" in said.reason
    assert f"(after layer2) {found.halfway:.0%}" in said.reason
    assert f"± {found.lead_margin:.0%}" in said.reason


def test_without_a_measurement_or_a_pretraining_it_is_not_known() -> None:
    assert judged(BUNDLED, None).word == ""
    assert judged(BUNDLED, probed(0.7, math.nan)).word == ""
    random = judged(BUNDLED.replace(weights=RandomWeights()), probed(0.7, 0.5))
    assert random.word == "nothing"
    assert "Random weights" in random.reason


@pytest.mark.parametrize("known", [False, True])
def test_half_way_is_the_end_of_the_group_in_the_midst(
    tiny: Recipe, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same numbers as from the module itself, whether they pass by or the last features were kept before."""
    found: list[tuple[str, torch.Tensor]] = []
    midst = halfway.midst
    monkeypatch.setattr(halfway, "midst", lambda *given: found.append(midst(*given)) or found[-1])
    for _ in range(1 + known):
        list(scout.scout(tiny, [BUNDLED], 100))
    stage, features = found[-1]
    assert stage == "layer2"
    made = scout.session.prepare(scout.to_probe(tiny, BUNDLED), begun=scout.some(tiny.data.source.samples(), 100))
    both, module, seen = np.union1d(made.train.indices, made.valid.indices), made.network.module.eval(), []
    module.layer2.register_forward_hook(lambda layer, given, output: seen.append(output.mean((2, 3))))
    with torch.inference_mode():
        for images, _ in made.valid.over(both).epoch(0):
            module(made.normalised(images))
    assert features.numpy() == pytest.approx(torch.cat(seen).numpy(), rel=1e-4, abs=1e-5)


def test_what_passes_half_way_is_not_worked_out_again(tiny: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    answer = reuse.Frozen.answer
    monkeypatch.setattr(reuse.Frozen, "answer", lambda *given: looks.append(given) or answer(*given))
    list(scout.scout(tiny, [BUNDLED], 100))
    assert len(looks) == 1, "24 images are one batch"


def test_maps_are_pooled_over_their_places_wherever_channels_stand() -> None:
    maps = torch.randn(2, 12, 5, 5)
    assert torch.equal(modules.pooled(maps), maps.mean((2, 3)))
    assert torch.allclose(modules.pooled(maps.permute(0, 2, 3, 1)), maps.mean((2, 3)))


def test_a_body_without_a_midst_is_not_measured(tiny: Recipe) -> None:
    made = scout.session.prepare(scout.to_probe(tiny, BUNDLED))
    assert halfway.middle(made)
    made.network.groups = (made.network.groups[0], *made.network.groups[-2:])
    assert halfway.middle(made) is None


def test_random_weights_tags_and_numbers_are_not_measured(tiny: Recipe, sources: dict) -> None:
    (random,) = scout.scout(tiny, [tiny.model.backbone], 100)
    assert math.isnan(random.halfway)
    (tags,) = scout.scout(tiny.with_value("data.source", sources["multi_label"]), [BUNDLED], 100)
    assert math.isnan(tags.halfway)
    assert judged(BUNDLED, tags).word == ""


def test_the_margin_of_the_lead_is_that_of_bonett_and_price(tiny: Recipe) -> None:
    """Of 100 images 20 are told right by the last features alone and 5 by those half-way alone."""
    made = scout.session.prepare(scout.to_probe(tiny, BUNDLED))
    wanted = torch.zeros(100, dtype=torch.long)
    last, before = torch.zeros(100, 3), torch.zeros(100, 3)
    last[5:, 0], before[:5, 0], before[25:, 0] = 1.0, 1.0, 1.0
    last[:5, 1], before[5:25, 1] = 1.0, 1.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scout, "_answers", lambda made, features, wanted: features)
        found = scout._compared(made, last, ("layer2", before), wanted)
    one, other = 21 / 102, 6 / 102
    assert found["halfway"] == pytest.approx(0.8)
    assert found["lead_margin"] == pytest.approx(1.96 * math.sqrt((one + other - (one - other) ** 2) / 102))
    assert found["chance"] == 1.0


def test_what_was_measured_is_remembered(tiny: Recipe) -> None:
    (found,) = scout.scout(tiny, [BUNDLED], 100)
    assert found.stage == "layer2"
    assert 0 <= found.halfway <= 1
    assert found.chance == pytest.approx(1 / 3)
    probes.keep(tiny, BUNDLED, found)
    known = probes.known(tiny, BUNDLED)
    assert known is not None
    assert judged(BUNDLED, known) == judged(BUNDLED, found)


def test_probes_of_earlier_are_read_without_it() -> None:
    row = {**vars(probed(0.7, 0.5)), "kind": "probed"}
    for name in ("stage", "halfway", "lead_margin", "chance"):
        del row[name]
    assert judged(BUNDLED, record_of(row)).word == ""


def tissue(folder: Path, each: int = 40) -> Path:
    """Kinds of tissue, told apart by how large, long and crowded their cells are: no things, no parts of things."""
    rows, columns = np.mgrid[:96, :96]
    for number, (many, size, long) in enumerate([(14, 5, 1), (14, 7, 1), (28, 4, 1), (28, 4, 2.2), (14, 5, 2.2)]):
        (folder / f"kind {number}").mkdir(parents=True)
        for place in range(each):
            rng = np.random.default_rng([number, place])
            picture = np.full((96, 96, 3), (235.0, 205.0, 225.0)) + rng.normal(size=(96, 96, 1)) * 8
            for _ in range(int(many * rng.uniform(0.8, 1.2))):
                across, down = columns - rng.uniform(0, 96), rows - rng.uniform(0, 96)
                turn, wide = rng.uniform(0, np.pi), long * np.exp(rng.normal() * 0.15)
                along = across * np.cos(turn) + down * np.sin(turn)
                aside = down * np.cos(turn) - across * np.sin(turn)
                away = np.hypot(along / wide**0.5, aside * wide**0.5) - size * np.exp(rng.normal() * 0.18)
                inside = (away < 0)[..., None] * 0.8
                picture = picture * (1 - inside) + inside * np.array([90, 60, 140])
            Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / f"kind {number}" / f"{place}.png")
    return folder


@pytest.mark.slow
def test_blooms_are_like_what_the_bundled_backbone_learned_from_and_tissue_is_not(blooms: None, tmp_path: Path) -> None:
    """Measured, not planted: real pictures through the real weights."""
    words = []
    for path in (cache_dir() / "blooms-v1", tissue(tmp_path / "tissue")):
        data = {"source": {"kind": "folder", "path": str(path)}, "image_size": 128}
        (found,) = scout.scout(parse({"data": data}), [BUNDLED], probes.ENOUGH)
        words.append(judged(BUNDLED, found))
    assert [each.word for each in words] == ["alike", "unlike"], words
