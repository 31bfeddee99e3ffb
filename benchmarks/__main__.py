"""Measure the engine and the panels, and write the results page. Run this in a checkout: it is not in the wheel.

python -m benchmarks meta-step             # the meta-step's speed next to other libraries
python -m benchmarks meta-step --memory    # its peak memory over inner steps
python -m benchmarks panels                # what the lessons' panels cost
python -m benchmarks speedrun              # how soon trainings reach 90, 93, 95 and 97 %
python -m benchmarks margins               # how wide the margins of the lessons' checks are, over seeds
python -m benchmarks report                # results/README.md and its figures, from what was measured
"""

from __future__ import annotations

import sys

from metalab.__main__ import Parser, run

from . import margins, meta_step, panels, report, speedrun


def parser() -> Parser:
    """Return the parser of the command line."""
    top = Parser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    commands = top.add_subparsers(required=True, metavar="meta-step | panels | speedrun | margins | report")
    for name, module, about in (
        ("meta-step", meta_step, "measure the meta-step's speed, or its memory, next to other libraries"),
        ("panels", panels, "measure what the lessons' panels cost"),
        ("speedrun", speedrun, "measure how soon trainings reach 90, 93, 95 and 97 %"),
        ("margins", margins, "measure how wide the margins of the lessons' checks are, over seeds and threads"),
        ("report", report, "write the results page"),
    ):
        p = commands.add_parser(name, help=about)
        module.add_arguments(p)
        p.set_defaults(run=module.run)
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run the command line. Return the exit status."""
    return run(parser(), arguments)


if __name__ == "__main__":
    sys.exit(main())
