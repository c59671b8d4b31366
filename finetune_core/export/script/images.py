"""The part of a script about images: which there are, which are measured on, reading, augmentation, batches."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import indent

from finetune_core.data.depth import Depth, kind_of
from finetune_core.data.image import MODES
from finetune_core.data.pipeline import eval_calls, eval_side, train_calls
from finetune_core.export.script.facts import CLEAR, LARGE, LONG, ODD, TURNED, Pictures
from finetune_core.parts import Call
from finetune_core.parts.codetext import joined, listed, own_layers
from finetune_core.parts.tasks import ROUNDING
from finetune_core.recipe import Recipe

ROOM = 110  # columns for a call that stands indented, or behind a name


def listing(recipe: Recipe, pictures: Pictures) -> str:
    """Which images there are, and which of them are kept aside."""
    return "\n\n".join(
        part
        for part in (
            recipe.data.source.code(pictures.samples),
            _split(recipe, pictures),
            _without(pictures.damaged),
            _in_standard_units(pictures),
        )
        if part
    )


def _split(recipe: Recipe, pictures: Pictures) -> str:
    data, samples = recipe.data, pictures.samples
    if samples.fixed:
        return """aside = np.array(aside)
train, valid = np.flatnonzero(~aside), np.flatnonzero(aside)"""
    if samples.about.exclusive:
        return f"""valid = []
for label in range(len(CLASSES)):  # {data.valid_share:.0%} of each class is measured on
    members = np.flatnonzero(labels == label)
    count = min(max(round(len(members) * {data.valid_share!r}), 1), len(members) - 1)
    valid.extend(np.random.default_rng([{data.split_seed}, label]).permutation(members)[:count])
valid = np.sort(valid)
train = np.setdiff1d(np.arange(len(paths)), valid)"""
    return f"""mixed = np.random.default_rng({data.split_seed}).permutation(len(paths))
count = min(max(round(len(paths) * {data.valid_share!r}), 2), len(paths) - 2)  # {data.valid_share:.0%} is measured on
train, valid = np.sort(mixed[count:]), np.sort(mixed[:count])"""


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
        *(TURNS if TURNED in traits else []),
        "def read(path):",
        f'    """A file as pixels (H, W, {recipe.data.channels}), its short side SIDE px."""',
        "    with Image.open(path) as image:",
        *(DRAFT if LARGE in traits else []),
        *(TURN if TURNED in traits else []),
        *(EIGHT_BITS if pictures.depth else []),
        *(RGBA if CLEAR in traits else []),
        *(PLAIN if ODD in traits else []),
        *(MIDDLE if LONG in traits else WHOLE),
        *(UPRIGHT if TURNED in traits else []),
        *(ON_WHITE if CLEAR in traits and mode != "RGBA" else []),
        f"    return np.array(small.convert({mode!r}))" + ("[..., None]" if mode == "L" else ""),
    ]
    return "\n".join(lines)


def _ranges(depth: Depth) -> list[str]:
    """Black and white of images of more than 8 bits, by Pillow's mode."""
    known = {mode: getattr(depth, kind_of(mode)) for mode in ("I;16", "I", "F")}
    lines = [f"    {mode!r}: {pair!r}," for mode, pair in known.items() if pair]
    return ["RANGES = {  # of images of more than 8 bits: what is black and white in all of them", *lines, "}", "", ""]


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
        small = small.transpose(turn)""".splitlines()
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
        small = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)""".splitlines()
MIDDLE = """\
        (width, height), short = image.size, min(image.size)
        w, h = min(width, 4 * short), min(height, 4 * short)  # of a panorama only the middle is kept
        box = ((width - w) / 2, (height - h) / 2, (width - w) / 2 + w, (height - h) / 2 + h)
        size = tuple(min(round(side * SIDE / short), 4 * SIDE) for side in image.size)
        small = image.resize(size, Image.Resampling.BICUBIC, box=box, reducing_gap=2.0)""".splitlines()
ON_WHITE = """\
    if small.mode == "RGBA":
        small = Image.alpha_composite(Image.new("RGBA", small.size, "white"), small)""".splitlines()


def sizes(recipe: Recipe) -> str:
    """The constants about images."""
    return f"SIDE = {eval_side(recipe.data.image_size)}  # px, the short side at which images are kept"


def augmentation(recipe: Recipe) -> str:
    """What is done to images that are learned from, and to those that are measured on."""
    size = recipe.data.image_size
    learned, measured = train_calls(recipe.augment, size, recipe.data.channels), eval_calls(size)
    return joined(
        own_layers(*learned),
        "\n".join(
            [
                "# what training does to an image, anew in each epoch; those that are measured on show their middle",
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

BATCHES = '''\
def drawn(index, epoch):
    """An image as it is learned from: another view in each epoch, but always the same for the same SEED."""
    seed = np.random.SeedSequence((SEED, epoch, int(index))).generate_state(1)[0]
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
