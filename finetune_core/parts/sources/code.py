"""The code that lists a source's images as Thaw does: what the parts in `parts.sources` show of themselves.

Each piece defines `paths`, `labels` (class numbers, or a row of values per image) and, where the data bring their own
split, `aside`, which says of every image whether it is one to measure on.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from finetune_core.parts.codetext import listed
from finetune_core.parts.sources import tables
from finetune_core.parts.sources.folders import EXTENSIONS
from finetune_core.parts.sources.samples import Samples
from finetune_core.parts.tasks import NUMBERS, ONE_CLASS, TAGS

ENDINGS = f"ENDINGS = {tuple(sorted(EXTENSIONS))!r}"


def names(samples: Samples) -> str:
    """The list of classes, tags or numbers."""
    return listed(samples.about.constant, samples.classes)


def of_folder(samples: Samples) -> str:
    """A folder per class, below folders for training and validation where the samples are split already."""
    within = [path.relative_to(samples.root).parts for path in samples.paths]
    if not samples.fixed:
        folders = list(dict.fromkeys(parts[0] for parts in within))
        return f"""\
# a folder of images for each class
DATA = Path({str(samples.root)!r})
{names(_called(samples, folders))}
{ENDINGS}

paths, labels = [], []
for label, name in enumerate(CLASSES):
    for path in sorted(glob.glob("**/*", root_dir=DATA / name, recursive=True)):
        if path.lower().endswith(ENDINGS):
            paths.append(DATA / name / path)
            labels.append(label)
labels = np.array(labels)"""
    folders = list(dict.fromkeys(parts[1] for parts in within))
    train, valid = (next(p[0] for p, f in zip(within, samples.fixed, strict=True) if f == part) for part in PARTS)
    return f"""\
# folders to learn from and to measure on, in each a folder of images for each class
DATA = Path({str(samples.root)!r})
{names(_called(samples, folders))}
{ENDINGS}

paths, labels, aside = [], [], []
for label, name in enumerate(CLASSES):
    for part in ({train!r}, {valid!r}):
        for path in sorted(glob.glob("**/*", root_dir=DATA / part / name, recursive=True)):
            if path.lower().endswith(ENDINGS):
                paths.append(DATA / part / name / path)
                labels.append(label)
                aside.append(part == {valid!r})
labels = np.array(labels)"""


def of_names(samples: Samples, pattern: str) -> str:
    """Files whose names tell their class."""
    return f"""\
# images whose names tell their class
DATA = Path({str(samples.root)!r})
{names(samples)}
{ENDINGS}

files = [path for path in sorted(glob.glob("**/*", root_dir=DATA, recursive=True)) if path.lower().endswith(ENDINGS)]
found = {{path: re.search({pattern!r}, Path(path).stem) for path in files}}
named = {{path: match[1] for path, match in found.items() if match and match[1]}}
files = sorted(named, key=lambda path: CLASSES.index(named[path]))  # class by class
paths = [DATA / path for path in files]
labels = np.array([CLASSES.index(named[path]) for path in files])"""


def of_table(samples: Samples, file: Path, columns: tables.Columns, separator: str) -> str:
    """The rows of a table whose images are there."""
    image, labels, split = columns
    values = {
        ONE_CLASS.key: f"labels = np.array([CLASSES.index(row[{labels[0]!r}]) for row in rows])",
        TAGS.key: _tags(labels, separator),
        NUMBERS.key: f"labels = np.array([[float(row[name]) for name in {labels!r}] for row in rows])",
    }
    order = f"rows.sort(key=lambda row: CLASSES.index(row[{labels[0]!r}]))  # class by class"
    aside = f'aside = [row[{split!r}].casefold() not in ("train", "training") for row in rows]'
    lines = [
        f"DATA = Path({str(file.parent)!r})",
        names(samples),
        "",
        f'with open(DATA / {file.name!r}, newline="", encoding="utf-8-sig") as file:',
        f"    rows = list(csv.DictReader(file, delimiter={tables.delimiter(file)!r}, skipinitialspace=True))",
        "rows = [{key.strip(): value.strip() for key, value in row.items()} for row in rows]",
        f"rows = [row for row in rows if (DATA / row[{image!r}]).is_file()]",
        *([order] if samples.about.exclusive else []),
        f"paths = [DATA / row[{image!r}] for row in rows]",
        values[samples.task],
        *([aside] if split else []),
    ]
    return "\n".join(lines)


def _tags(columns: Sequence[str], separator: str) -> str:
    if len(columns) > 1:
        return f"labels = np.array([[float(row[tag]) for tag in {list(columns)!r}] for row in rows], np.float32)"
    return f"""tags = [{{tag.strip() for tag in row[{columns[0]!r}].split({separator or " "!r})}} for row in rows]
labels = np.array([[tag in there for tag in TAGS] for there in tags], np.float32)"""


PARTS = ("train", "valid")


def _called(samples: Samples, folders: Sequence[str]) -> Samples:
    """With the folders' own names, which differ from those shown to people where these cannot be printed."""
    return Samples(samples.paths, samples.labels, tuple(folders))
