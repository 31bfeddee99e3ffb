"""Do the lessons' checks hold for every seed? Their slack is measured over trainings with other seeds.

python -m benchmarks margins --json build/margins.json     # some hours; with the same file it goes on where it stopped

Each lesson runs as it stands, cell by cell in a fresh kernel, but that every training has another seed, and that the
comparisons in its `assert`s and `claim`s are measured. The slack of `a < b` is b - a: negative where the check fails.
(Of a check that compares several pairs, the least slack counts.) A slack that changes with the seed should be,
on average, at least three of its standard deviations above 0.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import math
import operator
import statistics
from collections.abc import Callable, Set
from pathlib import Path
from typing import Any

import nbformat
import torch
from nbformat import NotebookNode

from metalab import train
from metalab.experiments import machine
from metalab.files import check_replaceable, replace_file
from tools import run_lessons

NEEDED = 3.0  # standard deviations
RECORD = "__slacks__"  # what the comparisons call
REPEATS = "engine = Trainer("  # how a lesson begins a training that repeats the reader's own loop
ORDER: dict[type[ast.cmpop], str] = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


# In the kernel


class Slacks:
    """Records the slack of comparisons, and lets those of two numbers pass, so that the lesson goes on.

    Args:
        offset: what is added to the seed of every training.
    """

    def __init__(self, offset: int = 0) -> None:
        self.offset = offset
        self.least: dict[str, float] = {}

    def with_its_seed(self, *arguments: Any, seed: int = 0, **more: Any) -> train.Trainer:
        """Make a training that keeps the seed of the lesson, because it repeats a loop that the reader has written."""
        return train.Trainer(*arguments, seed=seed - self.offset, **more)

    def __call__(self, name: str, left: Any, sign: str, right: Any) -> Any:
        """Record the slack of `left sign right`, and return what stands in the comparison's place."""
        if isinstance(left, Set):  # one set contains another, or it does not: there is no slack
            return OPERATORS[sign](left, right)
        slack = torch.as_tensor(right - left if sign[0] == "<" else left - right).min().item()
        self.least[name] = min(slack, self.least.get(name, slack))
        return OPERATORS[sign](left, right) if getattr(left, "ndim", 0) or getattr(right, "ndim", 0) else True


def with_other_seeds(offset: int, threads: int) -> Slacks:
    """Add a number to the seed of every training that is made from now on; return a record for the comparisons."""
    torch.set_num_threads(threads)
    original = train.Trainer.__init__

    def init(self: train.Trainer, *arguments: Any, seed: int = 0, **more: Any) -> None:
        original(self, *arguments, seed=seed + offset, **more)

    train.Trainer.__init__ = init  # type: ignore[method-assign]
    return Slacks(offset)


# The lesson with its comparisons measured


class _Measure(ast.NodeTransformer):
    """Replaces comparisons by calls of the record: `a < b < c` becomes `record(…, a, "<", b) and record(…, b, …)`."""

    def __init__(self, cell: int) -> None:
        self.cell = cell

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        if not all(type(op) in ORDER for op in node.ops):
            return node
        sides = [node.left, *node.comparators]
        calls: list[ast.expr] = []
        for left, op, right in zip(sides, node.ops, node.comparators, strict=False):
            name = f"[{self.cell}] {ast.unparse(ast.Compare(left, [op], [right]))}"
            arguments = [ast.Constant(name), left, ast.Constant(ORDER[type(op)]), right]
            calls.append(ast.Call(ast.Name(RECORD, ast.Load()), arguments, []))
        return calls[0] if len(calls) == 1 else ast.BoolOp(ast.And(), calls)


def measured(source: str, cell: int) -> str:
    """Return a cell's code with the comparisons in its checks measured; a cell without checks is returned as it is."""
    tree = ast.parse(source)
    asserts = [node for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    claims = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "claim"]
    for node in asserts:
        node.test = _Measure(cell).visit(node.test)
    for node in claims:
        node.args[0] = _Measure(cell).visit(node.args[0])
    return ast.unparse(ast.fix_missing_locations(tree)) if asserts or claims else source


def measuring(lesson: NotebookNode, *, offset: int, threads: int) -> NotebookNode:
    """Return a lesson whose trainings have other seeds, and whose last cell prints the slacks as JSON."""
    code = [cell.source for cell in lesson.cells if cell.cell_type == "code"]
    code = [source.replace(REPEATS, f"engine = {RECORD}.with_its_seed(") for source in code]
    sources = [measured(source, number) for number, source in enumerate(code, start=1)]
    begin = f"from benchmarks import margins\n{RECORD} = margins.with_other_seeds({offset}, {threads})\n"
    sources[0] = begin + sources[0]
    sources.append(f"import json\nprint(json.dumps({RECORD}.least))")
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])


def slacks(lesson: NotebookNode, *, offset: int, threads: int) -> dict[str, float]:
    """Run a lesson with other seeds, and return the slack of each comparison.

    Raises:
        RuntimeError: a cell failed.
    """
    notebook = measuring(lesson, offset=offset, threads=threads)
    if failure := run_lessons.execute(notebook, Path.cwd(), timeout=3600):
        raise RuntimeError(failure)
    printed = "".join(output.text for output in notebook.cells[-1].outputs if output.output_type == "stream")
    return json.loads(printed.splitlines()[-1])


# The command


def judge(slacks: list[float]) -> tuple[bool, str]:
    """Return whether slacks of one comparison are wide enough, and what they are in words."""
    values = [value for value in slacks if value != math.inf]  # a loss that diverges, as it should, has an infinite one
    beside = f", infinite in {len(slacks) - len(values)}" if len(values) < len(slacks) else ""
    if not values:
        return True, "always infinite"
    if not all(map(math.isfinite, values)):
        return False, f"not a number in some of {len(values)} runs"
    least, mean = min(values), statistics.fmean(values)
    if len(values) == 1:
        return least >= 0, f"{mean:.3g} in one run{beside}"
    deviation = statistics.stdev(values)
    if deviation == 0:
        return least >= 0, f"always {mean:.3g}{beside}"
    times = mean / deviation
    words = f"{mean:.3g} ± {deviation:.2g}, {times:.1f} times; least {least:.3g}{beside}"
    return least >= 0 and times >= NEEDED, words


def by_lesson(runs: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the runs of each lesson."""
    lessons = sorted({run["lesson"] for run in runs})
    return {lesson: [run for run in runs if run["lesson"] == lesson] for lesson in lessons}


def judged(same: list[dict[str, Any]]) -> dict[str, tuple[bool, str]]:
    """Return for each comparison of one lesson whether its slacks are wide enough, and what they are in words."""
    names = dict.fromkeys(name for run in same for name in run["slacks"])
    return {name: judge([run["slacks"][name] for run in same if name in run["slacks"]]) for name in names}


def table(runs: list[dict[str, Any]]) -> tuple[bool, str]:
    """Return whether every slack is wide enough, and a line for each comparison, over seeds and threads together."""
    fine, lines = True, []
    for lesson, same in by_lesson(runs).items():
        lines.append(f"{lesson}, {len(same)} runs")
        for run in same:
            if run["failure"]:
                fine = False
                lines.append(f"  FAILED with seeds + {run['seed']}, threads {run['threads']}: {run['failure']}")
        for name, (wide, words) in judged(same).items():
            fine = fine and wide
            lines.append(f"  {'      ' if wide else 'NARROW'}  {words:48}  {name}")
    return fine, "\n".join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `python -m benchmarks margins`."""
    parser.add_argument("paths", nargs="*", type=Path, help="lessons; all of notebooks/ if none is named")
    parser.add_argument("--seeds", type=int, default=10, help="runs of each lesson and number of threads (default 10)")
    parser.add_argument("--first-seed", type=int, default=0, metavar="SEED", help="0 (default) is the lesson's own")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="numbers of threads (default 1 2)")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write there after each run; go on from what is there"
    )


def run(options: argparse.Namespace) -> int:
    """Run the lessons, the seeds in turn, and print the slacks. Return 1 if one is too narrow.

    Raises:
        ValueError: there are fewer than 1 seeds, or the file is no such file.
        OSError: a lesson cannot be read, or the file cannot be written.
    """
    if options.seeds < 1:
        raise ValueError(f"--seeds {options.seeds} must be at least 1")
    lessons = {p: nbformat.read(p, as_version=4) for p in options.paths or sorted(Path("notebooks").glob("*.ipynb"))}
    found: dict[str, Any] = {"machine": machine.about("cpu"), "runs": []}
    if options.json:
        check_replaceable(options.json)
        if options.json.exists():
            found["runs"] = json.loads(options.json.read_text())["runs"]
    # Of an earlier state of a lesson, nothing is kept.
    states = {path.stem: _state(lesson) for path, lesson in lessons.items()}
    found["runs"] = [run for run in found["runs"] if run["state"] == states.get(run["lesson"])]
    there = {(run["lesson"], run["seed"], run["threads"]) for run in found["runs"]}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for path, lesson in lessons.items():
            for threads in options.threads:
                about = {"lesson": path.stem, "seed": seed, "threads": threads}
                if tuple(about.values()) in there:
                    continue
                result: dict[str, Any] = {"slacks": {}, "failure": None}
                try:
                    result["slacks"] = slacks(lesson, offset=seed, threads=threads)
                except RuntimeError as failure:
                    result["failure"] = str(failure)
                found["runs"].append(about | {"state": states[path.stem]} | result)
                print(f"{path.stem}, seeds + {seed}, threads {threads}: {result['failure'] or 'done'}", flush=True)
                if options.json:
                    replace_file(options.json, f"{json.dumps(found, indent=1, ensure_ascii=False)}\n".encode())
    fine, text = table(found["runs"])
    print(text)
    return 0 if fine else 1


def _state(lesson: NotebookNode) -> str:
    """Return a fingerprint of a lesson's code."""
    return hashlib.sha256("\0".join(c.source for c in lesson.cells if c.cell_type == "code").encode()).hexdigest()[:12]
