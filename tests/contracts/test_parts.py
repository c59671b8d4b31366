"""What every part promises, looped over the registry: a new part is tested the moment it exists."""

import subprocess
import sys

import pytest
import torch
import torchvision
from torch import nn
from torchvision.transforms import v2

import finetune_core.runs.jobs  # noqa: F401 - the jobs and engines are parts, too
from finetune_core.parts import FAMILIES, Call, Knob, Optimizer, Part

PARTS = [
    pytest.param(part, id=f"{name}-{kind}")
    for name, family in FAMILIES.items()
    for kind, part in family.kinds().items()
]
NAMES = {"torch": torch, "nn": nn, "v2": v2, "torchvision": torchvision}


@pytest.mark.parametrize("part", PARTS)
def test_a_part_explains_itself(part: type[Part]) -> None:
    assert part.title
    assert "__doc__" in part.__dict__, "a docstring of its own, for the UI"
    assert part.about().endswith("."), "a sentence"


@pytest.mark.parametrize("part", PARTS)
def test_a_part_survives_plain_data(part: type[Part]) -> None:
    family = next(family for family in FAMILIES.values() if issubclass(part, family))
    made = part()
    dumped = made.model_dump(mode="json")
    assert dumped["kind"] == part.kind
    assert family.model_validate(dumped) == made


@pytest.mark.parametrize("part", PARTS)
def test_every_field_is_a_knob_with_help_and_bounds(part: type[Part]) -> None:
    knobs = {knob.name: knob for knob in part.knobs()}
    undeclared = set(part.model_fields) - set(knobs) - {"weights"}  # a backbone's weights are a part themselves
    assert not undeclared
    for knob in knobs.values():
        _check(knob)


def _check(knob: Knob) -> None:
    assert knob.title
    assert knob.help.endswith("."), f"{knob.name}: help is a sentence"
    if knob.type in ("int", "float"):
        assert knob.low is not None, f"{knob.name} has no lower bound"
        assert knob.high is not None, f"{knob.name} has no upper bound"
        assert knob.low <= knob.default <= knob.high


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_an_unknown_kind_names_the_known_ones(family: type[Part]) -> None:
    with pytest.raises(ValueError, match=next(iter(family.kinds()))):
        family.model_validate({"kind": "nonsense"})


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_no_two_of_a_family_are_called_alike(family: type[Part]) -> None:
    assert len({part.title for part in family.kinds().values()}) == len(family.kinds()), "people choose by title"


def test_a_call_shows_what_it_builds() -> None:
    call = Call("torch.nn.Sequential", (Call("torch.nn.Linear", (3, 4)), Call("torch.nn.Dropout", kwargs={"p": 0.25})))
    assert call.code() == "nn.Sequential(nn.Linear(3, 4), nn.Dropout(p=0.25))"
    assert repr(eval(call.code(), NAMES)) == repr(call.build())


def test_importing_the_parts_needs_no_torch() -> None:
    code = "import sys, finetune_core.parts; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("part", Optimizer.kinds().values(), ids=Optimizer.kinds())
def test_every_optimizer_is_written_down_with_its_rate_and_decay(part: type[Optimizer]) -> None:
    assert r"\eta" in part.formula
    assert r"\lambda w" in part.formula
    assert part.formula.count("{") == part.formula.count("}")
