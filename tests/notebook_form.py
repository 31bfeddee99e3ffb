"""The form a committed lesson must have. nbval passes over what is wrong in most of these ways."""

import ast
import copy
import re
from pathlib import Path

import nbformat
from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode

from tools import publish, run_lessons

MAX_BYTES = 1_000_000
MAX_LINES = 40  # a cell fits a screen
MAX_COLUMNS = 88  # of code and of printed lines, so that no cell scrolls sideways at 1280 pixels
IMPORTS = f"{run_lessons.FOLDED} Imports"
TAGS = {"nbval-ignore-output", "nbval-check-output"}  # others skip a cell, or let it fail
PLACES = [Path(__file__).parents[1], Path.home()]  # of this machine
PATH = re.compile(  # absolute, and not the end of a longer path or of an address
    r"(?<![\w./~-])(?:/(?:home|Users|root|tmp|var|private|opt|usr|mnt)/\w|"
    + "|".join(re.escape(str(place)) for place in PLACES if place != Path("/"))
    + r")|file:/|[A-Za-z]:\\+Users\b"
)


def problems(notebook: NotebookNode, set_up: str) -> list[str]:
    """What keeps `notebook` from being committed, one line each; cells are counted from 1, text cells too.

    `set_up` is the source that its second cell must have.
    """
    found = []
    if (notebook.nbformat, notebook.nbformat_minor) < (4, 5):
        return ["older than nbformat 4.5: its cells have no ids"]
    ids = [cell.get("id") for cell in notebook.cells]
    if len(set(ids)) < len(ids) or None in ids:
        return ["cell ids are missing or not unique"]
    try:
        nbformat.validate(notebook)
    except nbformat.ValidationError as error:
        return [f"not valid: {error.message}"]

    if "widgets" in notebook.metadata:
        found.append("saved widget state: GitHub calls such a notebook invalid")
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        found.append("its kernel is not python3")
    size = len(nbformat.writes(notebook).encode())
    if size >= MAX_BYTES:
        found.append(f"{size} bytes: {MAX_BYTES} or more")
    if not notebook.cells or notebook.cells[0].cell_type != "markdown" or notebook.cells[0].source[:2] != "# ":
        found.append("its first cell is not a title")
    elif len(notebook.cells) < 2 or not notebook.cells[1].source.startswith(publish.FIRST_LINE):
        found.append("its second cell is not the set-up cell: run make refresh")
    elif notebook.cells[1].source != set_up:
        found.append("its set-up cell is not as it is written today: run make refresh")

    count = 0
    asserts = False
    as_folded = copy.deepcopy(notebook)
    run_lessons.fold(as_folded)
    for number, (cell, folded) in enumerate(zip(notebook.cells, as_folded.cells, strict=True), start=1):
        say = [] if cell.source.strip() else ["empty"]
        if cell.metadata != folded.metadata:
            say.append("not folded as by `make refresh`")
        say += too_wide(cell)
        if len(cell.source.splitlines()) > MAX_LINES:
            say.append(f"longer than {MAX_LINES} lines")
        if PATH.search(cell.source):
            say.append("its source names a path of one machine")
        if cell.cell_type == "markdown" and re.search(r"\$[^$]*\\\\[A-Za-z]", cell.source):
            say.append("a formula with a doubled backslash")
        if cell.cell_type == "raw":
            say.append("raw: it looks like code or text, and is neither")
        if cell.cell_type == "code" and cell.source.strip():
            count += 1
            if cell.execution_count != count:
                say.append(f"its execution count is {cell.execution_count}, not {count}: not run from top to bottom")
            say += [f"tagged {tag}" for tag in cell.metadata.get("tags", []) if tag not in TAGS]
            if marker := re.search(r"#\s*(NBVAL_\w+|PYTEST_VALIDATE\w+)", cell.source):
                say.append(f"marked {marker[1]}: use a tag")
            if cell.source.startswith(("import ", "from ")):
                say.append(f"it begins with imports: give it the first line {IMPORTS!r}, by which it is folded")
            if cell.source.lstrip().startswith("%%"):
                say.append("a %% magic hides its code or its output from the checks")
            else:
                asserts = asserts or has_assert(cell.source)
            say += [problem for output in cell.outputs for problem in output_problems(output, cell.execution_count)]
        found += [f"cell {number}: {problem}" for problem in say]
    found += [f"cell {number}: a Predict without a folded answer below it" for number in unanswered(notebook)]
    if not asserts:
        found.append("it asserts nothing")
    written = copy.deepcopy(notebook)
    run_lessons.normalise(written)
    if not found and written != notebook:
        found.append("not as `make notebooks` writes it")
    return found


def unanswered(notebook: NotebookNode) -> list[int]:
    """The numbers of the text cells that ask for a prediction, where none is answered in a fold before the next one."""
    found, asked = [], None
    for number, cell in enumerate(notebook.cells, start=1):
        for mark in re.findall(rf"{re.escape(run_lessons.PREDICT)}|<details>", cell.source):
            if mark == "<details>":
                asked = None
            else:
                found += [asked] if asked else []
                asked = number
    return found + ([asked] if asked else [])


def too_wide(cell: NotebookNode) -> list[str]:
    """What of a cell's code and of its printed lines has more than MAX_COLUMNS columns."""
    if cell.cell_type != "code":
        return []
    texts = [("a line of code", cell.source)]
    texts += [("a printed line", output.text) for output in cell.outputs if output.output_type == "stream"]
    return [
        f"{what} of {len(line)} columns, more than {MAX_COLUMNS}: {line.strip()[:40]}…"
        for what, text in texts
        for line in text.splitlines()
        if len(line) > MAX_COLUMNS
    ][:1]


def output_problems(output: NotebookNode, execution_count: int | None) -> list[str]:
    """What is wrong with one `output` of a code cell with this `execution_count`."""
    if output.output_type == "error":
        return ["it ended in an error"]
    found = []
    if output.output_type == "stream" and output.name == "stderr":
        found.append("it wrote to stderr")
    if output.output_type == "execute_result" and output.execution_count != execution_count:
        found.append("its result is from another run")
    data = output.get("data", {})
    if any("widget" in kind for kind in data):
        found.append("a widget's view, whose model is not saved")
    texts = [output.get("text", ""), *(str(text) for kind, text in data.items() if not kind.startswith("image/p"))]
    if any(PATH.search(text) for text in texts):
        found.append("its output names a path of one machine")
    return found


def has_assert(source: str) -> bool:
    """Whether the code of a cell, magics allowed, asserts or claims something that could be false."""
    tree = ast.parse(TransformerManager().transform_cell(source))
    tests = [node.test for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
    tests += [call.args[0] for call in calls if ast.unparse(call.func) == "claim"]
    return any(not isinstance(test, ast.Constant) for test in tests)
