"""What is left to whoever calls an exported model: to decode a file. Pillow and numpy alone; goes along as code.

It is `data.image.read_image` without the scaling, which the model does itself.
"""

from __future__ import annotations

import numpy as np
import pillow_heif
from PIL import Image

MODES = {1: "L", 3: "RGB"}
TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # how a camera was held: how Pillow turns its picture back

pillow_heif.register_heif_opener()  # so that Pillow reads what phones write


def picture(file, channels, side):  # type: ignore[no-untyped-def]  # shown to people as it stands
    """Decode an image file: (H, W, channels) uint8, upright, transparency on white."""
    image = Image.open(file)
    share = 2 * side / min(image.size)
    if share < 1:  # as in training: a large JPEG is decoded at a half or a quarter of its size
        image.draft(None, (round(image.width * share), round(image.height * share)))
    image.load()
    if image.mode[:1] in "IF":
        raise ValueError(
            "It has more than 8 bits of grey: scale its values to 0 ... 255 first, as was done in training."
        )
    try:
        turn = TURNS.get(int(image.getexif().get(274, 1)))
    except Exception:  # noqa: BLE001 - what some programs write there is no reason to refuse a picture
        turn = None
    whole = image.convert("RGBA") if image.has_transparency_data else image
    if turn is not None:
        whole = whole.transpose(turn)  # type: ignore[arg-type]
    if whole.mode == "RGBA":
        whole = Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole)
    pixels = np.array(whole.convert(MODES[channels]))
    return pixels if pixels.ndim == 3 else pixels[..., None]
