"""What every head promises, whoever wrote it, on every family of backbones."""

import copy

import pytest
import timm
import torch
from torch import nn

from finetune_core.errors import UserError
from finetune_core.network import catalogue
from finetune_core.network.build import build
from finetune_core.network.network import Network
from finetune_core.parts import Call, modules
from finetune_core.parts.backbones import Backbone, RandomWeights, Timm, Torchvision
from finetune_core.parts.backbones.sockets import Features
from finetune_core.parts.backbones.spec import Body, Plan
from finetune_core.parts.heads import MLP, ConcatPool, Head, Linear
from finetune_core.recipe import Model, Recipe
from finetune_core.runs import preflight

HEADS = [
    *(kind() for kind in Head.kinds().values()),
    MLP(layers=3, activation="gelu", dropout=0.1, hidden=16),
    MLP(layers=2, activation="none"),
]
NAMES = {**vars(modules), "nn": nn, "timm": timm}
LAYOUTS = {
    Features(24): (3, 24, 4, 5),
    Features(24, "NHWC"): (3, 4, 5, 24),
    Features(24, "NLC", 2): (3, 7, 24),
}


@pytest.mark.parametrize("head", HEADS, ids=repr)
class TestEveryHead:
    def test_maps_features_to_logits_of_the_told_size(self, head: Head) -> None:
        built = head.call(24, 5).build()
        assert built(torch.randn((3, 24, 4, 4) if head.pools else (3, 24))).shape == (3, 5)
        assert head.parameters(24, 5) == sum(p.numel() for p in built.parameters())

    @pytest.mark.parametrize("features", LAYOUTS, ids=lambda features: features.layout)
    def test_the_code_shown_is_the_module_built(self, head: Head, features: Features) -> None:
        call = head.over(features, 5) if head.pools else head.call(24, 5)
        shown, built = eval(call.code(), NAMES), call.build()
        assert repr(shown) == repr(built)
        shown.load_state_dict(built.state_dict())
        x = torch.randn(LAYOUTS[features] if head.pools else (3, 24))
        assert torch.equal(shown.eval()(x), built.eval()(x))


# --- on every family -------------------------------------------------------------------------------------------------

SIDES = {"inception_v3": 96, "inception_v4": 96, "inception_resnet_v2": 96, "inception": 96, "deepseek_vit": 56}  # px
HUGE = 100e6  # weights; from here on only the shapes are computed
QUICK = 3e10  # weights × pixels of a network that is tested every time


def smallest() -> list[catalogue.Entry]:
    """The cheapest network of each family."""
    found: dict[tuple[str, str], catalogue.Entry] = {}
    for entry in sorted(catalogue.entries(), key=cost, reverse=True):
        found[entry.library, entry.family] = entry
    return list(found.values())


def side(entry: catalogue.Entry) -> int:
    return entry.input_size if entry.fixed_size else SIDES.get(entry.family, 64)


def cost(entry: catalogue.Entry) -> float:
    return entry.parameters(5) * side(entry) ** 2


def marked(entry: catalogue.Entry) -> object:
    marks = [pytest.mark.slow] if cost(entry) > QUICK else []
    return pytest.param(entry, id=f"{entry.library}-{entry.family}", marks=marks)


def built(entry: catalogue.Entry, head: Head) -> Network:
    library: dict[str, type[Backbone]] = {"timm": Timm, "torchvision": Torchvision}
    backbone = library[entry.library](architecture=entry.architecture, weights=RandomWeights())
    torch.manual_seed(0)
    with torch.device("meta" if entry.parameters() > HUGE else "cpu"):
        return build(Model(backbone=backbone, head=head), 5, image_size=side(entry))


def without_gradient(network: Network, side: int) -> set[str]:
    """The parameters that one step leaves without a gradient."""
    parameters = dict(network.module.named_parameters())
    device = next(iter(parameters.values())).device
    images, labels = torch.rand(2, 3, side, side, device=device), torch.tensor([1, 3], device=device)
    logits = network.module.train()(images)
    assert logits.shape == (2, 5)
    nn.functional.cross_entropy(logits, labels).backward()
    return {name for name, parameter in parameters.items() if parameter.grad is None}


@pytest.fixture
def _one_body(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each head gets a copy of one body, for random weights take as long as the step with them."""
    bodies: dict[str, Body] = {}
    for library in (Timm, Torchvision):

        def made(self: Backbone, call: Call, plan: Plan, make=library.made) -> Body:
            if call.code() not in bodies:
                bodies[call.code()] = make(self, call, plan)
            return copy.deepcopy(bodies[call.code()])

        monkeypatch.setattr(library, "made", made)


@pytest.mark.usefixtures("_one_body")
@pytest.mark.parametrize("entry", [marked(entry) for entry in smallest()])
def test_every_head_learns_on_every_family(entry: catalogue.Entry) -> None:
    idle: set[str] | None = None
    for head in (Linear(), MLP(hidden=16), ConcatPool(hidden=16)):
        if not entry.features_for(head):
            with pytest.raises(UserError, match="no features to pool"):
                built(entry, head)
            continue
        network = built(entry, head)
        still = without_gradient(network, side(entry))
        idle = still if idle is None else idle  # of the first head, even where that is nothing
        assert still <= idle, f"{head.kind} leaves weights behind that nothing uses"
        assert not still & set(network.groups[-1].parameters), f"all of {head.kind} learns"
        assert_groups(network, entry, head)


def assert_groups(network: Network, entry: catalogue.Entry, head: Head) -> None:
    """The catalogue's groups by name, each parameter in one, and a head of the size that the catalogue says."""
    assert [group.name for group in network.groups] == [*entry.body_under(head), "head"]
    assert network.groups[-1].count == head.parameters(entry.features_for(head), 5)
    if not head.pools:  # which may also take a norm layer out of a group
        assert [group.count for group in network.groups[:-1]] == [count for _, count in entry.groups]
    sizes = [name for name, _ in network.module.named_parameters()]
    assert sorted(name for group in network.groups for name in group.parameters) == sorted(sizes)


def test_linear_layers_with_nothing_between_are_told(tiny: Recipe) -> None:
    def told(head: Head) -> list[str]:
        recipe = tiny.replace(model=tiny.model.replace(head=head))
        return [each.text for each in preflight.findings(recipe) if each.title == "Head"]

    [text] = told(MLP(activation="none"))
    assert "one linear layer" in text
    assert not told(MLP())
    assert not told(Linear())
    folded = MLP(activation="none", dropout=0.0, layers=2, hidden=8).call(6, 3).build().eval()
    one = folded(torch.zeros(1, 6))
    whole = torch.stack([folded(row[None])[0] - one[0] for row in torch.eye(6)], 1)  # its matrix, column by column
    inputs = torch.randn(5, 6)
    assert torch.allclose(folded(inputs), inputs @ whole.T + one, atol=1e-5)
