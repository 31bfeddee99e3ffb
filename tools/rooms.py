"""How many lines each room of the house has: `make rooms`. README's table comes from here, by `make refresh`."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
START, END = "<!-- rooms: written by `make refresh` -->", "<!-- end of rooms -->"
# Files and folders, what is in them, and who should read them.
READ, LATER, LESSON, AUTHOR = "read this", "look it up", "with its lesson", "to change lessons, or to measure"
ROOMS = {
    "metalab/tasks/": ("where tasks come from: sine waves, Omniglot, glyphs; episodes, groups and pairs", READ),
    "metalab/learners/": ("one algorithm a file, with its equation on top", READ),
    (
        "metalab/nets.py residual.py losses.py gaussian.py train.py optim.py evaluate.py checkpoint.py files.py "
        "arguments.py"
    ): (
        "the networks, the meta-training loop, confidence intervals, saved parameters, checks of arguments",
        READ,
    ),
    "metalab/engine/": ("what makes it fast: written-out derivatives, CPU cores, CUDA graphs, processes", LATER),
    "metalab/analysis/": ("is a meta-gradient exact, what does its second-order term do, what adapts, ROC", LATER),
    "metalab/experiments/": ("the table of recipes, training runs in folders, scoring, the comparisons", LATER),
    "metalab/lessons/kit/": ("what lessons share: figures, panels, steering, exercises, set-up", LATER),
    "metalab/lessons/": ("a folder for each notebook: its figures, its exercises, its solutions", LESSON),
    "benchmarks/": ("the engine next to other libraries, what panels cost, the results page; not in the wheel", AUTHOR),
    "tools/": ("opening, running and publishing lessons; not in the wheel", AUTHOR),
    "tests/": ("the tests, in the same order", AUTHOR),
}


def sources(room: str) -> list[Path]:
    """Return the Python files of a room: of the folder, or of the files that are named after it."""
    first, *others = room.split()
    paths = [ROOT / first, *((ROOT / first).parent / other for other in others)]
    found = [file for path in paths for file in ([path] if path.suffix else sorted(path.rglob("*.py")))]
    inner = [ROOT / other for other in ROOMS if other.startswith(first) and other != room and first.endswith("/")]
    return [file for file in found if not any(path in file.parents for path in inner)]


def lines(room: str) -> int:
    """Return the number of lines of a room, comments and docstrings included."""
    return sum(len(file.read_text().splitlines()) for file in sources(room))


def table(before: str = "") -> str:
    """Return README's table of rooms, with their lines rounded to fifty.

    A number that stands in the table `before`, and is within a tenth of today's, stays: the table need not change with
    every edit.
    """
    rows = ["| room | what is in it | lines | |", "|---|---|---|---|"]
    for room, (about, reader) in ROOMS.items():
        today = lines(room)
        earlier = re.search(rf"^\| `{re.escape(room)}` \|.*\| ([\d,]+) \|", before, re.MULTILINE)
        number = int(earlier[1].replace(",", "")) if earlier else 0
        number = number if abs(number - today) <= today / 10 else 50 * round(today / 50)
        rows.append(f"| `{room}` | {about} | {number:,} | {reader} |")
    return "\n".join(rows)


def refresh(readme: str) -> str:
    """Return README's text with the table of rooms as it is today.

    Raises:
        ValueError: the text has no place for the table.
    """
    place = re.compile(f"{re.escape(START)}.*?{re.escape(END)}", re.DOTALL)
    found = place.search(readme)
    if not found:
        raise ValueError(f"README.md has no place for the table of rooms: {START} … {END}")
    return readme.replace(found[0], f"{START}\n{table(found[0])}\n{END}")


def main() -> None:
    """Print the lines of every room, and of those that one should read."""
    for room, (about, _reader) in ROOMS.items():
        print(f"{lines(room):7,}  {room:36} {about}")
    total = sum(lines(room) for room, (_about, reader) in ROOMS.items() if reader == READ)
    print(f"\n{total:7,}  lines to read, to understand the algorithms")


if __name__ == "__main__":
    main()
