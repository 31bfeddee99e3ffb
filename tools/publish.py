"""Write the set-up cell, the badge and the times of every lesson, and make copies of the lessons that open alone.

python -m tools.publish                                 # refresh them in notebooks/ and in README.md
python -m tools.publish --out build/colab               # write copies that carry the package
python -m tools.publish --out build/colab --repository owner/name  # do both; install from there
"""

import argparse
import base64
import contextlib
import copy
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_output

import metalab
from metalab.files import replace_file
from metalab.lessons.kit import setup
from tools import rooms
from tools.run_lessons import FOLDED, fold, write, write_catalogue

LARGEST = 10_000_000  # bytes; a copy that carries the package, with all its parameters, must be smaller
BRANCH = "colab"  # the release workflow puts the lessons of the newest release on this branch
FIRST_LINE = f"{FOLDED} Set-up: run this cell first"
TIMES = re.compile(r"\*Run All\* takes .+?(?=;|\.(?:\s|$))")
LESSONS = re.compile(r"(<!-- lessons: [^>]*-->).*?(<!-- end of lessons -->)", re.DOTALL)
BADGE = re.compile(r"\s*\[!\[Open in Colab\]\([^)]*\)\]\([^)]*\)")

# The cell runs before the package is there, so all of its code is in the cell. Modules of another version may have been
# imported before, so they are dropped.
CELL = """\
{first_line} (it does nothing where metalab {version} is installed)
try:
    from metalab import __version__ as found
except ImportError:
    found = None
if found != "{version}":
{get}
from metalab.lessons.kit import setup

device = setup.ready("{lesson}")
"""
NO_SOURCE = """\
raise RuntimeError(
    f"This lesson needs metalab {version}, and found {{found}}. In a checkout, start "
    "Jupyter with: make lab. To open a lesson alone, as in Colab, use the copy "
    "that this makes: make colab"
)
"""
INSTALL = """\
import subprocess
import sys

if found and "google.colab" not in sys.modules:
    raise RuntimeError(
        f"metalab {{found}} is installed, and this lesson needs {version}: "
        "give it an environment of its own."
    )
{source}pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
pip += [{what}]
done = subprocess.run(pip, capture_output=True, text=True)
{after}if done.returncode:
    raise RuntimeError(f"pip could not install metalab {version}:\\n{{done.stderr}}")
for name in [name for name in sys.modules if name.partition(".")[0] == "metalab"]:
    del sys.modules[name]
"""
CARRIED = '''\
import base64
import hashlib
import tempfile
from pathlib import Path

try:
    wheel = base64.b64decode("""
{wheel}
""")
except ValueError:  # characters are missing
    wheel = b""
sha256 = "{sha256}"
if hashlib.sha256(wheel).hexdigest() != sha256:
    raise RuntimeError(
        "The package in this notebook is damaged: its SHA-256 is not the one it was "
        "built with. Nothing was installed. Get a new copy of the notebook."
    )
folder = tempfile.TemporaryDirectory()
path = Path(folder.name, "metalab-{version}-py3-none-any.whl")
path.write_bytes(wheel)
'''


def install_nothing() -> str:
    """Return code for a lesson in a checkout: the package is installed there, or the code says what to do."""
    return NO_SOURCE.format(version=metalab.__version__)


def install_from(repository: str) -> str:
    """Return code that installs this version's tag of the GitHub repository `owner/name`."""
    what = f'"git+https://github.com/{repository}@v{metalab.__version__}"'
    return INSTALL.format(version=metalab.__version__, source="", what=what, after="")


def install_carried(wheel: bytes) -> str:
    """Return code that contains the wheel, checks it and installs it without a network."""
    text = base64.b64encode(wheel).decode()
    lines = "\n".join(text[at : at + 400] for at in range(0, len(text), 400))  # for editors
    sha256 = hashlib.sha256(wheel).hexdigest()
    source = CARRIED.format(version=metalab.__version__, wheel=lines, sha256=sha256)
    what, after = '"--no-index", str(path)', "folder.cleanup()\n"
    return INSTALL.format(version=metalab.__version__, source=source, what=what, after=after)


def set_up_cell(lesson: str, install: str) -> str:
    """Return the source of the set-up cell of `lesson`; `install` is the code that a function above returned."""
    version = metalab.__version__
    get = textwrap.indent(install.rstrip(), "    ")
    return CELL.format(first_line=FIRST_LINE, version=version, get=get, lesson=lesson).rstrip()


def badge(lesson: str, repository: str) -> str:
    """Return the badge that opens `lesson` in Colab, in Markdown."""
    address = f"https://colab.research.google.com/github/{repository}/blob/{BRANCH}/notebooks/{lesson}.ipynb"
    return f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({address})"


def refresh(notebook: NotebookNode, lesson: str, install: str, repository: str | None) -> None:
    """Bring the title cell and the set-up cell of `notebook` up to date, in place, and fold what is to be folded.

    If the set-up cell is new or changed, or shows an old time, it is run here and gets the output that it has here. If
    it is new, the later cells of an executed notebook are renumbered, so that none of them needs to be run again.

    Raises:
        ValueError: the first cell does not say once how long "Run All" takes, or `lesson` was never timed.
    """
    title = notebook.cells[0]
    seconds = setup.catalogue()["lessons"].get(lesson)
    if not seconds:
        raise ValueError(f"{lesson} has no line in {setup.FILE.name}: add one, with its title and what it teaches")
    title.source, found = TIMES.subn(f"*Run All* {setup.takes(seconds)}", title.source)
    if found != 1:
        raise ValueError(f"{lesson}: its first cell must say once '*Run All* takes ….', where the time goes")
    title.source = BADGE.sub("", title.source)
    if repository:
        first, _, rest = title.source.partition("\n")
        title.source = f"{first}\n\n{badge(lesson, repository)}\n{rest}"

    source = set_up_cell(lesson, install)
    if not notebook.cells[1].source.startswith(FIRST_LINE):
        notebook.cells.insert(1, new_code_cell(id="set-up"))
        for cell in notebook.cells[2:]:
            if cell.get("execution_count"):
                cell.execution_count += 1
            for output in cell.get("outputs", []):
                if output.get("execution_count"):
                    output.execution_count += 1
    cell = notebook.cells[1]
    if cell.source != source or setup.takes(seconds) not in str(cell.outputs):
        cell.source, cell.execution_count = source, 1
        cell.metadata = NotebookNode(tags=["nbval-ignore-output"])
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(source, {})
        cell.outputs = [new_output("stream", name="stdout", text=printed.getvalue())]
    fold(notebook)


def lessons_table(lessons: dict[str, dict[str, Any]], repository: str | None) -> str:
    """Return README's table of the lessons in the catalogue, with their times and, if there is an address, badges."""
    rows = ["| | lesson | what you will be able to do | Run All, two CPU cores |", "|---|---|---|---|"]
    for lesson, about in lessons.items():
        number, link = int(lesson.split("_")[0]), f"[{about['title']}](notebooks/{lesson}.ipynb)"
        with_badge = f"{link} {badge(lesson, repository)}" if repository else link
        time = f"about {5 * round(about['cpu'] / 5)} s" if about["cpu"] else "not timed yet"
        with_gpu = f", {5 * round(about['gpu'] / 5)} s with a GPU" if about["gpu"] else ""
        rows.append(f"| {number} | {with_badge} | {about['can']} | {time}{with_gpu} |")
    return "\n".join(rows)


def refresh_readme(text: str, repository: str | None) -> str:
    """Return README's `text` with the tables of the lessons and of the rooms as they are today.

    Raises:
        ValueError: the text has no place for them.
    """
    text = rooms.refresh(text)
    if not LESSONS.search(text):
        raise ValueError(f"README.md has no place for the table of lessons: {LESSONS.pattern}")
    table = lessons_table(setup.catalogue()["lessons"], repository)
    return LESSONS.sub(lambda found: f"{found[1]}\n{table}\n{found[2]}", text)


def build_wheel(root: Path) -> bytes:
    """Return the package of the checkout at `root` as a wheel.

    Nothing is downloaded, and the same sources give the same bytes.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "source")  # a copy, because setuptools leaves files behind and packs old ones
        source.mkdir()
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(root / name, source)
        shutil.copytree(root / "metalab", source / "metalab", ignore=shutil.ignore_patterns("__pycache__", ".*"))
        pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
        subprocess.run(
            [*pip, "--wheel-dir", folder, str(source)],
            check=True,
            env=os.environ | {"SOURCE_DATE_EPOCH": "315532800"},  # 1980, the first year that a zip file can hold
        )
        (wheel,) = Path(folder).glob("*.whl")
        return wheel.read_bytes()


def drop_pictures(notebook: NotebookNode) -> None:
    """Drop the pictures of `notebook`, in place. It shows their descriptions until it is run.

    Pictures and a wheel together would be too large. Colab cannot fold outputs, so those that are folded are dropped.
    """
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("image/png", None)
        if cell.metadata.get("jupyter", {}).get("outputs_hidden"):
            cell.outputs, cell.execution_count = [], None


def refresh_checkout(repository: str | None) -> None:
    """Refresh every lesson in notebooks/ and README.md, and print which files changed."""
    install = install_from(repository) if repository else install_nothing()
    paths = sorted(Path("notebooks").glob("*.ipynb"))
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        before = copy.deepcopy(notebook)
        refresh(notebook, path.stem, install, repository)
        if notebook != before:
            write(notebook, path)
            print(f"{path} refreshed")
    readme = Path("README.md")
    text = readme.read_text()
    refreshed = refresh_readme(text, repository)
    if refreshed != text:
        replace_file(readme, refreshed.encode())
        print(f"{readme} refreshed")


def write_copies(paths: list[Path], out: Path, install: str, repository: str | None) -> None:
    """Write to `out` a copy of each lesson at `paths` that opens alone.

    Raises:
        ValueError: a copy would have 10 MB or more.
    """
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        refresh(notebook, path.stem, install, repository)
        drop_pictures(notebook)
        size = len(nbformat.writes(notebook).encode())
        if size >= LARGEST:
            raise ValueError(f"{path.stem}: its copy would have {size:,} bytes, and less than {LARGEST:,} are wanted")
        write(notebook, out / path.name)
        print(f"{out / path.name}  {size / 1e6:.2f} MB")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line in the root of a checkout. Return 0, or 1 if a lesson is not in the form required here."""
    parser = argparse.ArgumentParser(prog="python -m tools.publish", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="where to write copies of the lessons that open alone")
    parser.add_argument("--repository", help="the package's public address on GitHub, from now on: owner/name")
    options = parser.parse_args(arguments)
    address = options.repository
    if address is not None:
        if not re.fullmatch(r"[\w-]+/[\w.-]+", address, re.ASCII):
            parser.error(f"--repository: owner/name on GitHub, not {address!r}")
        write_catalogue(setup.catalogue() | {"repository": address})
    try:
        if address or not options.out:
            refresh_checkout(setup.catalogue()["repository"])
        if options.out:
            paths = sorted(Path("notebooks").glob("*.ipynb"))
            install = install_from(address) if address else install_carried(build_wheel(Path.cwd()))
            write_copies(paths, options.out, install, address)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
