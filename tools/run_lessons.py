"""Run every lesson from top to bottom without a browser, as "Run All" does.

python -m tools.run_lessons                                  # run every lesson; executed copies go to build/lessons
python -m tools.run_lessons notebooks/01_sine_regression.ipynb
python -m tools.run_lessons --write                          # also rewrite the committed outputs
python -m tools.run_lessons --times                          # also record how long each lesson took
python -m tools.run_lessons --show notebooks/01_sine_regression.ipynb  # print it as text, for a readable diff
"""

import argparse
import difflib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
import torch
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from metalab.files import replace_file
from metalab.lessons.kit import setup

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
KEPT = {"tags"}  # the parts of a cell's metadata that are kept; `fold` adds those that fold it
FOLDED = "# @title"  # the first line of a code cell that is folded begins with it; Colab shows the rest of the line
PREDICT = "**Predict"  # a text cell with it asks for a guess, which the outputs of the cells below would spoil
CELL_TIMEOUT = 300  # seconds after which a cell is taken to hang; lessons should be much faster


def execute(notebook: NotebookNode, folder: Path, *, timeout: float | None = None) -> str | None:
    """Run all cells of `notebook` in place, in a fresh kernel whose working directory is `folder`.

    Args:
        notebook: the lesson.
        folder: the working directory.
        timeout: the seconds that a cell may take; `CELL_TIMEOUT` by default.

    Returns:
        None if every cell passed, or else where and why the run stopped: "cell 7: NameError: ...". Cells are counted as
        JupyterLab shows them, `[7]`.
    """
    count = 0

    def on_cell_execute(cell: NotebookNode, cell_index: int) -> None:
        nonlocal count
        count += 1

    for cell in notebook.cells:  # or a copy that fails would show old outputs after the failure
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=timeout or CELL_TIMEOUT,
        resources={"metadata": {"path": str(folder)}},
        on_cell_execute=on_cell_execute,
        extra_arguments=["--IPKernelApp.log_level=ERROR"],  # or each lesson would warn about the kernel's transport
    )
    try:
        client.execute()
    except CellExecutionError as error:
        return f"cell {count}: {error.ename}: {error.evalue}".splitlines()[0]
    except CellTimeoutError:
        return f"cell {count}: still running after {timeout or CELL_TIMEOUT} s"
    except DeadKernelError:
        return f"cell {count}: the kernel died"
    return None


def normalise(notebook: NotebookNode) -> None:
    """Drop from an executed `notebook`, in place, whatever differs between machines or between runs.

    The view of a widget is dropped, because it names a model that exists only in its kernel. The text of the widget is
    kept, and nbval compares it.
    """
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    notebook.metadata = NotebookNode(kernelspec=kernel, language_info={"name": "python"})
    for cell in notebook.cells:  # editors add time stamps, and which cells their user has folded
        cell.metadata = NotebookNode({key: value for key, value in cell.metadata.items() if key in KEPT})
        if cell.cell_type != "code":
            continue
        outputs = []
        for output in cell.outputs:
            output.get("data", {}).pop(WIDGET_VIEW, None)
            last = outputs[-1] if outputs else None
            if last and output.output_type == last.output_type == "stream" and output.name == last.name:
                last.text += output.text  # the pieces of a stream depend on when the kernel flushed it
            elif output.get("data") != {}:
                outputs.append(output)
        cell.outputs = outputs
    fold(notebook)


def fold(notebook: NotebookNode) -> None:
    """Fold in `notebook`, in place, what a reader need not or should not see at first, and unfold everything else.

    Code that begins with a title is folded, in JupyterLab and in Colab. After a text cell that says PREDICT, outputs
    are folded up to the next text cell. JupyterLab unfolds an output when its cell is run; Colab cannot fold outputs.
    """
    predict = False
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            predict = PREDICT in cell.source
        for key in ("cellView", "jupyter"):
            cell.metadata.pop(key, None)
        if cell.cell_type == "code":
            titled = cell.source.startswith(FOLDED)
            if titled:
                cell.metadata.cellView = "form"
            hidden = {"source_hidden": titled, "outputs_hidden": predict}
            if any(hidden.values()):
                cell.metadata.jupyter = NotebookNode({key: True for key in hidden if hidden[key]})


def output_text(notebook: NotebookNode) -> list[str]:
    """Return the text that `notebook` shows, as lines that begin with their cell's number. Pictures are left out."""
    lines = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            texts = [text for kind, text in sorted(output.get("data", {}).items()) if kind.startswith("text/")]
            texts.append(output.get("text", ""))
            lines += [f"cell {cell.execution_count}: {line}" for text in texts for line in text.splitlines()]
    return lines


def pictures(notebook: NotebookNode) -> list[str]:
    """Return the pictures that `notebook` shows, in order, as base64 text."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})]


def show(notebook: NotebookNode) -> str:
    """Return `notebook` as text: its cells, and below each cell of code the text that it printed.

    Metadata and pictures are left out.
    """
    lines = []
    for cell in notebook.cells:
        lines += [f"# %% {'' if cell.cell_type == 'code' else f'[{cell.cell_type}]'}".rstrip(), cell.source]
        lines += [f"#> {line.split(': ', 1)[1]}" for line in output_text(NotebookNode(cells=[cell]))]
        lines.append("")
    return "\n".join(lines)


def write(notebook: NotebookNode, path: Path) -> None:
    """Replace the file at `path` with `notebook`, all or nothing."""
    replace_file(path, f"{nbformat.writes(notebook)}\n".encode())


def record(lesson: str, device: str, seconds: float) -> None:
    """Record in the catalogue how long `lesson` took on `device`: "cpu" (two cores) or "gpu" (two cores and a GPU)."""
    catalogue = setup.catalogue()
    catalogue["lessons"][lesson][device] = round(seconds, 1)
    write_catalogue(catalogue)


def write_catalogue(catalogue: dict[str, Any]) -> None:
    """Replace the catalogue, one line for each lesson. `setup.catalogue` reads it."""
    lines = [
        f"    {json.dumps(lesson)}: {json.dumps(about, ensure_ascii=False)}"
        for lesson, about in sorted(catalogue["lessons"].items())
    ]
    head = ["{", f'  "repository": {json.dumps(catalogue["repository"])},', '  "lessons": {']
    text = "\n".join([*head, ",\n".join(lines), "  }", "}", ""])
    replace_file(setup.FILE, text.encode())


def two_cores() -> bool:
    """Restrict this process, and the kernels that it starts, to two processor cores.

    Returns:
        Whether it now runs on exactly two cores.
    """
    if hasattr(os, "sched_setaffinity"):  # Linux
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
        return len(os.sched_getaffinity(0)) == 2
    return os.cpu_count() == 2


def run(path: Path, out: Path, *, rewrite: bool, device: str | None = None) -> bool:
    """Run the lesson at `path`, write its executed copy to the folder `out`, and print how long it took.

    Args:
        path: the lesson.
        out: the folder for executed copies.
        rewrite: whether a lesson that passed replaces the one at `path`; then the changes of its text are printed.
        device: if given, the time is recorded as this device's; see `record`.

    Returns:
        Whether every cell passed.
    """
    notebook = nbformat.read(path, as_version=4)
    before, pictures_before = output_text(notebook), pictures(notebook)
    start = time.perf_counter()
    failure = execute(notebook, path.parent)
    seconds = time.perf_counter() - start
    normalise(notebook)
    write(notebook, out / path.name)
    print(f"{path.stem:<32}{seconds:7.1f} s  {f'failed at {failure}' if failure else 'passed'}", flush=True)
    if failure:
        return False
    if device:
        record(path.stem, device, seconds)
    if rewrite:
        write(notebook, path)
        changes = difflib.unified_diff(before, output_text(notebook), n=0, lineterm="")
        for line in list(changes)[2:]:  # the first two lines name files
            if not line.startswith("@@"):
                print(f"    {line[0]} {line[1:]}", flush=True)
        if pictures(notebook) != pictures_before:
            print("    pictures changed: look at them", flush=True)
    return True


def main(arguments: list[str] | None = None) -> int:
    """Run the command line. Return 0 if every lesson passed, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tools.run_lessons", description="Run lessons without a browser.")
    parser.add_argument("paths", nargs="*", type=Path, help="lessons to run; all of notebooks/ if none is named")
    parser.add_argument(
        "--out", type=Path, default=Path("build/lessons"), help="folder for executed copies: %(default)s"
    )
    parser.add_argument("--write", action="store_true", help="replace the outputs of the lessons that pass")
    parser.add_argument("--times", action="store_true", help="record how long each took on two cores, or with a GPU")
    parser.add_argument("--show", action="store_true", help="run nothing: print the lessons as text")
    options = parser.parse_args(arguments)
    paths = options.paths or sorted(Path("notebooks").glob("*.ipynb"))
    if not paths:
        parser.error("no lesson named, and none in notebooks/")
    for path in paths:
        if not path.is_file():
            parser.error(f"no lesson at {path}")
    if options.show:
        print(*(show(nbformat.read(path, as_version=4)) for path in paths), sep="\n")
        return 0
    device = None
    if options.times:
        without = [path.stem for path in paths if path.stem not in setup.catalogue()["lessons"]]
        if without:
            parser.error(f"{without[0]} has no line in {setup.FILE.name}: add one, with its title and what it teaches")
        if not two_cores():
            parser.error("--times: there are fewer than two cores here, or on this system it cannot keep to two")
        device = "gpu" if torch.cuda.is_available() and os.environ.get(setup.VARIABLE) != "cpu" else "cpu"
    passed = [run(path, options.out, rewrite=options.write, device=device) for path in paths]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
