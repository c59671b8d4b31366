"""What a file is by its first bytes, whatever its name says: for words about what is brought by mistake."""

from __future__ import annotations

import re

LENGTH = 512  # bytes that tell

EXCEL, ZIP, PACKED, TAR = "an Excel file of the old kind", "a zip archive", "a packed archive", "a tar archive"
POINTER, PAGE, XML, JSON = "a pointer of Git LFS", "a web page", "XML", "JSON"
_BLANK = rb"(\xef\xbb\xbf)?\s*"

KINDS = {  # how they begin
    ZIP: rb"PK(\x03\x04|\x05\x06)",
    EXCEL: rb"\xd0\xcf\x11\xe0",
    PACKED: rb"\x1f\x8b|BZh\d1AY|\xfd7zXZ|7z\xbc\xaf|Rar!|\x28\xb5\x2f\xfd",
    TAR: rb".{257}ustar",
    "a picture": rb"\x89PNG|\xff\xd8\xff|GIF8|RIFF.{4}WEBP|II\*\0|MM\0\*|BM.{4}\0{4}|.{4}ftyp(avi[fs]|hei[cx]|mif1)",
    "a PDF": rb"%PDF",
    "a database": rb"SQLite format 3",
    "a Parquet file": rb"PAR1",
    "a NumPy array": rb"\x93NUMPY",
    "an HDF5 file, as Keras writes it": rb"\x89HDF",
    "a TensorFlow Lite file": rb".{4}TFL3",
    "a GGUF file, for language models": rb"GGUF|ggml",
    "an ONNX file": rb"\x08[\x00-\x10]\x12.pytorch",
    POINTER: rb"version https://git-lfs",
    PAGE: rb"(?i)" + _BLANK + rb"<(!doctype html|html|head)",
    XML: _BLANK + rb"<\?xml",
    JSON: _BLANK + rb"(\{\s*[\"}]|\[\s*\{)",
}


def told(opening: bytes) -> str:
    """What a file is that begins like this, with its article; empty where that does not tell."""
    return next((what for what, begins in KINDS.items() if re.match(begins, opening, re.DOTALL)), "")
