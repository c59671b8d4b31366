"""`python -m finetune_core`."""

import sys

from finetune_core.interrupting import ending_at_once

with ending_at_once():
    from finetune_core import cores
    from finetune_core.cli import main

cores.share()
sys.exit(main())
