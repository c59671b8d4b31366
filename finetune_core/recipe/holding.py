r"""Single parameters of layer groups, by name or by the kind of layer that owns them: held still, or at another rate.

A rule is a regular expression that is searched in parameter names (`bn`, `layer4\.0`), or `type:` and the class of a
layer (`type:Conv2d`), which stands for that class and all that derive from it; `*` and `?` stand for any letters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from finetune_core.errors import UserError
from finetune_core.patterns import Pattern

if TYPE_CHECKING:
    from torch import nn

TYPE = "type:"
HINT = "Write part of a parameter's name, such as bn or layer4\\.0, or type:Conv2d for a kind of layer."
EXAMPLES = 3  # names that an error shows


@dataclass(frozen=True)
class Weight:
    """One parameter: its name in the state dict, the class of the layer that owns it, first, and that class's bases."""

    name: str
    types: tuple[str, ...]
    count: int


def weights(module: nn.Module) -> tuple[Weight, ...]:
    """All parameters of a network, in its own order; what is shared counts where it comes first."""
    return tuple(_weights(module))


def _weights(module: nn.Module) -> Iterator[Weight]:
    for name, parameter in module.named_parameters():
        owner = type(module.get_submodule(name.rpartition(".")[0]))
        bases = tuple(base.__name__ for base in owner.__mro__ if base.__module__ != "builtins")
        yield Weight(name, bases, parameter.numel())


def held(weights: Sequence[Weight], rules: Sequence[str]) -> tuple[str, ...]:
    """Names of the parameters that any rule means, in order; a UserError for a rule that means none."""
    wanted: set[str] = set()
    for rule in rules:
        found = matches(weights, rule)
        if not found:
            raise _no_match(weights, rule)
        wanted.update(found)
    return tuple(weight.name for weight in weights if weight.name in wanted)


def rules_of(weights: Sequence[Weight], rules: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Which of the rules mean each parameter, for those that any means; a UserError for a rule that means none."""
    meant = {rule: set(held(weights, [rule])) for rule in rules}
    found = {weight.name: tuple(rule for rule in meant if weight.name in meant[rule]) for weight in weights}
    return {name: some for name, some in found.items() if some}


def factor(factors: Mapping[str, float], meaning: Collection[str]) -> float:
    """The factor of a parameter that these rules mean: that of the last of them."""
    return next((factors[rule] for rule in reversed([*factors]) if rule in meaning), 1.0)


def matches(weights: Sequence[Weight], rule: str) -> tuple[str, ...]:
    """Names of the parameters that one rule means, in order."""
    means = meaning(rule)
    return tuple(weight.name for weight in weights if means(weight))


def meaning(rule: str) -> Callable[[Weight], bool]:
    """Whether a rule means a parameter; a UserError where it cannot be read."""
    if rule.startswith(TYPE):
        wanted = rule.removeprefix(TYPE).strip().lower()
        return lambda weight: any(fnmatchcase(kind.lower(), wanted) for kind in weight.types)
    expression = Pattern(rule, HINT)
    return lambda weight: bool(rule and expression.search(weight.name))


def kinds(weights: Sequence[Weight]) -> dict[str, int]:
    """How many parameters each class of layer owns, most first."""
    return dict(Counter(weight.types[0] for weight in weights).most_common())


def _no_match(weights: Sequence[Weight], rule: str) -> UserError:
    if rule.startswith(TYPE):
        why = f"Layers with parameters here are {', '.join(kinds(weights))}."
        return UserError(f"No layer is a {rule.removeprefix(TYPE)}.", why, "Take one of these, or * for any letters.")
    some = [weight.name for weight in weights[:: max(1, len(weights) // EXAMPLES)]][:EXAMPLES]
    why = f"There are {len(weights)}, such as {', '.join(some)}."
    hint = "Mend the expression, or name a kind of layer, as type:Conv2d."
    return UserError(f"No parameter's name holds {rule}.", why, hint)
