"""Sources: where images and their labels come from."""

from finetune_core.parts.sources.family import (
    ARCHIVES,
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

__all__ = ["ARCHIVES", "Archive", "Blooms", "FileNames", "Files", "Folder", "HubSet", "Published", "Source", "Table"]
