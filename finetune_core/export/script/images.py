"""The part of a script about images: which there are, which are measured on, reading, augmentation, batches."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from textwrap import indent

import numpy as np

from finetune_core.data.depth import Depth, kind_of
from finetune_core.data.image import HIGH, MODES
from finetune_core.data.pipeline import eval_calls, train_calls
from finetune_core.data.split import LEAST, ORDER
from finetune_core.export.script.facts import CLEAR, HEIF, LARGE, LONG, ODD, TALL, TURNED, Pictures
from finetune_core.parts import Call
from finetune_core.parts.codetext import bracketed, definitions, joined, listed, own_layers
from finetune_core.parts.sources.samples import Samples
from finetune_core.parts.tasks import ROUNDING
from finetune_core.recipe import Data, Recipe

ROOM = 110  # columns for a call that stands indented, or behind a name


def listing(recipe: Recipe, pictures: Pictures) -> str:
    """Which images there are, and which of them are kept aside."""
    return "\n\n".join(
        part
        for part in (
            recipe.data.source.code(pictures.listed),
            _split(recipe, pictures),
            _relabelled(recipe, pictures),
            _placed(recipe, pictures),
            _without(pictures.damaged),
            _in_standard_units(pictures),
        )
        if part
    )


PLACE = "{os.path.relpath(path, DATA): index for index, path in enumerate(paths)}"
BYTES = """\
{  # with bytes that are no UTF-8 written out
    os.path.relpath(path, DATA).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"): index
    for index, path in enumerate(paths)
}"""


def _relabelled(recipe: Recipe, pictures: Pictures) -> str:
    """Classes as they were mended by hand: which those of the data have become, then single images."""
    everything, samples = pictures.listed, pictures.samples
    if not recipe.data.fixes or not samples.about.exclusive:
        return f"place = {_places(everything)}" if recipe.data.fixes else ""
    whole = samples.whole or samples
    now, before = np.asarray(whole.labels), np.asarray(everything.labels)
    turned = [int(np.bincount(now[before == label] + 1).argmax()) - 1 for label in range(len(everything.classes))]
    single = np.flatnonzero(now != np.take(turned, before))
    lines = [f"place = {_places(everything)}"]
    if turned != [*range(len(samples.classes))]:
        lines.append(f"labels = np.array({turned!r})[labels]  # what became of each class")
    if samples.classes != everything.classes:
        lines.append(listed(samples.about.constant, samples.classes, "as they were mended by hand"))
    if len(single):
        pairs = [f"{everything.place(index)!r}: {now[index]}" for index in single.tolist()]
        lines.append(bracketed("for name, label in {", pairs, "}.items():", "  # relabelled by hand"))
        lines.append("    labels[place[name]] = label")
    return "\n".join(lines)


def _places(samples: Samples) -> str:
    plain = all(str(path).isprintable() for path in samples.paths)
    return PLACE if plain else BYTES


def _split(recipe: Recipe, pictures: Pictures) -> str:
    data, samples = recipe.data, pictures.listed
    if samples.fixed:
        tested = "\ntest = np.flatnonzero(aside == 2)" if "test" in samples.fixed else ""
        return f"""aside = np.array(aside)
train, valid = np.flatnonzero(aside == 0), np.flatnonzero(aside == 1){tested}"""
    if data.group or samples.groups:
        return _grouped(pictures)
    lists, start = ("valid, test", "valid, test = [], []") if data.test_share else ("valid", "valid = []")
    rest = "[*valid, *test]" if data.test_share else "valid"
    if samples.about.exclusive:
        return f"""{start}
for label in range(len(CLASSES)):  # {data.valid_share:.0%} of each class is measured on
    members = np.random.default_rng([{data.split_seed}, label]).permutation(np.flatnonzero(labels == label))
{indent(_cut(data, "members", 1), "    ")}
    valid.extend({_fold(data, "members")}){TESTED if data.test_share else ""}
valid = np.sort(valid)
train = np.setdiff1d(np.arange(len(paths)), {rest})"""
    aside = f"{_fold(data, 'mixed')}, mixed[rest:]" if data.test_share else _fold(data, "mixed")
    return f"""mixed = np.random.default_rng({data.split_seed}).permutation(len(paths))
{_cut(data, "mixed", LEAST)}  # {data.valid_share:.0%} is measured on
{lists} = {aside}
valid = np.sort(valid)
train = np.setdiff1d(mixed, {rest})"""


TESTED = """
    test.extend(members[rest:])"""


def _cut(data: Data, name: str, least: int) -> str:
    """How many of some images are measured on; first those for a test are put aside."""
    if not data.test_share:
        return f"count = min(max(round(len({name}) * {data.valid_share!r}), {least}), len({name}) - {least})"
    return f"""rest = len({name}) - min(round(len({name}) * {data.test_share!r}), len({name}) - {2 * least})
count = min(max(round(rest * {data.valid_share!r}), {least}), rest - {least})"""


def _fold(data: Data, name: str) -> str:
    if not data.fold:
        return f"{name}[:count]"
    rest = "rest" if data.test_share else f"len({name})"
    return f"{name}[(start := min({data.fold} * count, {rest} - count)) : start + count]"


def _grouped(pictures: Pictures) -> str:
    """Whole groups on either side, as they came to lie."""
    parts, places = pictures.parts, pictures.samples.places or range(len(pictures.samples))
    lists = {
        name: [int(places[index]) for index in side]
        for name, side in (("valid", parts.valid), ("test", parts.test))
        if len(side) or name == "valid"
    }
    lines = [f"{listed(name, side, 'split by groups')}\n{name} = np.array({name})" for name, side in lists.items()]
    used = " + ".join(f"[*{name}]" for name in lists)
    return "\n".join([*lines, f"train = np.setdiff1d(np.arange(len(paths)), {used})"])


def _tests(recipe: Recipe, pictures: Pictures) -> bool:
    """Whether the split, before anything is mended, names images for a test."""
    if fixed := pictures.listed.fixed:
        return "test" in fixed
    if recipe.data.group or pictures.listed.groups:
        return bool(len(pictures.parts.test))
    return recipe.data.test_share > 0


def _placed(recipe: Recipe, pictures: Pictures) -> str:
    """Images that are kept on a side by hand, and those that are left out."""
    parts, samples = pictures.parts, pictures.samples
    if not recipe.data.fixes:
        return ""
    side = np.full(len(pictures.listed), len(ORDER))
    places = np.asarray(samples.places or range(len(samples)))
    for number, indices in enumerate(parts.sides):
        side[places[indices]] = number
    named = {name for fix in recipe.data.fixes for name in fix.images}
    pairs = [
        f"{name!r}: {side[index]}"
        for index in range(len(pictures.listed))
        if (name := pictures.listed.place(index)) in named
    ]
    return "\n".join(
        [
            "side = np.zeros(len(paths), int)  # 0: learned from, 1: measured on, 2: for a test, 3: left out",
            "side[valid] = 1",
            *(["side[test] = 2"] if _tests(recipe, pictures) else []),
            bracketed("for name, number in {", pairs, "}.items():", "  # as they were mended by hand"),
            "    side[place[name]] = number",
            "left = np.flatnonzero(side < 3)",
            "paths, labels, side = [paths[index] for index in left], labels[left], side[left]",
            "train, valid = np.flatnonzero(side == 0), np.flatnonzero(side == 1)",
        ]
    )


def _without(damaged: Sequence[int]) -> str:
    if not damaged:
        return ""
    left_out = listed("damaged", damaged, "files that cannot be read")
    return f"{left_out}\ntrain, valid = np.setdiff1d(train, damaged), np.setdiff1d(valid, damaged)"


def _in_standard_units(pictures: Pictures) -> str:
    """Numbers are learned less their mean, in units of their spread."""
    if not pictures.targets.std:
        return ""
    return f"""apart = labels[train] - labels[train[0]]  # exact, however far from zero the numbers lie
label_mean, label_std = labels[train[0]] + apart.mean(0), apart.std(0)
label_std[label_std <= {float(ROUNDING)!r} * np.abs(labels[train]).max(0)] = 1  # a number that never changes
labels = np.float32((labels - label_mean) / label_std)  # learned in standard units"""


def reading(recipe: Recipe, pictures: Pictures) -> str:
    """One file as small pixels: only what the files at hand ask for."""
    traits, mode = pictures.traits, MODES[recipe.data.channels]
    lines = [
        *(_ranges(pictures.depth) if pictures.depth else []),
        *(PHONES if HEIF in traits else []),
        *(TURNS if TURNED in traits else []),
        "def read(path):",
        f'    """A file as pixels (H, W, {recipe.data.channels}), its short side SIDE px."""',
        "    with Image.open(path) as image:",
        *(DRAFT if LARGE in traits else []),
        *(TURN if TURNED in traits else []),
        *(EIGHT_BITS if pictures.depth else []),
        *(RGBA if CLEAR in traits else []),
        *(PLAIN if ODD in traits else []),
        *(UPRIGHT if TURNED in traits else []),
        *(ON_WHITE if CLEAR in traits and mode != "RGBA" else []),
        *_scaling(traits, mode),
        "    return np.array(small)" + ("[..., None]" if mode == "L" else ""),
    ]
    return "\n".join(lines)


def _scaling(traits: Collection[str], mode: str) -> list[str]:
    if TALL not in traits:
        return [line.replace("MODE", repr(mode)) for line in SCALED]
    return [f"        image = image.convert({mode!r})", *(MIDDLE if LONG in traits else WHOLE), *ROWS_FIRST]


def _ranges(depth: Depth) -> list[str]:
    """Black and white of images of more than 8 bits, by Pillow's mode."""
    known = {mode: getattr(depth, kind_of(mode)) for mode in ("I;16", "I", "F")}
    lines = [f"    {mode!r}: {pair!r}," for mode, pair in known.items() if pair]
    return ["RANGES = {  # of images of more than 8 bits: what is black and white in all of them", *lines, "}", "", ""]


PHONES = """\
pillow_heif.register_heif_opener()  # so that Pillow reads what phones write


""".splitlines()
TURNS = """\
TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # how a camera was held: how Pillow turns its picture back


""".splitlines()
DRAFT = """\
        share = 2 * SIDE / min(image.size)
        if share < 1:  # a large JPEG is decoded at a half or a quarter of its size: quicker
            image.draft(None, (round(image.width * share), round(image.height * share)))""".splitlines()
TURN = """\
        image.load()
        turn = TURNS.get(image.getexif().get(274))""".splitlines()
UPRIGHT = """\
        if turn is not None:
            image = image.transpose(turn)""".splitlines()
EIGHT_BITS = """\
        if image.mode[:4] in RANGES:
            (black, white), values = RANGES[image.mode[:4]], np.asarray(image, np.float64)
            grey = np.nan_to_num(values, nan=black).clip(black, white) - black
            image = Image.fromarray((grey * (255 / (white - black))).round().astype(np.uint8))""".splitlines()
RGBA = """\
        image = image.convert("RGBA") if image.has_transparency_data else image""".splitlines()
PLAIN = """\
        if image.mode not in ("L", "RGB", "RGBA", "CMYK"):  # of a palette, say
            image = image.convert("L" if image.mode == "1" else "RGB")""".splitlines()
WHOLE = """\
        size = tuple(round(side * SIDE / min(image.size)) for side in image.size)
        box = 0, 0, *image.size""".splitlines()
MIDDLE = """\
        (width, height), short = image.size, min(image.size)
        w, h = min(width, 4 * short), min(height, 4 * short)  # of a panorama only the middle is kept
        left, top = (width - w) // 2, (height - h) // 2
        size = tuple(min(round(side * SIDE / short), 4 * SIDE) for side in image.size)
        box = left, top, left + w, top + h""".splitlines()
SCALED = """\
        size = tuple(round(side * SIDE / min(image.size)) for side in image.size)
        small = image.convert(MODE).resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)""".splitlines()
ROWS_FIRST = f"""\
        gap = 2.0
        if image.height > {HIGH} * image.width:  # rows first here, too
            image, gap = image.resize((size[0], image.height), Image.Resampling.BICUBIC), None
            box = 0, box[1], size[0], box[3]
        small = image.resize(size, Image.Resampling.BICUBIC, box, gap)""".splitlines()
ON_WHITE = """\
        if image.mode == "RGBA":
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)""".splitlines()


def sizes(recipe: Recipe) -> str:
    """The constants about images."""
    return f"SIDE = {recipe.data.side}  # px, the short side at which images are kept"


def augmentation(recipe: Recipe) -> str:
    """What is done to images that are learned from, and to those that are measured on."""
    learned, measured = train_calls(recipe.augment, recipe.data), eval_calls(recipe.data)
    return joined(
        own_layers(*learned),
        "\n".join(
            [
                "# what training does to an image, anew for each view; those that are measured on show their middle",
                f"augment = {_composed(learned)}",
                f"middle = {_composed(measured)}",
            ]
        ),
    )


def _composed(calls: Sequence[Call]) -> str:
    line = Call("torchvision.transforms.v2.Compose", ([*calls],)).code()
    if len(line) <= ROOM:
        return line
    lines = "".join(f"{call.code(room=ROOM)},\n" for call in calls)
    return f"v2.Compose([\n{indent(lines, '    ')}])"


DECODING = "pixels = {index: torch.from_numpy(read(paths[index])).permute(2, 0, 1) for index in (*train, *valid)}"


def batches(recipe: Recipe) -> str:
    """Views of single images, and batches of them; with the order of an epoch where that takes a function."""
    order, _ = recipe.training.sampling.code()
    if not order:
        return BATCHES
    again = BATCHES.replace("pixels[index]", "pixels[index % len(labels)]").replace(
        "labels[indices]", "labels[indices % len(labels)]"
    )
    return definitions(re.sub(r"  # type: ignore.*", "", order), again)


def order(recipe: Recipe) -> str:
    """The order of an epoch, as an expression."""
    return recipe.training.sampling.code()[1].replace("generator", "np.random.default_rng((SEED, epoch))")


def comes_again(recipe: Recipe) -> bool:
    """Whether an image may come more than once in that order, each time with a number of its own."""
    return recipe.training.sampling.repeats


BATCHES = '''\
def drawn(index, view):
    """An image as it is learned from: each view is drawn otherwise, but always the same for the same SEED."""
    seed = np.random.SeedSequence((SEED, view, int(index))).generate_state(1)[0]
    with torch.random.fork_rng(devices=[]):  # dropout draws from the same generator and must not notice
        torch.default_generator.manual_seed(int(seed))
        return augment(pixels[index])


def cut(indices, size):
    """Batches of this size; a single last image joins those before it, for BatchNorm cannot learn from one."""
    steps = max(len(indices) // size + (len(indices) % size > 1), 1)
    return np.split(indices, [step * size for step in range(1, steps)])


def batches(groups, view):
    """Images (N, C, H, W) uint8 and their labels for each group of indices."""
    for indices in groups:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # on single images several threads are slower
        images = torch.stack([view(index) for index in indices])
        torch.set_num_threads(threads)
        yield images, torch.from_numpy(labels[indices]).to(device)'''
