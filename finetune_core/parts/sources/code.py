"""The code that lists a source's images as Thaw does: what the parts in `parts.sources` show of themselves.

Each piece defines `paths`, `labels` (class numbers, or a row of values per image) and, where the data bring their own
split, `aside`: of every image 0 where it is learned from, 1 where it is measured on, 2 where it is for a test.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence

from finetune_core.parts.codetext import bracketed, definitions, joined, listed
from finetune_core.parts.sources import files
from finetune_core.parts.sources.folders import Layout
from finetune_core.parts.sources.samples import Samples


def rule(*functions: Callable[..., object]) -> str:
    """Thaw's own rule for what is an image, word for word."""
    constants = (("ENDINGS", files.ENDINGS), ("SYSTEM", files.SYSTEM))
    known = "\n".join(bracketed(f"{name} = (", [repr(each) for each in value], ")") for name, value in constants)
    return joined(known, definitions(*map(inspect.getsource, functions)))


BELOW = (files.kind, files.files_below, files.images_below)


def names(samples: Samples) -> str:
    """The list of classes, tags or numbers."""
    return listed(samples.about.constant, samples.classes)


def of_drawn(samples: Samples) -> str:
    """Images that Thaw has drawn: JPEG files alone, in a folder for each class."""
    return f"""\
DATA = Path({str(samples.root)!r})
{names(samples)}

paths, labels = [], []  # a folder of images for each class
for label, name in enumerate(CLASSES):
    for path in sorted((DATA / name).glob("*.jpg")):
        paths.append(path)
        labels.append(label)
labels = np.array(labels)"""


def of_folder(samples: Samples, layout: Layout) -> str:
    """A folder of images for each class, in one or several folders above them."""
    within = (
        path.relative_to(top).parts[0] for path in samples.paths for top in layout.tops if path.is_relative_to(top)
    )
    tops = tuple(top.relative_to(samples.root).as_posix() for top in layout.tops)
    return joined(
        f"DATA = Path({str(samples.root)!r})\n{names(called(samples, list(dict.fromkeys(within))))}",
        rule(*BELOW),
        _by_class() if tops == (".",) else _in_tops(tops, bool(layout.parts)),
    )


def _by_class() -> str:
    return """\
paths, labels = [], []  # a folder of images for each class
for label, name in enumerate(CLASSES):
    for path in images_below(DATA / name):
        paths.append(path)
        labels.append(label)
labels = np.array(labels)"""


def _in_tops(tops: Sequence[str], split: bool) -> str:
    about = (
        "folders to learn from, to measure on and perhaps for a test, with one for each class"
        if split
        else "folders of class folders"
    )
    return f"""\
{listed("TOPS", tops, about)}
paths, labels{", aside" if split else ""} = [], []{", []" if split else ""}
for label, name in enumerate(CLASSES):
    for part, folder in enumerate(DATA / top / name for top in TOPS):
        for path in images_below(folder) if folder.is_dir() else ():
            paths.append(path)
            labels.append(label){SPLIT if split else ""}
labels = np.array(labels)"""


SPLIT = """
            aside.append(part)"""


def of_names(samples: Samples, pattern: str, whole: bool) -> str:
    """Files whose names tell their class, the `whole` names or those without their ending."""
    said = "name" if whole else "stem"
    return joined(
        f"DATA = Path({str(samples.root)!r})\n{names(samples)}",
        rule(*BELOW),
        f"""\
found = {{path: re.search({pattern!r}, path.{said}) for path in images_below(DATA)}}  # their names tell their class
named = {{path: match[1] for path, match in found.items() if match and match[1]}}
paths = sorted(named, key=lambda path: CLASSES.index(named[path]))  # class by class
labels = np.array([CLASSES.index(named[path]) for path in paths])""",
    )


def called(samples: Samples, own: Sequence[str]) -> Samples:
    """With the names as the data have them, which differ from those shown to people where these cannot be printed."""
    return Samples(samples.paths, samples.labels, tuple(own), task=samples.task)
