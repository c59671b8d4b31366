"""From all that lies in a weights file to the state dict of one network, and into it.

People save state dicts inside dictionaries, under prefixes, with an average beside them and a loss or an optimizer
around them. No list of wrappings could hold them all: of every dictionary in the file and every prefix in it, that one
is taken under which most of the network's own names are found. Where names are those of an older version or of the
authors, the library's own translations are tried.
"""

from __future__ import annotations

import re
from collections import Counter, OrderedDict, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from finetune_core.errors import UserError
from finetune_core.parts.backbones.spec import Translation
from finetune_core.wording import count, few

if TYPE_CHECKING:
    from torch import Tensor, nn

AVERAGED = re.compile(r"ema|averag|swa|teacher", re.IGNORECASE)  # better than what they are averages of
DEEPEST = 5  # dictionaries inside each other
SHOWN = 3  # names in a message
TRACKED = "num_batches_tracked"  # a count for training alone; older files have none
SAYS = ("arch", "architecture", "model_name", "model")  # under which training code writes a network's name down
LOOKS = {  # other networks, by the names of their tensors
    "a detection network": r"(^|\.)(rpn|roi_heads|fpn|bbox_embed|anchors?|regression_head|classification_head)\.",
    "a segmentation network": r"(^|\.)(decode_head|aux_classifier|sem_seg_head|mask_decoder)\.",
    "a language model": r"(^|\.)(lm_head|embed_tokens|wte|word_embeddings)\.",
    "an adapter for another network": r"lora_[AB]\b",
}

# How a translation fails on names that it was not made for: it looks up and reshapes without asking, and some ask by
# `assert`. That only says that the file is not of the kind it knows.
NOT_ITS_KIND = (LookupError, AttributeError, RuntimeError, TypeError, ValueError, AssertionError)


@dataclass(frozen=True)
class Sought:
    """What of a network is to be found: all but what lies under some dotted names, which is left out on both sides."""

    module: nn.Module
    without: Sequence[str]  # the old classifier, helpers that only training used

    @cached_property
    def wanted(self) -> Mapping[str, tuple[int, ...]]:
        """Shapes by name."""
        state = self.module.state_dict()
        return {name: tuple(value.shape) for name, value in state.items() if not _under(name, self.without)}

    def unwanted(self, named: Mapping[str, Tensor]) -> list[str]:
        """The names that come to nothing in it."""
        return [name for name in named if name not in self.wanted and not _under(name, self.without)]


@dataclass(frozen=True)
class Misfit:
    """What does not match between a state dict and a network, by name; false where everything does."""

    missing: Collection[str] = ()
    foreign: Collection[str] = ()  # of the state dict, inside what the network has, too
    misshapen: Mapping[str, tuple[Sequence[int], Sequence[int]]] = field(default_factory=dict)  # given, wanted

    def __bool__(self) -> bool:
        return bool(self.missing or self.foreign or self.misshapen)

    def rank(self) -> tuple[int, int]:
        """The less the nearer: what the network misses, then what it does not know."""
        return len(self.missing) + len(self.misshapen), len(self.foreign)

    def channels(self, usual: int) -> int:
        """Of the images that the file's network takes, if that alone sets it apart from one for `usual`; else 0."""
        shapes = list(self.misshapen.values())
        if self.missing or self.foreign or not shapes or any(len(given) != 4 for given, _ in shapes):
            return 0
        found = {given[1] for given, _ in shapes}
        alike = all((*given[:1], usual, *given[2:]) == tuple(wanted) for given, wanted in shapes)
        return found.pop() if alike and len(found) == 1 else 0

    def words(self) -> str:
        """The first few of them."""
        problems = [f"{name} is missing" for name in self.missing]
        problems += [f"{name} is not part of the network" for name in sorted(self.foreign)]
        problems += [
            f"{name} is {_shape(got)} instead of {_shape(want)}" for name, (got, want) in self.misshapen.items()
        ]
        return few(problems, SHOWN, "; ")


@dataclass(frozen=True)
class Found:
    """What a file holds for a network: its state dict, as far as it is there, and how it is come by."""

    named: Mapping[str, Tensor] = field(default_factory=dict)  # what the network wants of it, once it is found
    misfit: Misfit = Misfit()
    steps: tuple[str, ...] = ()  # code that makes it of all `weights` of the file, for the `model`
    keys: tuple[str, ...] = ()  # of the dictionary in the file
    prefix: str = ""  # of its names in that dictionary
    outside: tuple[str, ...] = ()  # names in that dictionary without the prefix
    strays: tuple[str, ...] = ()  # tensors of that dictionary that are left out, once it is found
    others: tuple[str, ...] = ()  # dictionaries that would have fitted as well

    def note(self) -> str:
        """What was left out, in words; empty where nothing was."""
        are = f"{count(len(self.strays), 'tensor')} {'is' if len(self.strays) == 1 else 'are'}"
        strays = f"{are} no part of the network and left out: {few(self.strays, SHOWN)}." if self.strays else ""
        taken = f"Taken from {'.'.join(self.keys) or 'the outermost dictionary'}, not from {few(self.others, SHOWN)}."
        return " ".join(filter(None, (strays, taken if self.others else "")))


def find(tree: Any, module: nn.Module, without: Sequence[str], translations: Sequence[Translation] = ()) -> Found:
    """What fits a network best of all that was read from a file.

    Whatever lies under the dotted names `without` is left out on both sides. `translations` are tried where names or
    shapes do not fit.
    """
    sought = Sought(module, without)
    dictionaries = sorted(_dictionaries(tree), key=lambda each: not AVERAGED.search(".".join(each[0])))
    found = [_under_prefix(keys, named, _prefix(named, sought.wanted), sought) for keys, named in dictionaries]
    if all(each.misfit for each in found):
        shared = [_under_prefix(keys, named, each, sought) for keys, named in dictionaries for each in _shared(named)]
        found += [_translated(each, translations, sought) for each in (*found, *shared)]
    best = min(found, key=_rank, default=Found(misfit=Misfit(missing=tuple(sought.wanted))))
    fitting = {".".join(each.keys) for each in found if not each.misfit} - {".".join(best.keys)}
    return _sorted_out(best, sought, tuple(sorted(fitting)))


def fill(module: nn.Module, found: Found, source: str) -> None:
    """Copy what was found into a network that it fits, half precision widened; UserError where it is no numbers."""
    own = module.state_dict()
    broken = [name for name, value in found.named.items() if not _finite(value) and _finite(own[name])]
    if broken:
        where = f"The file holds no numbers (NaN or infinity) in {few(broken, SHOWN)}"
        raise UserError(
            f"The weights in {source} are of no use.",
            f"{where}: the training it comes from had diverged.",
            "Choose a file from before that, or another one.",
        )
    load(module, found.named)


def load(module: nn.Module, named: Mapping[str, Tensor]) -> None:
    """`load_state_dict` of as much as there is, for networks too that ask which version wrote it (MNASNet).

    Other files than those of torch.save do not say; names and shapes were compared, so it is the network's own.
    """
    state: Any = OrderedDict(named)
    state._metadata = getattr(module.state_dict(), "_metadata", {})
    module.load_state_dict(state, strict=False)


def versioned(module: nn.Module) -> bool:
    """Whether a network asks that."""
    from torch import nn

    return type(module)._load_from_state_dict is not nn.Module._load_from_state_dict


def fits(module: nn.Module, named: Mapping[str, Tensor]) -> bool:
    """Whether names and shapes are exactly those of the network."""
    return {name: value.shape for name, value in module.state_dict().items()} == {
        name: value.shape for name, value in named.items()
    }


def misfitting(tree: Any, found: Found, source: str) -> UserError:
    """The words for a file that does not fit."""
    what = f"The weights in {source} do not fit this network."
    names = [name for _, named in _dictionaries(tree) for name in named]
    if _optimizers(tree) and not any(name for name in names if "." in name):
        return UserError(what, "It holds the memory of an optimizer and no network.", "Choose the model's own file.")
    if not names:
        return UserError(
            f"The weights file {source} holds no named tensors.",
            "It is not a state dict.",
            "Save model.state_dict() into it.",
        )
    looks = next((words for words, tell in LOOKS.items() if any(re.search(tell, name) for name in names)), "")
    kind = f"This looks like a file for {looks or 'another architecture'}: {found.misfit.words()}."
    said = _says(tree)
    why = f"{kind} It says itself that it is for {said}." if said else kind
    return UserError(what, why, "Choose the architecture that the file was made for, or another file.")


def _translated(found: Found, translations: Sequence[Translation], sought: Sought) -> Found:
    """After those of the library's translations that bring it nearer to the network."""
    for translation in translations:
        with suppress(*NOT_ITS_KIND):
            named = dict(translation.apply(OrderedDict(found.named), sought.module))
            after = replace(found, named=named, misfit=_misfit(named, sought), steps=(*found.steps, translation.code))
            found = min(found, after, key=_rank)
    return found


def _sorted_out(found: Found, sought: Sought, others: tuple[str, ...]) -> Found:
    """With what the network wants alone, and the names of what it does not.

    These are told after the last step, for a translation stretches tensors, and makes several of one: what has another
    name or other numbers by then is used all the same.
    """
    named = {name: found.named[name] for name in sought.wanted if name in found.named}
    strays = (*found.outside, *(f"{found.prefix}{name}" for name in sought.unwanted(found.named)))
    return replace(found, named=named, strays=() if found.misfit else strays, others=others)


def _misfit(named: Mapping[str, Tensor], sought: Sought) -> Misfit:
    wanted, unwanted = sought.wanted, sought.unwanted(named)
    return Misfit(
        tuple(name for name in wanted if name not in named and not name.endswith(TRACKED)),
        tuple(name for name in unwanted if hasattr(sought.module, name.partition(".")[0])),
        {
            name: (tuple(named[name].shape), shape)
            for name, shape in wanted.items()
            if name in named and tuple(named[name].shape) != shape
        },
    )


def _rank(found: Found) -> tuple[int, int]:
    return found.misfit.rank()


def _dictionaries(tree: Any) -> Iterator[tuple[tuple[str, ...], dict[str, Tensor]]]:
    """Each dictionary that holds tensors by name, with the keys that lead to it: outer ones first, each once."""
    import torch

    waiting: deque[tuple[tuple[str, ...], Any]] = deque([((), tree)])
    seen: set[int] = set()
    while waiting:
        keys, node = waiting.popleft()
        if not isinstance(node, Mapping) or id(node) in seen or len(keys) > DEEPEST:
            continue
        seen.add(id(node))
        inner = {key: value for key, value in node.items() if isinstance(key, str)}
        if named := {key: value for key, value in inner.items() if isinstance(value, torch.Tensor)}:
            yield keys, named
        waiting.extend(((*keys, key), value) for key, value in inner.items())


def _under_prefix(keys: tuple[str, ...], named: Mapping[str, Tensor], prefix: str, sought: Sought) -> Found:
    """One dictionary, less a prefix and all that does not have it."""
    steps = [f"weights = weights{''.join(f'[{key!r}]' for key in keys)}"] if keys else []
    outside = tuple(name for name in named if not name.startswith(prefix))
    if prefix:
        chosen = f" if name.startswith({prefix!r})" if outside else ""
        bare = f"name.removeprefix({prefix!r}): value for name, value in weights.items()"
        steps.append(f"weights = {{{bare}{chosen}}}")
    inner = {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}
    return Found(inner, _misfit(inner, sought), tuple(steps), keys, prefix, outside)


def _prefix(named: Mapping[str, Tensor], wanted: Collection[str]) -> str:
    """Under which most of the wanted names are found, of equals an average's; empty where none is."""
    found: Counter[str] = Counter()
    for name in named:
        starts = [0, *(dot.end() for dot in re.finditer(r"\.", name))]
        found.update(name[:start] for start in starts if name[start:] in wanted)
    most = max(found.values(), default=0)
    best = [prefix for prefix, times in found.items() if times == most]
    return next((prefix for prefix in best if AVERAGED.search(prefix)), best[0] if best else "")


def _shared(named: Mapping[str, Tensor]) -> Iterator[str]:
    """The prefixes that most of the names have, the shortest first."""
    prefix, names = "", list(named)
    while names:
        yield prefix
        step, times = Counter(name.removeprefix(prefix).partition(".")[0] for name in names).most_common(1)[0]
        prefix += f"{step}."
        names = [name for name in names if name.startswith(prefix)] if 2 * times > len(named) else []


def _optimizers(tree: Any) -> bool:
    """Whether the memory of an optimizer is in it."""
    inner = tree.values() if isinstance(tree, Mapping) else ()
    return any(isinstance(each, Mapping) and {"state", "param_groups"} <= set(each) for each in (tree, *inner))


def _says(tree: Any) -> str:
    """The architecture that training code has written down beside the tensors; empty where it has not."""
    if not isinstance(tree, Mapping):
        return ""
    beside = [tree, *(vars(each) if hasattr(each, "__dict__") else each for each in map(tree.get, ("args", "config")))]
    said = (each.get(key) for each in beside if isinstance(each, Mapping) for key in SAYS)
    return next((each for each in said if isinstance(each, str) and each), "")


def _finite(value: Tensor) -> bool:
    return not value.is_floating_point() or value.is_meta or bool(value.isfinite().all())


def _under(name: str, paths: Sequence[str]) -> bool:
    return any(name == path or name.startswith(f"{path}.") for path in paths)


def _shape(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape)) or "a single number"
