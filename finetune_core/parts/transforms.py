"""Transforms: what training does to every image anew each epoch, so that the model learns what does not matter.

Each one stands for a call of torchvision's v2 transforms on a uint8 image (C, H, W): grey, colour, or colour and
alpha, of which only what moves pixels touches the latter (`on_colour` sees to that). Those with `frames` cut the
model's square out of the whole image and come first; all others get size × size and give it back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from finetune_core.parts.base import OWN_LAYERS, Call, Part, knob

V2 = "torchvision.transforms.v2"
GREY = [124, 116, 104]  # the mean colour of photos: the least telling thing to fill a hole with
ELASTIC = 16  # px, that a point may come from outside
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

    def kept(self) -> float:
        """The share of a picture's area that it keeps in the mean, 0 to 1."""
        return 1.0

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

    def kept(self) -> float:
        """Areas are drawn evenly between the smallest and all of it."""
        return (self.min_scale + 1) / 2

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
        return _by_chance(blur, self.chance)


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
        return _automatic("RandAugment", channels, num_ops=self.operations, magnitude=self.magnitude)


class TrivialAugment(Transform):
    """Pick one change from a fixed list, at any strength: teaches many things, one at a time, with nothing to tune.

    As good as the tuned ones for most photos (Müller and Hutter 2021). Some of its changes are violent: harms where
    colour or direction tells the class.
    """

    kind: ClassVar[str] = "trivial_augment"
    title: ClassVar[str] = "TrivialAugment"
    strength: ClassVar[str] = "chance"
    chance: float = knob(1.0, "Chance", "How often an image is changed.", low=0.0, high=1.0)

    def call(self, size: int, channels: int = 3) -> Call:
        """Torchvision's wide list, with this probability."""
        return _by_chance(_automatic("TrivialAugment", channels, "TrivialAugmentWide"), self.chance)


class AutoAugment(Transform):
    """Pairs of changes that a search found best on a large public set: teaches what mattered there.

    Cubuk et al. 2018. Harms where your pictures are unlike that set; numbers on houses want another list than animals.
    """

    kind: ClassVar[str] = "auto_augment"
    title: ClassVar[str] = "AutoAugment"
    strength: ClassVar[str] = "chance"
    chance: float = knob(1.0, "Chance", "How often an image is changed.", low=0.0, high=1.0)
    policy: Literal["imagenet", "cifar10", "svhn"] = knob(
        "imagenet",
        "Found on",
        "The set that the search was made on.",
        more=True,
        words={"imagenet": "photos", "cifar10": "tiny photos", "svhn": "house numbers"},
    )

    def call(self, size: int, channels: int = 3) -> Call:
        """One of the policy's pairs, with this probability."""
        policy = Call(f"{V2}.AutoAugmentPolicy", (self.policy,))
        return _by_chance(_automatic("AutoAugment", channels, policy=policy), self.chance)


class AugMix(Transform):
    """Lay several changed copies over the image: teaches to be sure of itself on blurred, noisy or odd pictures.

    Hendrycks et al. 2019. Mixed copies keep more of the image than one strong change; harms where faint details tell.
    """

    kind: ClassVar[str] = "aug_mix"
    title: ClassVar[str] = "AugMix"
    strength: ClassVar[str] = "severity"
    severity: int = knob(3, "Severity", "How strong each change is.", low=1, high=10)
    copies: int = knob(3, "Copies", "How many changed copies are laid over it.", low=1, high=5, more=True)

    def call(self, size: int, channels: int = 3) -> Call:
        """Chains of one to three changes, mixed by random weights."""
        return _automatic("AugMix", channels, severity=self.severity, mixture_width=self.copies)


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


class Shift(Transform):
    """Move and scale the picture a little: teaches that where something stands and how large it is do not matter.

    Milder than a random crop, and nothing is lost but what leaves the picture; what comes in is mirrored. Harms where
    the place tells the class.
    """

    kind: ClassVar[str] = "shift"
    title: ClassVar[str] = "Shift and scale"
    strength: ClassVar[str] = "amount"
    amount: float = knob(
        0.1, "Amount", "Moved by up to this share of the side, and larger or smaller by as much.", low=0.0, high=0.3
    )

    def call(self, size: int, channels: int = 3) -> Call:
        """Mirror the borders outwards as far as they may come into the picture, move, and cut the middle out again."""
        border = math.ceil(size * ((0.5 + self.amount) / (1 - self.amount) - 0.5)) + 1
        share = self.amount * size / (size + 2 * border)  # torchvision counts in sides of what it is given
        kwargs = {
            "degrees": 0,
            "translate": (share, share),
            "scale": (1 - self.amount, 1 + self.amount),
            "interpolation": _bilinear(),
        }
        return _within_border(size, border, Call(f"{V2}.RandomAffine", kwargs=kwargs))


class Elastic(Transform):
    """Bend the picture as if it were on rubber: teaches that exact outlines do not matter, as in cells or handwriting.

    Simard et al. 2003. Harms where a straight line tells the class.
    """

    kind: ClassVar[str] = "elastic"
    title: ClassVar[str] = "Elastic"
    strength: ClassVar[str] = "amount"
    amount: float = knob(50.0, "Amount", "How far points move; 50 is gentle.", low=0.0, high=250.0)

    def call(self, size: int, channels: int = 3) -> Call:
        """Points move by smooth random steps; the borders are mirrored outwards meanwhile."""
        kwargs = {"alpha": self.amount, "sigma": 5.0, "interpolation": _bilinear()}
        return _within_border(size, min(ELASTIC, size - 1), Call(f"{V2}.ElasticTransform", kwargs=kwargs))


class Sharpness(Transform):
    """Sharpen now and then: teaches that cameras and programs that sharpen do not matter.

    Mild; harms little.
    """

    kind: ClassVar[str] = "sharpness"
    title: ClassVar[str] = "Sharpen"
    strength: ClassVar[str] = "amount"
    amount: float = knob(1.0, "Amount", "1 doubles the sharpness.", low=0.0, high=8.0)
    chance: float = knob(0.5, "Chance", "How often it happens.", low=0.0, high=1.0, more=True)

    def call(self, size: int, channels: int = 3) -> Call:
        """Sharper by this amount with this probability."""
        kwargs = {"sharpness_factor": 1 + self.amount, "p": self.chance}
        return on_colour(channels, Call(f"{V2}.RandomAdjustSharpness", kwargs=kwargs))


class Equalize(Transform):
    """Spread the brightness evenly now and then: teaches that exposure and haze do not matter.

    Strong on dark or pale pictures; harms where a shade tells the class.
    """

    kind: ClassVar[str] = "equalize"
    title: ClassVar[str] = "Equalise"
    strength: ClassVar[str] = "chance"
    chance: float = knob(0.3, "Chance", "How often it happens.", low=0.0, high=1.0)

    def call(self, size: int, channels: int = 3) -> Call:
        """The histogram of each channel made even with this probability."""
        return on_colour(channels, Call(f"{V2}.RandomEqualize", kwargs={"p": self.chance}))


class Posterize(Transform):
    """Keep fewer shades of each colour: teaches that fine shading does not matter.

    Harms where shading tells the class, as on skin or in X-rays.
    """

    kind: ClassVar[str] = "posterize"
    title: ClassVar[str] = "Fewer shades"
    strength: ClassVar[str] = "bits"
    gentler_up: ClassVar[bool] = True
    bits: int = knob(4, "Bits", "Kept of each colour: 8 are all of them, 4 are 16 shades.", low=1, high=8)
    chance: float = knob(0.3, "Chance", "How often it happens.", low=0.0, high=1.0, more=True)

    def call(self, size: int, channels: int = 3) -> Call:
        """The lower bits set to zero with this probability."""
        kwargs = {"bits": self.bits, "p": self.chance}
        return on_colour(channels, Call(f"{V2}.RandomPosterize", kwargs=kwargs))


class Solarize(Transform):
    """Turn bright shades into their opposites: teaches to look at shape where colours are strange.

    Photos never look so: for long training on large data, as in DeiT. Harms where colour tells the class.
    """

    kind: ClassVar[str] = "solarize"
    title: ClassVar[str] = "Solarise"
    strength: ClassVar[str] = "threshold"
    gentler_up: ClassVar[bool] = True
    threshold: int = knob(128, "Threshold", "Shades from this on are inverted.", low=0, high=255)
    chance: float = knob(0.2, "Chance", "How often it happens.", low=0.0, high=1.0, more=True)

    def call(self, size: int, channels: int = 3) -> Call:
        """What is as bright as the threshold or brighter is inverted with this probability."""
        kwargs = {"threshold": self.threshold, "p": self.chance}
        return on_colour(channels, Call(f"{V2}.RandomSolarize", kwargs=kwargs))


class Jpeg(Transform):
    """Save the picture as a poorer JPEG: teaches that blocks and smears of compression do not matter.

    Right where pictures will come from the web or from messengers. Harms where fine texture tells the class.
    """

    kind: ClassVar[str] = "jpeg"
    title: ClassVar[str] = "JPEG"
    strength: ClassVar[str] = "quality"
    gentler_up: ClassVar[bool] = True
    quality: int = knob(40, "Lowest quality", "Saved with this quality to 100, by chance.", low=1, high=100)

    def call(self, size: int, channels: int = 3) -> Call:
        """Compressed with a random quality and read again."""
        return on_colour(channels, Call(f"{V2}.JPEG", kwargs={"quality": (self.quality, 100)}))


class Noise(Transform):
    """Add grain: teaches that the noise of dim light and small sensors does not matter.

    Harms where fine texture tells the class.
    """

    kind: ClassVar[str] = "noise"
    title: ClassVar[str] = "Grain"
    strength: ClassVar[str] = "amount"
    amount: float = knob(0.05, "Amount", "Standard deviation, as a share of white.", low=0.0, high=0.5)

    def call(self, size: int, channels: int = 3) -> Call:
        """Gaussian noise on each colour of each pixel."""
        return on_colour(channels, Call(f"{V2}.GaussianNoise", kwargs={"sigma": self.amount}))


def _automatic(name: str, channels: int, torchvisions: str = "", **kwargs: Any) -> Call:
    """One of torchvision's lists of changes; what is moved in from outside is the mean colour of photos."""
    own = f"{OWN_LAYERS}.{name}Alpha" if channels == 4 else f"{V2}.{torchvisions or name}"
    return Call(own, kwargs={**kwargs, "interpolation": _bilinear(), "fill": FILL[channels]})


def _by_chance(call: Call, chance: float) -> Call:
    return Call(f"{V2}.RandomApply", ([call],), {"p": chance})


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


@dataclass(frozen=True)
class Preset:
    """A stack to begin with, and what it is for, in a sentence."""

    title: str
    help: str
    transforms: tuple[Transform, ...]


PRESETS = {
    "none": Preset("None", "Every image as it is, in every epoch.", ()),
    "gentle": Preset("Gentle", "For few epochs, or where details tell.", (HorizontalFlip(), Shift(amount=0.05))),
    "standard": Preset("Standard", "What a fresh recipe begins with: right for most photos.", STANDARD),
    "strong": Preset(
        "Strong",
        "For many epochs on many images.",
        (RandomResizedCrop(min_scale=0.2), HorizontalFlip(), RandAugment(), RandomErasing(chance=0.25)),
    ),
    "fastai": Preset(
        "As fastai",
        "The aug_transforms() of fastai: mirror, turn, zoom, tilt, light.",
        (
            RandomResizedCrop(min_scale=0.35),
            HorizontalFlip(),
            Rotation(degrees=10.0),
            Perspective(distortion=0.2, chance=0.75),
            Light(),
        ),
    ),
    "timm": Preset(
        "As timm",
        "timm's train.py as it comes: crops from a twelfth of the image on, mirror, colours.",
        (RandomResizedCrop(min_scale=0.08), HorizontalFlip(), Light(amount=0.4)),
    ),
    "documents": Preset(
        "Documents",
        "Never mirrored: a little tilt, light, grain and compression.",
        (Shift(amount=0.05), Rotation(degrees=3.0), Perspective(distortion=0.1), Light(), Jpeg(), Noise(amount=0.02)),
    ),
    "satellite": Preset(
        "From above",
        "Satellite or microscope: there is no up and down.",
        (RandomResizedCrop(min_scale=0.6), HorizontalFlip(), VerticalFlip(), Rotation(degrees=45.0), Light()),
    ),
    "medical": Preset(
        "Medical",
        "Shapes bend a little, brightness varies; colours and sides stay.",
        (Shift(amount=0.05), Rotation(degrees=7.0), Elastic(amount=40.0), Light(amount=0.1), Noise(amount=0.02)),
    ),
    "products": Preset(
        "Products",
        "Photos of single things, in shops and at home.",
        (RandomResizedCrop(min_scale=0.5), HorizontalFlip(), Rotation(degrees=10.0), Light(amount=0.3), Jpeg()),
    ),
}
