"""Transforms: what training does to every image anew each epoch, so that the model learns what does not matter.

Each one stands for a call of torchvision's v2 transforms on a uint8 image (C, H, W): grey, colour, or colour and
alpha, of which only what moves pixels touches the latter (`on_colour` sees to that). Those with `frames` cut the
model's square out of the whole image and come first; all others get size × size and give it back.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

from finetune_core.parts.base import Call, Part, knob

V2 = "torchvision.transforms.v2"
GREY = [124, 116, 104]  # the mean colour of photos: the least telling thing to fill a hole with
FILL = {1: [117], 3: GREY, 4: [*GREY, 255]}  # by channels


class Transform(Part):
    """What training does to every image anew each epoch."""

    frames: ClassVar[bool] = False  # whether it turns an image of any shape into the model's square
    strength: ClassVar[str] = ""  # the knob that stands for how much it does
    gentler_up: ClassVar[bool] = False  # whether a higher value of that knob does less
    needs_colour: ClassVar[bool] = False  # whether it leaves grey images as they are
    active: bool = knob(True, "Active", "Whether this transform takes part.")

    def call(self, size: int, channels: int = 3) -> Call:
        """The torchvision v2 transform: uint8 image (C, H, W) to the same kind; `size` is the model's input in px."""
        raise NotImplementedError

    @classmethod
    def ends(cls) -> tuple[float, float]:
        """The values of the strength knob at which it does least and most."""
        bounds = next((knob.low, knob.high) for knob in cls.knobs() if knob.name == cls.strength)
        low, high = (float(bound) for bound in bounds if bound is not None)
        return (high, low) if cls.gentler_up else (low, high)


def on_colour(channels: int, call: Call) -> Call:
    """A transform that changes colours, not places: of an image with alpha, the colours alone."""
    return Call("finetune_core.parts.modules.OnColour", (call,)) if channels == 4 else call


class RandomResizedCrop(Transform):
    """Cut out a random part and scale it to the model's size: teaches that position and distance do not matter.

    Parts that are too small may miss the thing itself, and then the label is wrong.
    """

    kind: ClassVar[str] = "random_resized_crop"
    title: ClassVar[str] = "Random crop"
    frames: ClassVar[bool] = True
    strength: ClassVar[str] = "min_scale"
    gentler_up: ClassVar[bool] = True
    min_scale: float = knob(
        0.35, "Smallest part", "Share of the image's area that a crop keeps at least.", low=0.05, high=1.0
    )
    stretch: float = knob(
        1.33, "Stretch", "How much wider or taller than a square a crop may be.", low=1.0, high=2.0, more=True
    )

    def call(self, size: int, channels: int = 3) -> Call:
        """Crop of random area and aspect ratio, resized to size × size."""
        ratio = (1 / self.stretch, self.stretch)
        kwargs = {"size": (size, size), "scale": (self.min_scale, 1.0), "ratio": ratio, "antialias": True}
        return Call(f"{V2}.RandomResizedCrop", kwargs=kwargs)


class HorizontalFlip(Transform):
    """Mirror left and right: teaches that it does not matter which way something faces.

    Right for most photos; wrong where the side tells the class, as with letters or arrows.
    """

    kind: ClassVar[str] = "horizontal_flip"
    title: ClassVar[str] = "Mirror"
    strength: ClassVar[str] = "chance"
    chance: float = knob(0.5, "Chance", "How often it happens.", low=0.0, high=1.0)

    def call(self, size: int, channels: int = 3) -> Call:
        """Mirrored with this probability."""
        return Call(f"{V2}.RandomHorizontalFlip", kwargs={"p": self.chance})


class VerticalFlip(Transform):
    """Turn upside down: teaches that there is no up and down, as in pictures from above or through a microscope.

    Harms where gravity rules, as with animals and buildings.
    """

    kind: ClassVar[str] = "vertical_flip"
    title: ClassVar[str] = "Upside down"
    strength: ClassVar[str] = "chance"
    chance: float = knob(0.5, "Chance", "How often it happens.", low=0.0, high=1.0)

    def call(self, size: int, channels: int = 3) -> Call:
        """Flipped with this probability."""
        return Call(f"{V2}.RandomVerticalFlip", kwargs={"p": self.chance})


class Rotation(Transform):
    """Turn by a random angle: teaches that a slanted camera does not matter.

    The corners are filled with the mirrored image. Large angles harm where the direction tells the class, as with
    6 and 9.
    """

    kind: ClassVar[str] = "rotation"
    title: ClassVar[str] = "Rotation"
    strength: ClassVar[str] = "degrees"
    degrees: float = knob(15.0, "Largest angle", "Turned by up to this, either way.", low=0.0, high=180.0, unit="°")

    def call(self, size: int, channels: int = 3) -> Call:
        """Mirror the borders outwards, turn, and cut the middle out again, so that no black corner shows."""
        angle = math.radians(min(self.degrees, 45.0))
        border = math.ceil(size * (math.cos(angle) + math.sin(angle) - 1) / 2) + 1
        kwargs = {"degrees": self.degrees, "interpolation": _bilinear()}
        return _within_border(size, border, Call(f"{V2}.RandomRotation", kwargs=kwargs))


class Perspective(Transform):
    """Tilt the picture as if seen from the side: teaches that the point of view does not matter.

    Helps with flat things such as signs and book covers; strong tilts no longer look like photos.
    """

    kind: ClassVar[str] = "perspective"
    title: ClassVar[str] = "Perspective"
    strength: ClassVar[str] = "distortion"
    distortion: float = knob(0.2, "Tilt", "How far the corners move inwards at most.", low=0.0, high=0.5)
    chance: float = knob(0.5, "Chance", "How often it happens.", low=0.0, high=1.0, more=True)

    def call(self, size: int, channels: int = 3) -> Call:
        """Mirror the borders outwards as far as the corners may move in, tilt, and cut the middle out again."""
        border = math.ceil(size * self.distortion / (2 * (1 - self.distortion))) + 1
        kwargs = {"distortion_scale": self.distortion, "p": self.chance, "interpolation": _bilinear()}
        return _within_border(size, border, Call(f"{V2}.RandomPerspective", kwargs=kwargs))


class Light(Transform):
    """Change brightness, contrast and how vivid the colours are: teaches that light and camera do not matter.

    Nearly always useful; harms where a shade tells the class, as with ripe and unripe fruit.
    """

    kind: ClassVar[str] = "light"
    title: ClassVar[str] = "Light and colour"
    strength: ClassVar[str] = "amount"
    amount: float = knob(0.2, "Amount", "0.2 changes each by up to 20 %, to more or to less.", low=0.0, high=0.9)

    def call(self, size: int, channels: int = 3) -> Call:
        """Brightness, contrast and saturation, each by its own random factor and in random order."""
        kwargs = {"brightness": self.amount, "contrast": self.amount, "saturation": self.amount}
        return on_colour(channels, Call(f"{V2}.ColorJitter", kwargs=kwargs))


class HueShift(Transform):
    """Turn all colours around the colour wheel: teaches that the colour itself does not matter.

    It does matter for flowers, fruit and birds: a strong shift makes red things blue and destroys the label.
    """

    kind: ClassVar[str] = "hue_shift"
    title: ClassVar[str] = "Hue shift"
    needs_colour: ClassVar[bool] = True
    strength: ClassVar[str] = "amount"
    amount: float = knob(
        0.05, "Amount", "Share of the colour wheel to turn by at most; 0.5 reaches every colour.", low=0.0, high=0.5
    )

    def call(self, size: int, channels: int = 3) -> Call:
        """Hue alone, by a random share of the circle."""
        return on_colour(channels, Call(f"{V2}.ColorJitter", kwargs={"hue": self.amount}))


class Grayscale(Transform):
    """Take the colour away now and then: teaches to look at shape and texture too.

    Useful where the colour misleads, or where some real pictures are grey; harms where colour tells the class.
    """

    kind: ClassVar[str] = "grayscale"
    title: ClassVar[str] = "Grey"
    needs_colour: ClassVar[bool] = True
    strength: ClassVar[str] = "chance"
    chance: float = knob(0.1, "Chance", "How often it happens.", low=0.0, high=1.0)

    def call(self, size: int, channels: int = 3) -> Call:
        """Three equal channels with this probability."""
        return on_colour(channels, Call(f"{V2}.RandomGrayscale", kwargs={"p": self.chance}))


class AutoContrast(Transform):
    """Stretch the colours to the full range from black to white: teaches that haze and dim light do not matter.

    Mild; does nothing to an image that has the full range already.
    """

    kind: ClassVar[str] = "auto_contrast"
    title: ClassVar[str] = "Auto contrast"
    strength: ClassVar[str] = "chance"
    chance: float = knob(0.5, "Chance", "How often it happens.", low=0.0, high=1.0)

    def call(self, size: int, channels: int = 3) -> Call:
        """Each channel stretched to 0–255 with this probability."""
        return on_colour(channels, Call(f"{V2}.RandomAutocontrast", kwargs={"p": self.chance}))


class GaussianBlur(Transform):
    """Blur now and then: teaches that focus does not matter, so that fine grain is not all the model looks at.

    Harms where the fine texture is what tells the classes apart.
    """

    kind: ClassVar[str] = "gaussian_blur"
    title: ClassVar[str] = "Blur"
    strength: ClassVar[str] = "radius"
    radius: float = knob(1.5, "Largest radius", "Standard deviation of the blur at most.", low=0.1, high=5.0, unit="px")
    chance: float = knob(0.3, "Chance", "How often it happens.", low=0.0, high=1.0, more=True)

    def call(self, size: int, channels: int = 3) -> Call:
        """A blur of random radius with this probability; the kernel reaches three standard deviations."""
        kwargs = {"kernel_size": 2 * math.ceil(3 * self.radius) + 1, "sigma": (0.1, self.radius)}
        blur = Call(f"{V2}.GaussianBlur", kwargs=kwargs)
        return Call(f"{V2}.RandomApply", ([blur],), {"p": self.chance})


class RandAugment(Transform):
    """Pick a few changes from a fixed list (turn, shear, light, sharpness, fewer colours): teaches many things at once.

    The quick way to strong augmentation for large data sets and long training; too much for a few epochs on few images.
    Two changes of its list, auto contrast and equalise, are always at full strength. Cubuk et al. 2019.
    """

    kind: ClassVar[str] = "rand_augment"
    title: ClassVar[str] = "RandAugment"
    strength: ClassVar[str] = "magnitude"
    magnitude: int = knob(9, "Magnitude", "How strong each change is.", low=0, high=30)
    operations: int = knob(2, "Changes", "How many changes an image gets.", low=1, high=5, more=True)

    def call(self, size: int, channels: int = 3) -> Call:
        """Torchvision's own list; what is moved in from outside is filled with the mean colour of photos."""
        kwargs = {
            "num_ops": self.operations,
            "magnitude": self.magnitude,
            "interpolation": _bilinear(),
            "fill": FILL[channels],
        }
        return Call(
            "finetune_core.parts.modules.RandAugmentAlpha" if channels == 4 else f"{V2}.RandAugment", kwargs=kwargs
        )


class RandomErasing(Transform):
    """Cover a random rectangle with grey: teaches to recognise things that are partly hidden.

    Zhong et al. 2017. Too large a rectangle hides the thing itself.
    """

    kind: ClassVar[str] = "random_erasing"
    title: ClassVar[str] = "Cover up"
    strength: ClassVar[str] = "area"
    area: float = knob(0.2, "Largest area", "Share of the image that is covered at most.", low=0.0, high=0.6)
    chance: float = knob(0.5, "Chance", "How often it happens.", low=0.0, high=1.0, more=True)

    def call(self, size: int, channels: int = 3) -> Call:
        """One rectangle of a tenth of this area to all of it, with this probability."""
        kwargs = {"p": self.chance, "scale": (self.area / 10, self.area), "value": FILL[channels]}
        return Call(f"{V2}.RandomErasing", kwargs=kwargs)


def _bilinear() -> Call:
    return Call(f"{V2}.InterpolationMode", ("bilinear",))


def _within_border(size: int, border: int, inner: Call) -> Call:
    steps: list[Any] = [
        Call(f"{V2}.Pad", (border,), {"padding_mode": "reflect"}),
        inner,
        Call(f"{V2}.CenterCrop", (size,)),
    ]
    return Call(f"{V2}.Compose", (steps,))


STANDARD: tuple[Transform, ...] = (
    RandomResizedCrop(min_scale=0.6),
    HorizontalFlip(),
    VerticalFlip(active=False),
    Rotation(active=False),
    Perspective(active=False),
    Light(),
    HueShift(active=False),
    Grayscale(active=False),
    AutoContrast(active=False),
    GaussianBlur(active=False),
    RandAugment(active=False),
    RandomErasing(active=False),
)
