"""What every part shares: a part explains itself, once.

A *part* is one thing that a person can choose (a transform, a head, a schedule, …). It is one small class:
its docstring is the sentence shown in the UI, its fields are its knobs, and what it stands for is written down as
a `Call` of a public library, from which both the object (`build`) and the PyTorch code for it (`code`) are made.
Parts of one kind form a *family* (a direct subclass of `Part`); a new part is one class in its family's module.
"""

from __future__ import annotations

import importlib
import math
import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from textwrap import indent
from typing import Any, ClassVar, Literal, Self, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic.fields import FieldInfo

from finetune_core.errors import UserError
from finetune_core.parts.numbers import Scale, Several, read_for
from finetune_core.places import pasted

# How the long module names are written in code that people read; layers of Thaw's own are shown with their source.
OWN_LAYERS = "finetune_core.parts.modules"
ALIASES = {"torchvision.transforms.v2": "v2", "torch.nn": "nn", OWN_LAYERS: ""}


@dataclass(frozen=True)
class Call:
    """A call of a public library, written down instead of made, so that it can be both run and shown."""

    target: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def build(self, *first: Any) -> Any:
        """Import the target (late: torch is slow to import) and call it; `first` goes before the written arguments."""
        module, _, name = self.target.rpartition(".")
        function = getattr(importlib.import_module(module), name)
        args = [_built(value) for value in self.args]
        return function(*first, *args, **{key: _built(value) for key, value in self.kwargs.items()})

    def code(self, *first: str, room: float = math.inf) -> str:
        """The same call in Python; `first` are expressions that go before the written arguments.

        What is longer than `room` columns has an argument per line.
        """
        module, _, name = self.target.rpartition(".")
        args = [*first, *(_shown(value, room - 4) for value in self.args)]
        args += [f"{key}={_shown(value, room - 4)}" for key, value in self.kwargs.items()]
        return _bracketed(".".join(filter(None, (ALIASES.get(module, module), name))) + "(", args, ")", room)

    def targets(self) -> Iterator[str]:
        """What is called here and in the arguments."""
        yield self.target
        for value in (*self.args, *self.kwargs.values()):
            for item in value if isinstance(value, (list, tuple)) else (value,):
                if isinstance(item, Call):
                    yield from item.targets()


def _built(value: Any) -> Any:
    if isinstance(value, Call):
        return value.build()
    if isinstance(value, (list, tuple)):
        return type(value)(_built(item) for item in value)
    return value


def _shown(value: Any, room: float) -> str:
    if isinstance(value, Call):
        return value.code(room=room)
    if isinstance(value, list):
        return _bracketed("[", [_shown(item, room - 4) for item in value], "]", room)
    if isinstance(value, tuple):
        return f"({', '.join(_shown(item, room) for item in value)}{',' if len(value) == 1 else ''})"
    return repr(value)


def _bracketed(start: str, items: list[str], end: str, room: float) -> str:
    """On one line where that is short enough, else one item per line."""
    line = f"{start}{', '.join(items)}{end}"
    if len(line) <= room and "\n" not in line:
        return line
    return f"{start}\n" + "".join(indent(f"{item},\n", "    ") for item in items) + end


def knob(
    default: Any,
    title: str,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    unit: str = "",
    log: bool = False,
    step: float | None = None,
    more: bool = False,
    words: Mapping[str, str] | None = None,
    path: Sequence[str] | None = None,
) -> Any:
    """Declare one field that a person sets: its name, its one sentence, its bounds (inclusive) and its unit.

    Of numbers in a tuple or under names the bounds hold for each. `log` asks for a logarithmic scale, `step` for steps
    of this size, `more` puts the knob behind "more" on its page, `words` are what people call each of several choices,
    where that is not the value itself. `path` says that it is one: the endings of the files that are meant, none of a
    folder.
    """
    bounds: dict[str, JsonValue] = {"low": low, "high": high}
    extra: dict[str, JsonValue] = {"unit": unit, "log": log, "step": step, "more": more, "words": dict(words or {})}
    extra["path"] = None if path is None else [*path]
    return Field(default, title=title, description=help, json_schema_extra=bounds | extra)


@dataclass(frozen=True)
class Knob:
    """A knob as pages, docs and `parts --json` see it."""

    name: str
    title: str
    help: str
    type: str  # "float", "int", "bool", "text", "path", "choice", "numbers" or "list"
    default: Any
    low: float | None
    high: float | None
    unit: str
    log: bool
    more: bool
    choices: tuple[Any, ...] = ()
    words: Mapping[str, str] = field(default_factory=dict)  # for choices
    step: float | None = None
    named: bool = False  # numbers under names, such as those of layer groups
    path: tuple[str, ...] | None = None  # of a path: the endings of files, none of a folder

    @property
    def scale(self) -> Scale | Several | None:
        """Which numbers fit, of those under names each; None where it takes none."""
        if self.type == "numbers":
            return Several(self.each)
        return self.each if self.named or self.type in ("int", "float") else None

    @property
    def each(self) -> Scale:
        """Which single number fits."""
        units = tuple(filter(None, (self.unit, self.title)))
        return Scale(self.low, self.high, self.type == "int", self.log, self.step, units)


class Section(BaseModel):
    """A frozen piece of a recipe that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def knobs(cls) -> list[Knob]:
        """The fields declared with `knob`, in order."""
        return [_knob(name, info) for name, info in cls.model_fields.items() if info.title]

    @classmethod
    def knob(cls, name: str) -> Knob:
        """The one of this name."""
        return _knob(name, cls.model_fields[name])

    @field_validator("*", mode="before")
    @classmethod
    def _as_people_write(cls, value: Any, info: ValidationInfo) -> Any:
        """Numbers, of which pydantic would take yes for 1 and ask for a point, and paths as they are pasted."""
        read = _readers(cls).get(info.field_name or "")
        try:
            return read(value) if read else value
        except UserError as error:
            raise ValueError(str(error).removesuffix(".")) from error

    @classmethod
    def parsed(cls, tree: Any, what: str) -> Self:
        """One from plain data; a UserError about `what` names the first field that is wrong."""
        try:
            return cls.model_validate(tree)
        except ValidationError as error:
            raise _explained(error, what) from error

    def replace(self, **changes: Any) -> Self:
        """A validated copy with some fields changed."""
        return type(self).model_validate({**{name: getattr(self, name) for name in type(self).model_fields}, **changes})


class Part(Section):
    """One choice of a family. Subclasses set `kind` (the name in recipe files: a promise) and `title`."""

    kind: ClassVar[str] = ""
    title: ClassVar[str] = ""
    _kinds: ClassVar[dict[str, type[Part]]] = {}

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if Part in cls.__bases__:
            cls._kinds = {}  # a new family
        elif "kind" in cls.__dict__:
            if cls.kind in cls._kinds:
                raise TypeError(f"two parts are called {cls.kind!r}: {cls._kinds[cls.kind]} and {cls}")
            cls._kinds[cls.kind] = cls

    @classmethod
    def kinds(cls) -> dict[str, type[Self]]:
        """Every part of this family by its kind, in the order of declaration."""
        return dict(cls._kinds)  # type: ignore[arg-type]

    @classmethod
    def about(cls) -> str:
        """The sentence shown to people: the docstring's first paragraph on one line."""
        return " ".join((cls.__doc__ or "").split("\n\n")[0].split())

    @model_validator(mode="wrap")
    @classmethod
    def _choose_kind(cls, value: Any, handler: Any) -> Any:
        if isinstance(value, str) and not cls.kind:  # a word for a part with its defaults, as in `--set`
            value = {"kind": value}
        if not isinstance(value, Mapping):
            return handler(value)
        fields = dict(value)
        kind = fields.pop("kind", cls.kind)
        if not isinstance(kind, str):
            raise ValueError(f"the kind of a {cls.__name__.lower()} is a word")
        if kind == cls.kind:
            return handler(fields)
        if kind not in cls._kinds or cls.kind:
            known = ", ".join(cls._kinds)
            raise ValueError(f"there is no {cls.__name__.lower()} called {kind!r}; there are: {known}")
        return cls._kinds[kind].model_validate(fields)

    @model_serializer(mode="wrap")
    def _with_kind(self, handler: Any) -> dict[str, Any]:
        return {"kind": self.kind, **handler(self)}


def reason(error: ValidationError) -> str:
    """Why the first of the values does not fit, as a sentence."""
    words = error.errors()[0]["msg"].removeprefix("Value error, ").removesuffix(".")
    return f"{words[0].upper()}{words[1:]}."


def _explained(error: ValidationError, what: str) -> UserError:
    first, more = error.errors()[0], error.error_count() - 1
    place = ".".join(str(step) for step in first["loc"]) or what[0].lower() + what[1:]
    others = f" ({more} more like this.)" if more else ""
    if first["type"] == "extra_forbidden":
        return UserError(f"{what} has an unknown field {place}.{others}", hint="Remove it or mend its spelling.")
    was = f"It was {reprlib.repr(first['input']):.80}."
    return UserError(f"{what}'s value for {place} does not fit.{others}", reason(error), was)


@cache
def _readers(section: type[Section]) -> dict[str, Callable[[Any], Any]]:
    """How numbers and paths are read, for each field that holds any."""
    return {name: read for name, info in section.model_fields.items() if (read := _reader(name, info))}


def _reader(name: str, info: FieldInfo) -> Callable[[Any], Any] | None:
    knob = _knob(name, info)
    if knob.path is not None:
        return _read_path
    if knob.choices and all(isinstance(each, int) for each in knob.choices):
        return Scale(whole=True).read
    if knob.named:
        return partial(_read_each, knob.each)
    return knob.scale.read if knob.scale else None


def _read_path(value: Any) -> Any:
    return pasted(value) if isinstance(value, str) else value


def _read_each(scale: Scale, value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {name: read_for(name, each, scale) for name, each in value.items()}


def _knob(name: str, info: FieldInfo) -> Knob:
    extra: Any = info.json_schema_extra or {}
    choices = get_args(info.annotation) if get_origin(info.annotation) is Literal else ()
    types: dict[Any, str] = {float: "float", int: "int", bool: "bool", str: "text", tuple[float, ...]: "numbers"}
    path = extra.get("path")
    kind = "path" if path is not None else "choice" if choices else types.get(info.annotation, "list")
    return Knob(
        name=name,
        title=info.title or name,
        help=info.description or "",
        type=kind,
        default=info.get_default(call_default_factory=True),
        low=extra.get("low"),
        high=extra.get("high"),
        unit=extra.get("unit", ""),
        log=extra.get("log", False),
        step=extra.get("step"),
        named=info.annotation == dict[str, float],
        more=extra.get("more", False),
        choices=choices,
        words=extra.get("words", {}),
        path=None if path is None else tuple(path),
    )
