"""The program `look.py` that goes along with a model: it asks it about pictures, and needs nothing of Thaw's."""

from __future__ import annotations

import inspect
import re

from finetune_core.export import deployed, reading, script
from finetune_core.parts.codetext import importing, joined
from finetune_core.runs.store import Run
from finetune_core.understand.predict import Predictor


def program(install: str, asking: str, shares: bool) -> str:
    """The whole of it: `asking` opens the model and defines `answers(file)`; `shares` are told likeliest first."""
    about = f'"""What the model says of pictures: python look.py PICTURE …\n\nIt needs: pip install {install}\n"""'
    order = "np.argsort(-values)[:5]" if shares else "range(len(NAMES))"
    return f"{about}\n\n{importing(_NAMES, asking, _SAYING.replace('ORDER', order))}"


def in_onnx(file: str, predictor: Predictor) -> str:
    """By onnxruntime."""
    ask = f"""\
def answers(file):
    \"\"\"A number for each name.\"\"\"
    return session.run(None, {{"picture": {_call(predictor)}}})[0]"""
    return joined(f'session = onnxruntime.InferenceSession(HERE / "{file}")', _reading(), ask)


def in_program(file: str, predictor: Predictor) -> str:
    """By torch alone."""
    ask = f"""\
@torch.inference_mode()
def answers(file):
    \"\"\"A number for each name.\"\"\"
    return model(torch.from_numpy({_call(predictor)})).numpy()"""
    return joined(f'model = torch.export.load(HERE / "{file}").module()', _reading(), ask)


def in_torch(file: str, run: Run, predictor: Predictor) -> str:
    """The network by its library's constructor, and what is done to a picture before."""
    data, network, targets = predictor.data, predictor.network, predictor.targets
    constants = f"""\
WEIGHTS = HERE / "{file}"
SIDE, MEASURED, SIZE = {data.side}, {data.measured_side}, {data.image_size}  # px: as kept, as measured, as seen
MAX_ASPECT = {deployed.MAX_ASPECT}  # of longer pictures only the middle is looked at
MEAN, STD = (torch.tensor(each).view(1, -1, 1, 1) for each in ({[*network.mean]}, {[*network.std]}))"""
    functions = (
        deployed.scaled,
        deployed.middle,
        deployed._cut,
        deployed._resized,
        deployed._to_whole,
        deployed._weights,
        deployed._rounded,
    )
    ask = f"""\
@torch.inference_mode()
def answers(file):
    \"\"\"A number for each name.\"\"\"
    pixels = torch.from_numpy({_call(predictor)}).permute(2, 0, 1).unsqueeze(0).double()
    outputs = model((middle(scaled(pixels, SIDE, MEASURED), SIZE).float() / 255 - MEAN) / STD)
    return ({targets.about.meaning_code(targets)})[0].numpy()"""
    built = script.trained(run.recipe, run.best, len(targets.names))
    return joined(constants, built, "model.eval()", _reading(), *(inspect.getsource(each) for each in functions), ask)


def _call(predictor: Predictor) -> str:
    return f"picture(file, {predictor.network.channels}, {predictor.data.side})"


def _reading() -> str:
    code = re.sub(r"  # type: ignore.*|noqa: BLE001 - ", "", inspect.getsource(reading.picture))
    heif = "pillow_heif.register_heif_opener()  # so that Pillow reads what phones write"
    return joined(f"MODES = {reading.MODES!r}\nTURNS = {reading.TURNS!r}", heif, code)


_NAMES = """\
HERE = Path(__file__).resolve().parent
NAMES = json.loads((HERE / "names.json").read_text("utf-8"))"""

_SAYING = """\
if __name__ == "__main__":
    for file in sys.argv[1:]:
        values = answers(file)
        print(file, *(f"{NAMES[place]} {values[place]:.4f}" for place in ORDER), sep="  ")"""
