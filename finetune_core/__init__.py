"""Thaw's core: fine-tune pretrained image models. Works, and is tested, without a browser."""

__version__ = "0.1.0"
