"""What a reader is told after an interrupt: which cell to run again before the lesson can go on.

A cell that is interrupted leaves names without a value. A later cell that needs one of them would end in a traceback
that says nothing of the interrupt. It says in words instead which cell has to be run again.
"""

from __future__ import annotations

import ast
import textwrap
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from IPython import get_ipython

from .reader import COLUMNS

INTERRUPTED = (  # what a reader is told in place of a traceback
    "This cell was interrupted before it had computed everything. If you want all of the lesson, run it again now. You "
    "can also go on: a cell below that lacks something from here will say so."
)
TOO_SHORT = "The training in this cell was interrupted too early for what follows it here. Run the cell again."


@dataclass(frozen=True)
class Cell:
    """A cell that lacks something: its number in square brackets, its first line, and what happened to it."""

    number: int
    begins: str
    what: str


@dataclass
class Interrupts:
    """The cells that lack something, because they, or cells that they need, were interrupted.

    Attributes:
        missing: what these cells were to assign, as it is written there (`a`, `a["b"]`), and by which cell.
        shorter: whether a training of the current cell was interrupted, and the cell went on with what was trained.
    """

    missing: dict[str, Cell] = field(default_factory=dict)
    shorter: bool = False

    def note(self, source: str, number: int, error: BaseException | None) -> str:
        """Take note of how a cell ended, and return what to tell the reader: nothing if no interrupt is the reason.

        Args:
            source: the Python code of the cell.
            number: counts the executions of cells.
            error: what ended the cell; None if it came to its end.
        """
        shorter, self.shorter = self.shorter, False
        if error is None and not shorter:
            for target in targets(source):
                self.missing.pop(target, None)
            return ""
        if error is None:
            words, what = "", "was interrupted while it trained"
        elif isinstance(error, KeyboardInterrupt):
            words, what = INTERRUPTED, "was interrupted"
        elif shorter:
            words, what = TOO_SHORT, "was interrupted while it trained"
        else:
            read = names_read(error.__traceback__)
            found = {cell for target, cell in self.missing.items() if base(target) in read}
            if not found:
                return ""
            cells = [f"[{c.number}], which {c.what} (`{c.begins}`)" for c in sorted(found, key=lambda c: c.number)]
            needs = "cell" if len(cells) == 1 else "cells"
            words = f"This cell seems to need what is missing from {needs} {' and '.join(cells)}. Run "
            words += f"{'that cell' if len(cells) == 1 else 'those cells, in this order,'} again, and then this one."
            what = "could not run for this reason either"
        begins = next(line.strip() for line in source.splitlines() if line.strip())
        cell = Cell(number, textwrap.shorten(begins, 60, placeholder=" …"), what)
        self.missing |= dict.fromkeys(targets(source), cell)
        return words


def targets(source: str) -> set[str]:
    """Return what the code of a cell assigns, imports and defines, as it is written there."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name | ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(ast.unparse(node))
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.alias):
            found.add(node.asname or base(node.name))
    return found


def base(target: str) -> str:
    """Return the name that a target begins with: `a` of `a["b"]` and of `a.b`."""
    return target.partition("[")[0].partition(".")[0]


def names_read(trace: TracebackType | None) -> set[str]:
    """Return the names that a cell reads whose error this is, and that the cells' functions read which it called."""
    found: set[str] = set()
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__") == "__main__":
            found.update(trace.tb_frame.f_code.co_names)
        trace = trace.tb_next
    return found


INTERRUPTS = Interrupts()  # of this kernel


def explain_interrupts() -> None:
    """Tell the reader from now on what interrupts have left undone. Outside IPython this does nothing."""
    shell: Any = get_ipython()
    if shell is None or getattr(shell, "metalab_explains", False):
        return
    shell.metalab_explains = True

    def note(error: BaseException | None) -> str:
        sources = shell.history_manager.input_hist_parsed  # the last one is that of the current cell
        return INTERRUPTS.note(sources[-1], len(sources) - 1, error)

    def explain(
        shell: Any, kind: type, error: BaseException, trace: TracebackType, tb_offset: int | None = None
    ) -> None:
        if words := note(error):
            name = "" if isinstance(error, KeyboardInterrupt) else f"{kind.__name__}: {error}\n"
            error._render_traceback_ = lambda: [name + textwrap.fill(words, COLUMNS)]  # what IPython shows of it
        shell.showtraceback((kind, error, trace), tb_offset=tb_offset)

    def ended(result: Any) -> None:
        if result.success and result.info.store_history:
            note(None)

    shell.set_custom_exc((Exception, KeyboardInterrupt), explain)
    shell.events.register("post_run_cell", ended)
