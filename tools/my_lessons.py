"""A reader's own copies of the lessons: how they are made and updated, what is done in them, and the page that says so.

What a reader changed is never overwritten. If the lesson has changed too, its new version is put next to the reader's
copy, as `01_sine_regression (new version).ipynb`.
"""

from __future__ import annotations

import copy
import difflib
import glob
import hashlib
import json
import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from urllib.parse import quote

import nbformat
from nbformat import NotebookNode
from nbformat.sign import NotebookNotary

from metalab.lessons.kit import setup

ROOT = Path(__file__).resolve().parents[1]
LESSONS = ROOT / "notebooks"
PAGE = "start.md"
SOURCE = "source"  # in the reader's folder, a link to the checkout, through which links from lessons lead to its files
KEPT = ".lab"  # in the reader's folder: the record of what was copied, and JupyterLab's layout of its tabs
RECORD = f"{KEPT}/copied.json"
UPWARDS = re.compile(r"""(\]\(|(?:href|src)=["'])\.\./""")  # the start of a link from notebooks/ to the checkout
TIME = re.compile(r"\*\*Time:\*\* ([^;.]+)")
EXERCISE = re.compile(r"\bexercises\.(\w+)\.")

INTRODUCTION = """\
# Learn meta-learning by doing

These are your own copies of the lessons. Change and run them as you like: when the lessons are updated, nothing that
you changed is overwritten. Click on a lesson to open it.

| | lesson | what you can do afterwards | time | what you have done |
|---|---|---|---|---|
"""
NEW_VERSIONS = """
## New versions

You changed your copy of the lessons below, so your copies stay as they are. To compare two versions, open both, and
drag the tab of one of them to the right edge of the window: then they stand side by side. To go on with a new version,
work in it. If it is to take the place of your copy, delete or rename your copy and run `make lab` again. In the lists
of what differs, a line with + is in the new version only, and a line with - in your copy only.
"""
DIFFERENCES = """
<details><summary>What differs in lesson {number}, {title}</summary>

~~~~~~~~diff
{lines}
~~~~~~~~

</details>
"""
GOOD_TO_KNOW = f"""
## Good to know

- **Progress** is counted in the files. Save a lesson (Ctrl+S, on a Mac ⌘S) and open this page again to see it counted.
- **A picture in place of a panel** means that no Python runs for it, as after you closed the notebook and shut its
  kernel down. Run the cell, and the panel is back.
- **To begin a lesson anew**, delete or rename your copy in the file browser on the left, and run `make lab` again.
- **The code** to which lessons link is in the folder `{SOURCE}`, where JupyterLab shows it and does not change it.
"""


class Copies:
    """The copies of the lessons in a reader's folder.

    Args:
        folder: the reader's folder.
        lessons: the folder of the lessons as they are today.
    """

    def __init__(self, folder: Path, lessons: Path = LESSONS) -> None:
        self.folder = folder
        self.lessons = {path.stem: path for path in sorted(lessons.glob("*.ipynb"))}
        try:
            record = json.loads((folder / RECORD).read_text()).items()
            self.record = {name: list(digests) for name, digests in record}  # of text and work, as they were copied
        except (OSError, ValueError, AttributeError, TypeError):  # without a record, a copy counts as changed
            self.record = {}

    def update(self) -> list[str]:
        """Copy each lesson that is not there, update each copy that the reader did not change, and write the page.

        Returns:
            What was done, in sentences.

        Raises:
            OSError: a file cannot be read or written.
        """
        from metalab.files import replace_file  # it imports torch, which the server of JupyterLab need not have

        said = []
        for lesson, path in self.lessons.items():
            new = as_copied(nbformat.read(path, as_version=4))
            digests = [text(new), work(new)]
            mine, *others = self.versions(lesson)
            before = read(mine)
            is_current = before is not None and work(before) == work(new)
            is_free = is_current or not mine.exists() or self._is_untouched(mine)
            for other in others:
                if self._is_untouched(other) and (is_free or not self._is_of(other, new)):
                    other.unlink()
            if is_free:
                target = mine
                if not is_current:
                    said.append(f"{mine.name} was {'copied' if before is None else 'updated'}.")
            elif any(self._is_of(place, new) for place in self.versions(lesson)):
                continue
            else:
                target = next(place for place in self._names(lesson) if not place.exists())
                said.append(f"You changed {mine.name}, which has a new version now: it is in {target.name}.")
            if not is_current:
                replace_file(target, f"{nbformat.writes(new)}\n".encode())
                # JupyterLab shows no live panel in a notebook in which an output of somebody else is not trusted.
                NotebookNotary().sign(new)
            self.record[target.name] = digests
        replace_file(self.folder / RECORD, f"{json.dumps(self.record, indent=1)}\n".encode())
        said += self._link()
        replace_file(self.folder / PAGE, self.page().encode())
        return said

    def versions(self, lesson: str) -> list[Path]:
        """Return where the reader's copy of a lesson is or would be, and then the new versions next to it."""
        others = self.folder.glob(f"{glob.escape(lesson)} (new version*).ipynb")
        return [next(self._names(lesson)), *sorted(others, key=lambda place: (len(place.name), place.name))]

    def page(self) -> str:
        """Return the start page in Markdown, with what is done in the copies as they are now."""
        rows, differences = [], []
        for lesson, about in setup.catalogue()["lessons"].items():
            if lesson not in self.lessons:
                continue
            number = int(lesson.split("_")[0])
            minutes = TIME.search(nbformat.read(self.lessons[lesson], as_version=4).cells[0].source)
            time = f"{minutes[1]}; " if minutes else ""
            mine, *others = self.versions(lesson)
            goal = f"{about['can']} | {time}*Run All* {setup.takes(about)}"
            rows.append(f"| {number} | [{about['title']}]({quote(mine.name)}) | {goal} | {progress(read(mine))} |")
            for other in others:
                done = progress(read(other))
                rows.append(f"| | [{about['title']}, new version]({quote(other.name)}) | see below | | {done} |")
            if others:
                lines = "\n".join(difference(read(mine), read(others[-1])))
                differences.append(DIFFERENCES.format(number=number, title=about["title"], lines=lines))
        table = "\n".join(rows)
        return f"{INTRODUCTION}{table}\n{NEW_VERSIONS if differences else ''}{''.join(differences)}{GOOD_TO_KNOW}"

    def _names(self, lesson: str) -> Iterator[Path]:
        yield self.folder / f"{lesson}.ipynb"
        yield self.folder / f"{lesson} (new version).ipynb"
        for number in count(2):
            yield self.folder / f"{lesson} (new version {number}).ipynb"

    def _is_untouched(self, place: Path) -> bool:
        """Tell whether a file is as it was copied. A file that was not copied, or cannot be read, is the reader's."""
        notebook = read(place)
        return notebook is not None and self.record.get(place.name) == [text(notebook), work(notebook)]

    def _is_of(self, place: Path, new: NotebookNode) -> bool:
        """Tell whether a file began as this version of its lesson, or has come to have its text."""
        notebook = read(place)
        return notebook is not None and text(new) in (*self.record.get(place.name, []), text(notebook))

    def _link(self) -> list[str]:
        """Let SOURCE lead to the checkout. Return why not, if it cannot."""
        link = self.folder / SOURCE
        try:
            if link.is_symlink() and link.resolve() != ROOT:  # the checkout was moved
                link.unlink()
            if not link.is_symlink():
                link.symlink_to(ROOT, target_is_directory=True)
        except OSError as error:
            return [f"Links from the lessons to the code will not work, because {link} cannot be made: {error}."]
        return []


def as_copied(lesson: NotebookNode) -> NotebookNode:
    """Return a lesson as its reader gets it: no cell counts as run, and its links lead where they should from there."""
    notebook = copy.deepcopy(lesson)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = UPWARDS.sub(rf"\1{SOURCE}/", cell.source)
        if cell.cell_type == "code":
            cell.execution_count = None
            for output in cell.outputs:
                if output.output_type == "execute_result":
                    output.execution_count = None
    return notebook


def read(place: Path) -> NotebookNode | None:
    """Return the notebook at a place, or None if there is none that can be read."""
    try:
        notebook = nbformat.read(place, as_version=4)
        nbformat.validate(notebook)
    except Exception:  # nbformat raises nearly anything for a file that is no notebook
        return None
    return notebook


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def text(notebook: NotebookNode) -> str:
    """Return a digest of a notebook's code and text."""
    return _digest([(cell.cell_type, cell.source) for cell in notebook.cells])


def work(notebook: NotebookNode) -> str:
    """Return a digest of all in a notebook that can be a reader's work: its code and text, and what was run.

    Metadata are none of it, because JupyterLab writes some as soon as a notebook is opened.
    """
    run = [(cell.get("execution_count"), cell.get("outputs"), cell.get("attachments")) for cell in notebook.cells]
    return _digest([text(notebook), run])


def progress(notebook: NotebookNode | None) -> str:
    """Return in words how many of a copy's cells were run, and how many of its exercises are solved."""
    if notebook is None:
        return "this file cannot be read"
    cells = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    run = [cell for cell in cells if cell.execution_count is not None]
    if not run:
        return "not begun"
    exercises = {name for cell in cells for name in EXERCISE.findall(cell.source)}
    printed = " ".join(output.get("text", "") for cell in run for output in cell.outputs)
    right = {name for name in exercises if re.search(rf"✓ {name}:|\b{name}: the lesson goes on with yours", printed)}
    of_exercises = f", {len(right)} of {len(exercises)} exercises solved" if exercises else ""
    return f"{len(run)} of {len(cells)} cells run{of_exercises}"


def difference(mine: NotebookNode | None, new: NotebookNode | None) -> list[str]:
    """Return what differs between the code and text of two notebooks, as the lines of a diff."""

    def lines(notebook: NotebookNode | None) -> list[str]:
        cells = notebook.cells if notebook else []
        return [line for cell in cells for line in (f"[{cell.cell_type}]", *cell.source.splitlines(), "")]

    return list(difflib.unified_diff(lines(mine), lines(new), "your copy", "new version", n=1, lineterm=""))
