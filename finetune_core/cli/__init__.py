"""The command line: everything the studio does, without a browser.

Exit codes: 0 success, 2 a mistake that the person can mend (two plain lines on stderr), 1 a bug.
"""

from __future__ import annotations

import sys

from finetune_core import places
from finetune_core.cli import control, data, jobs, keeping, network, queueing, recipes, results, sweeping, teaching
from finetune_core.cli.parser import Commands
from finetune_core.errors import UserError


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    try:
        options = commands().parser.parse_args(arguments)
        if options.workspace:
            places.work_in(options.workspace)
        code: int | None = options.command(options)
        return code or 0
    except UserError as error:
        print(*error.lines(), sep="\n", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # before there was a run to be stopped
        print("Stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader (`head`, say) has seen enough
        sys.stderr.close()
        return 0


def commands() -> Commands:
    """All commands, in the order of the help."""
    made = Commands()
    for topic in (recipes, data, jobs, control, queueing, sweeping, network, results, teaching, keeping):
        topic.add_to(made)
    return made
