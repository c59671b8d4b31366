"""The parser of the command line: commands that are functions, and the arguments that several of them share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NoReturn

from finetune_core import __version__, places
from finetune_core.errors import UserError
from finetune_core.parts.numbers import Scale

Options = argparse.Namespace
Command = Callable[[Options], int | None]


class _Parser(argparse.ArgumentParser):
    """An argument parser whose mistakes are UserErrors: two plain lines instead of a usage screen."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message[0].upper()}{message[1:]}.", hint=f"See `{self.prog} --help`.")


class Commands:
    """The commands; each is called as its function is, with dashes, and its docstring is its help."""

    def __init__(self) -> None:
        """Without any command yet."""
        self.parser = _Parser(prog="python -m finetune_core", description="Thaw: fine-tune pretrained image models.")
        self.parser.add_argument("--version", action="version", version=f"Thaw {__version__}")
        self._all = self.parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def names(self) -> tuple[str, ...]:
        """What they are called, in the order of the help."""
        return tuple(self._all.choices or ())

    def add(self, function: Command, *shared: str) -> argparse.ArgumentParser:
        """A command with what it shares with others ("recipe", "set", "run", "runs", "json"); returns its parser."""
        name = function.__name__.replace("_", "-")
        one = self._all.add_parser(name, help=function.__doc__, description=function.__doc__)
        one.set_defaults(command=function)
        help = "folder in which runs, draft and cache are kept (or $THAW_WORKSPACE)"
        one.add_argument("--workspace", metavar="DIR", help=help)
        if "recipe" in shared:
            one.add_argument("recipe", metavar="RECIPE", nargs="?", help="a recipe file, as written by init")
            one.add_argument("--run", metavar="RUN", help="take the recipe of this run, instead of a file's")
        if {"recipe", "set"} & {*shared}:
            help = "change one value, by dotted path"
            one.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help=help)
        if "run" in shared:
            one.add_argument("run", metavar="RUN", help="a run's id or folder")
        if {"run", "runs"} & {*shared}:
            one.add_argument(
                "--runs",
                type=places.expanded,
                metavar="DIR",
                help="folder of the runs, where it is not the workspace's",
            )
        if "json" in shared:
            one.add_argument("--json", action="store_true", help="print JSON")
        return one


def whole(low: int | None = None, high: int | None = None) -> Callable[[str], int]:
    """What reads a whole number of an argument, as the fields of pages do."""
    scale = Scale(low, high, whole=True)

    def read(text: str) -> int:
        try:
            return int(scale.read(text))
        except UserError as error:
            raise argparse.ArgumentTypeError(f"it was {text!r}; {error}".removesuffix(".")) from error

    return read
