"""A page that works from a folder, without a network: with the model, and what runs it (onnxruntime-web), inside.

Browsers let a page on the disk load nothing but scripts. So model and runtime become scripts that hold them as text.
"""

from __future__ import annotations

import base64
import hashlib
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finetune_core import downloads, places
from finetune_core.errors import UserError
from finetune_core.export.play import page
from finetune_core.records import Count

VERSION = "1.30.0"
URL = f"https://registry.npmjs.org/onnxruntime-web/-/onnxruntime-web-{VERSION}.tgz"
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="  # npm's own word
LOADER, ENGINE = "package/dist/ort.wasm.bundle.min.mjs", "package/dist/ort-wasm-simd-threaded.wasm"
HINT = "Connect it to the internet once; the runtime (33 MB) is kept for later."
ASKING = """\
const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const opened = (async () => {
  const ort = await import(URL.createObjectURL(new Blob([bytes(window.LOADER)], { type: "text/javascript" })));
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = bytes(window.ENGINE).buffer;
  return [ort, await ort.InferenceSession.create(bytes(window.MODEL))];
})();

window.values = async (picture) => {
  const [ort, session] = await opened;
  const image = await createImageBitmap(picture, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const canvas = new OffscreenCanvas(image.width, image.height), context = canvas.getContext("2d");
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, image.width, image.height);
  context.drawImage(image, 0, 0);
  const all = context.getImageData(0, 0, image.width, image.height).data, channels = window.known.channels;
  const pixels = new Uint8Array(image.width * image.height * channels);
  for (let from = 0, to = 0; from < all.length; from += 4) {
    if (channels === 3) { pixels[to++] = all[from]; pixels[to++] = all[from + 1]; pixels[to++] = all[from + 2]; }
    else pixels[to++] = (19595 * all[from] + 38470 * all[from + 1] + 7471 * all[from + 2] + 32768) >> 16;
  }
  const shape = [image.height, image.width, channels];
  const found = await session.run({ picture: new ort.Tensor("uint8", pixels, shape) });
  return Array.from(found.answers.data);
};

window.ask = async (picture) => {
  const values = await window.values(picture);
  const named = values.map((value, place) => ({ name: window.known.names[place], value }));
  return window.known.shares ? named.sort((one, other) => other.value - one.value).slice(0, 5) : named;
};"""


def runtime(count: Count) -> tuple[bytes, bytes]:
    """What runs models in a browser: its loader and its engine. A UserError without a network, or where they differ."""
    file = places.cache_dir() / "web" / f"onnxruntime-web-{VERSION}.tgz"
    try:
        archive = downloads.fetch(URL, file, count, what="the browser's runtime", hint=HINT)
    except downloads.NotPublishedError as error:
        raise UserError("The browser's runtime cannot be had.", f"The server has no {URL}.", HINT) from error
    if base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode() != SHA512:
        archive.unlink(missing_ok=True)
        raise UserError(
            "The browser's runtime was not used.", "What came is not what was published.", "Try again; it was removed."
        )
    with tarfile.open(archive) as files:
        loader, engine = files.extractfile(LOADER), files.extractfile(ENGINE)
        assert loader is not None  # the checksum says that they are there
        assert engine is not None
        return loader.read(), engine.read()


def write(folder: Path, model: Path, known: Mapping[str, Any]) -> None:
    """The page with all that it needs; the model, which goes into it, lies there no more."""
    (folder / "index.html").write_text(page(known, ASKING, ("runtime.js", "model.js")), "utf-8")
    parts = runtime(lambda done, total: None)
    texts = [base64.b64encode(each).decode() for each in (*parts, model.read_bytes())]
    (folder / "runtime.js").write_text(f'window.LOADER = "{texts[0]}";\nwindow.ENGINE = "{texts[1]}";\n', "utf-8")
    (folder / "model.js").write_text(f'window.MODEL = "{texts[2]}";\n', "utf-8")
    model.unlink()
