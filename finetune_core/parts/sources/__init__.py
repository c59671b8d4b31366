"""Sources: where images and their labels come from."""

from finetune_core.parts.sources.family import (
    Archive,
    Blooms,
    FileNames,
    Files,
    Folder,
    HubSet,
    Published,
    Source,
    Table,
)

__all__ = ["Archive", "Blooms", "FileNames", "Files", "Folder", "HubSet", "Published", "Source", "Table"]
