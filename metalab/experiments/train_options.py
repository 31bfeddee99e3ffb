"""The options of `python -m metalab train`: one for each setting, whose help names its range and its default."""

from __future__ import annotations

import argparse
from dataclasses import Field, fields
from typing import Any

from .recipes import RECIPES, TASKS, paper
from .settings import Settings, algorithms, flag

# Algorithms that are tested alike share a paper's settings. Help names the first one, and any that differs from it.
FIRST_OF_ITS_KIND = {recipe.tested: name for name, recipe in reversed(RECIPES.items())}
METAVARS = {int: "N", float: "X", str: "NAME"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add an option for every setting but the tasks. An option that is not given leaves no attribute."""
    for f in fields(Settings):
        if f.name != "tasks":
            choices = f.metadata["choices"]
            parser.add_argument(
                flag(f.name),
                type=f.metadata["type"],
                choices=choices,
                metavar=None if choices else METAVARS[f.metadata["type"]],
                default=argparse.SUPPRESS,
                help=f"{f.metadata['help']}{_range(f)} (default: {default(f.name)})",
            )


def kinds() -> str:
    """Return a sentence on which algorithms share the defaults of one that is named in the help."""
    shared = []
    for tested, first in reversed(FIRST_OF_ITS_KIND.items()):
        if others := [name for name, recipe in RECIPES.items() if recipe.tested == tested and name != first]:
            *most, last = others
            shared.append(f"{', '.join(most)} and {last} have the defaults of {first}")
    return f"Unless their own are named, {'; '.join(shared)}."


def default(name: str) -> str:
    """Return the default of a setting in words: `sine: maml 25, reptile 5; omniglot: maml 32, …`."""
    if name == "algorithm":
        return "maml"
    of = {tasks: _defaults(name, tasks) for tasks in TASKS}
    large = _defaults(name, "omniglot", ways=20)
    if name != "ways" and large != of["omniglot"]:
        of["omniglot with 20 ways or more"] = large
    of = {where: what for where, what in of.items() if what}  # a setting need not apply to both kinds of tasks
    if len(set(of.values())) == 1:
        return next(iter(of.values()))
    return "; ".join(f"{where}: {what}" for where, what in of.items())


def _defaults(name: str, tasks: str, ways: int | None = None) -> str:
    """Return the defaults of a setting on one kind of tasks: a value that is common, and those of single algorithms."""
    found: dict[str, str] = {}
    for algorithm in algorithms(tasks):
        settings = paper(tasks, algorithm, ways=ways)
        if name in settings:
            value = _text(settings[name])
            if value != found.get(FIRST_OF_ITS_KIND[RECIPES[algorithm].tested]):
                found[algorithm] = value
    firsts = {found[name] for name in FIRST_OF_ITS_KIND.values() if name in found}
    common = firsts.pop() if len(firsts) == 1 else None
    named = [f"{algorithm} {value}" for algorithm, value in found.items() if value != common]
    return ", ".join([common, *named] if common else named)


def _text(value: Any) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _range(f: Field[Any]) -> str:
    """Return the range of a setting in words, to be added to its help."""
    kind, zero = f.metadata["type"], f.metadata["zero"]
    if kind is str:
        return ""
    least = "at least 0" if zero else "at least 1" if kind is int else "above 0"
    return f"; {'a whole number of ' if kind is int else 'a number of ' if zero else 'a number '}{least}"
