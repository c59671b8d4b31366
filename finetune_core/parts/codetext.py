"""Putting code together: what it needs to import, the source of Thaw's own layers, tables that fit the page."""

from __future__ import annotations

import ast
import inspect
import io
import re
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from textwrap import indent

from finetune_core.parts.base import OWN_LAYERS, Call

WIDTH = 120  # columns, as in the rest of the house

# Every import that a piece of code may need, in the order in which they stand, by the name that it makes known.
IMPORTS = {
    "argparse": "import argparse",
    "collections": "import collections",
    "copy": "import copy",
    "csv": "import csv",
    "datetime": "import datetime",
    "decimal": "import decimal",
    "fractions": "import fractions",
    "json": "import json",
    "math": "import math",
    "os": "import os",
    "pathlib": "import pathlib",
    "re": "import re",
    "sys": "import sys",
    "types": "import types",
    "uuid": "import uuid",
    "OrderedDict": "from collections import OrderedDict",
    "Iterator": "from collections.abc import Iterator",
    "Path": "from pathlib import Path",
    "Any": "from typing import Any",
    "np": "import numpy as np",
    "onnxruntime": "import onnxruntime",
    "pillow_heif": "import pillow_heif",
    "safetensors.torch": "import safetensors.torch",
    "timm": "import timm",
    "timm.optim": "import timm.optim",
    "torch": "import torch",
    "torchvision": "import torchvision",
    "Image": "from PIL import Image",
    "Tensor": "from torch import Tensor",
    "nn": "from torch import nn",
    "F": "from torch.nn import functional as F",
    "AveragedModel": "from torch.optim.swa_utils import AveragedModel",
    "get_ema_multi_avg_fn": "from torch.optim.swa_utils import get_ema_multi_avg_fn",
    "v2": "from torchvision.transforms import v2",
}
DEFINING = ("def ", "class ", "@")
STANDARD = tuple(IMPORTS)[: tuple(IMPORTS).index("Any") + 1]


def importing(*sections: str) -> str:
    """The sections with the imports that they need above them."""
    body = joined(*sections)
    return double_quoted(joined(imports(body), body)) + "\n"


def double_quoted(code: str) -> str:
    """With the quotes that formatters prefer, where a string holds none itself."""
    lines = code.splitlines(keepends=True)
    for token in reversed(list(tokenize.generate_tokens(io.StringIO(code).readline))):
        if token.type == tokenize.STRING and re.fullmatch(r"'[^'\"\n]*'", token.string):
            (row, start), (_, end) = token.start, token.end
            line = lines[row - 1]
            lines[row - 1] = f'{line[:start]}"{token.string[1:-1]}"{line[end:]}'
    return "".join(lines)


def joined(*sections: str) -> str:
    """Pieces of code one below the other, with two empty lines around functions and classes and one elsewhere."""
    text = ""
    for section in (section.strip("\n") for section in sections if section):
        gap = "\n\n\n" if section.startswith(DEFINING) or _ends_in_definition(text) else "\n\n"
        text += f"{gap}{section}" if text else section
    return text


def _ends_in_definition(code: str) -> bool:
    outermost = [line for line in code.splitlines() if line and not line.startswith((" ", ")", "]", "}"))]
    return bool(outermost) and outermost[-1].startswith(DEFINING)


def imports(code: str) -> str:
    """The imports that some code needs, the standard library's first."""
    used = IMPORTS.keys() & set(_names(ast.parse(code)))
    needed = [name for name in IMPORTS if name in used and f"{name}.optim" not in used]
    parts = ([IMPORTS[name] for name in needed if (name in STANDARD) is standard] for standard in (True, False))
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def _names(tree: ast.AST) -> Iterator[str]:
    """The names that some code uses, `timm.optim` among them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"


def own_layers(*calls: Call, names: Iterable[str] = ()) -> str:
    """The source of Thaw's own layers that these calls use, and of those of these names; nothing if there are none."""
    targets = {target for call in calls for target in call.targets()}
    used = {target.rpartition(".")[2] for target in targets if target.startswith(f"{OWN_LAYERS}.")}
    if not (wanted := sorted(used | set(names))):
        return ""
    from finetune_core.parts import modules

    chosen = [getattr(modules, name) for name in wanted]
    found = [each for one in chosen for each in reversed(getattr(one, "__mro__", (one,)))]  # what it builds on, first
    source = definitions(*(inspect.getsource(each) for each in found if each.__module__ == OWN_LAYERS))
    return re.sub(r"  # type: ignore.*", "", source)


def definitions(*texts: str) -> str:
    """Functions and classes from several texts, each once."""
    pieces = [piece.strip("\n") for text in texts for piece in text.split("\n\n\n")]
    return "\n\n\n".join(dict.fromkeys(piece for piece in pieces if piece))


def banner(title: str) -> str:
    """A line that begins a chapter."""
    return f"# --- {title} {'-' * (WIDTH - len(title) - 7)}"


def listed(name: str, items: Iterable[object], comment: str = "") -> str:
    """`name = [...]`, over several lines where it is long."""
    note = f"  # {comment}" if comment else ""
    return bracketed(f"{name} = [", [repr(item) for item in items], "]", note)


def bracketed(start: str, items: Sequence[str], end: str, note: str = "", room: int = WIDTH) -> str:
    """Items on one line after `start`, or, where that is longer than `room`, on several, as many on each as fit."""
    line = f"{start}{', '.join(items)}{',' if len(items) == 1 and end.startswith(')') else ''}{end}{note}"
    if len(line) <= room:
        return line
    lines = [""]
    for item in items:
        if len(lines[-1]) + len(item) + 2 > room - 4:
            lines.append("")
        lines[-1] += f"{' ' if lines[-1] else ''}{item},"
    return f"{start}{note}\n{indent(chr(10).join(lines), '    ')}\n{end}"
