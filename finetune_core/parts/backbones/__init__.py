"""Backbones: networks that have already learned to see, and where their weights come from."""

from finetune_core.parts.backbones.family import Backbone
from finetune_core.parts.backbones.timm import Timm
from finetune_core.parts.backbones.torchvision import Torchvision
from finetune_core.parts.backbones.weights import Bundled, Checkpoint, File, Hub, RandomWeights, Weights

__all__ = ["Backbone", "Bundled", "Checkpoint", "File", "Hub", "RandomWeights", "Timm", "Torchvision", "Weights"]
