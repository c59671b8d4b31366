"""How the bundled backbone was made, and what it is worth: `python -m assets.backbones.pretrain --help`."""
