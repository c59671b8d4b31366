"""Sources: where images and their labels come from."""

from finetune_core.parts.sources.family import Blooms, FileNames, Files, Folder, Source, Table

__all__ = ["Blooms", "FileNames", "Files", "Folder", "Source", "Table"]
