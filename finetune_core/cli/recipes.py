"""Commands about recipes: open the studio, write one, export one, list what it can hold."""

from __future__ import annotations

import shlex
import sys
from typing import Any

from finetune_core import access, places
from finetune_core.cli.parser import Commands, Options, whole
from finetune_core.cli.shared import Bar, changed, check, print_json, read_recipe, write
from finetune_core.errors import UserError
from finetune_core.export.formats import FORMATS
from finetune_core.parts import FAMILIES, Part
from finetune_core.recipe import Recipe
from finetune_core.records import Report
from finetune_core.runs import store
from finetune_core.wording import megabytes, shown


def add_to(commands: Commands) -> None:
    """Add these commands."""
    one = commands.add(studio)
    one.add_argument("--port", type=whole(1, 65535), default=8501, help="port (default 8501)")
    help = "where to listen; anything but localhost needs a password or accounts (default 127.0.0.1)"
    one.add_argument("--address", default="127.0.0.1", help=help)
    help = "a name that it is opened by, besides this machine's own; may be repeated"
    one.add_argument("--host", action="append", default=[], metavar="NAME", help=help)
    help = "ask for this password; whoever lists the processes sees it, so better a file or $THAW_PASSWORD"
    one.add_argument("--password", metavar="TEXT", help=help)
    one.add_argument("--password-file", type=places.expanded, metavar="FILE", help="ask for the password in this file")
    commands.add(init).add_argument("file", metavar="FILE", help="where to write it; - prints it")
    commands.add(parts, "json")
    one = commands.add(export, "set", "runs")
    one.add_argument("recipe", metavar="RECIPE|RUN", help="a recipe file, or a run's id or folder")
    one.add_argument("--format", choices=["script", *FORMATS], default="script", help="what to write (default script)")
    help = "where to write it (default: a script is printed, a model lies in the run's folder)"
    one.add_argument("--out", type=places.expanded, metavar="FILE", help=help)


def studio(options: Options) -> int:
    """Open the studio in a browser on this machine."""
    from finetune_core.cli.studio import serve

    password = access.password(options.password, options.password_file)
    return serve(options.port, options.address, password, tuple(options.host))


def init(options: Options) -> None:
    """Write the default recipe."""
    if options.file == "-":
        print(Recipe().to_yaml(), end="")
        return
    path = places.expanded(options.file)
    if path.exists():
        raise UserError(
            f"{path} exists already.", "It would be overwritten.", "Choose another name or remove it first."
        )
    write(path, Recipe().to_yaml())
    print(f"Wrote {path}. Train it with: python -m finetune_core train {shlex.quote(str(path))}")


def parts(options: Options) -> None:
    """List everything that can be chosen, with its knobs."""
    table = {name: [_part(part) for part in family.kinds().values()] for name, family in FAMILIES.items()}
    if options.json:
        print_json(table)
        return
    for family, members in table.items():
        print(f"\n{family}")
        for part in members:
            print(f"  {part['kind']:24}{part['about']}")
            for knob in part["knobs"]:
                print(f"    {knob['name']:22}{knob['default']!s:12}{knob['help']}")


def _part(part: type[Part]) -> dict[str, Any]:
    knobs = [
        {key: value for key, value in vars(knob).items() if value not in (None, "", ())} | {"default": knob.default}
        for knob in part.knobs()
    ]
    return {"kind": part.kind, "title": part.title, "about": part.about(), "knobs": knobs}


def export(options: Options) -> None:
    """Write a recipe, or that of a run, as one script in plain PyTorch; or a run's model in another format."""
    if options.format in FORMATS:
        _model(options)
        return
    recipe = _recipe_or_run(options)
    check(recipe)
    text = _script(recipe, _say)
    if options.out is None:
        print(text, end="")
        return
    write(options.out, text)
    print(f"Wrote {options.out}. Run it with: python {options.out}")


def _model(options: Options) -> None:
    """Also says what the check of it has shown."""
    if options.set:
        raise UserError("A trained model cannot be changed.", "--set changes recipes.", "Leave it away.")
    run = store.open_run(options.recipe, options.runs)
    from finetune_core.export import taking

    with Bar("Making and checking") as count:
        file, found = taking.take(run, options.format, options.out, count)
    print(f"Wrote {shown(file)} ({megabytes(file.stat().st_size)}). {found.line()}")


def _say(what: str, done: float = 0, total: float = 0, unit: str = "") -> None:
    """On stderr, each thing once."""
    if not done:
        print(what, file=sys.stderr)


def _recipe_or_run(options: Options) -> Recipe:
    path = places.expanded(options.recipe)
    if path.is_file() or path.suffix in (".yaml", ".yml"):
        return read_recipe(options)
    return changed(store.open_run(options.recipe, options.runs).recipe, options.set)


def _script(recipe: Recipe, report: Report) -> str:
    from finetune_core.export import script

    return script.whole(recipe, script.gather(recipe, report))
