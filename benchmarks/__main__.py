"""Measure the engine and the panels, and write the results page. Run this in a checkout: it is not in the wheel.

python -m benchmarks meta-step             # the meta-step's speed next to other libraries
python -m benchmarks meta-step --memory    # its peak memory over inner steps
python -m benchmarks panels                # what the lessons' panels cost
python -m benchmarks keys                  # how long it is from a key to the picture, in a browser
python -m benchmarks busy                  # how much slower panels answer on a busy machine
python -m benchmarks gpu                   # everything that only a GPU can tell
python -m benchmarks speedrun              # how soon trainings reach 90, 93, 95 and 97 %
python -m benchmarks few-shot              # lesson 2's comparisons over training seeds
python -m benchmarks distances             # lesson 3's comparison over training seeds
python -m benchmarks challenge             # how few errors one network makes in the author's challenge
python -m benchmarks false-alarms          # whether an examination ever calls a sound learner ill, over seeds
python -m benchmarks margins               # how wide the margins of the lessons' checks are, over seeds
python -m benchmarks report                # results/README.md and its figures, from what was measured
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from importlib import import_module

from metalab.__main__ import Parser, run

COMMANDS = {
    "meta-step": "measure the meta-step's speed, or its memory, next to other libraries",
    "panels": "measure what the lessons' panels cost",
    "keys": "measure how long it is from a key to the picture, in a browser",
    "busy": "measure how much slower panels answer on a busy machine",
    "gpu": "check, time and train on a GPU",
    "speedrun": "measure how soon trainings reach 90, 93, 95 and 97 %",
    "few-shot": "measure lesson 2's comparisons over training seeds",
    "distances": "measure lesson 3's comparison over training seeds",
    "challenge": "train for the author's one-shot challenge, and measure what each ingredient buys",
    "false-alarms": "examine sound learners over seeds: is one ever called ill?",
    "margins": "measure how wide the margins of the lessons' checks are, over seeds and threads",
    "report": "write the results page",
}


def parser() -> Parser:
    """Return the parser of the command line. A command whose packages are missing says so when it is called."""
    top = Parser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    commands = top.add_subparsers(required=True, metavar=" | ".join(COMMANDS))
    for name, about in COMMANDS.items():
        p = commands.add_parser(name, help=about.replace("%", "%%"))
        try:
            module = import_module(f"{__package__}.{name.replace('-', '_')}")
        except ModuleNotFoundError as missing:
            p.set_defaults(run=partial(refuse, f"{name} needs a package that is not installed here: {missing.name}"))
        else:
            module.add_arguments(p)
            p.set_defaults(run=module.run)
    return top


def refuse(reason: str, _options: argparse.Namespace) -> int:
    """Raise a ValueError with this reason."""
    raise ValueError(reason)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line. Return the exit status."""
    return run(parser(), arguments)


if __name__ == "__main__":
    sys.exit(main())
