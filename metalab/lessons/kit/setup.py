"""What a lesson's set-up cell calls once the package is there: where the lesson runs, and how long it takes."""

from __future__ import annotations  # no import here may need more than Python: what is missing is yet to be said

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import metalab

FILE = Path(__file__).parents[1] / "catalogue.json"  # `make times` and `make colab REPO=...` write it
NEEDS = {  # what to import: what to install
    "torch": "torch",
    "numpy": "numpy",
    "PIL": "pillow",
    "safetensors": "safetensors",
    "matplotlib": "matplotlib",
    "ipywidgets": "ipywidgets",
    "IPython": "ipython",
}


def catalogue() -> dict[str, Any]:
    """The lessons and how long each takes.

    "repository" is the package's public address, `owner/name` on GitHub, or None while it has none. "seconds" has for
    each lesson the measured seconds of "Run All" on two CPU cores ("cpu"), and with a GPU beside them ("gpu"), or None.
    """
    return json.loads(FILE.read_text())


def ready(lesson: str) -> None:
    """Say which device there is, and how long `lesson` takes on one and the other.

    Raises:
        ModuleNotFoundError: a package that the lessons need is missing; the message says how to get it.
        KeyError: there is no such lesson.
    """
    missing = [package for module, package in NEEDS.items() if find_spec(module) is None]
    if missing:
        raise ModuleNotFoundError(f"not installed here: {', '.join(missing)}. Run: %pip install {' '.join(missing)}")
    import torch  # late, because it may be what is missing

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    print(f"metalab {metalab.__version__} and torch {torch.__version__}. Device: {gpu or 'CPU, no GPU found'}.")
    seconds = catalogue()["seconds"][lesson]
    untimed = "" if seconds["gpu"] else "; with a GPU it was not timed yet, and trains on the CPU all the same"
    print(f"Run All {takes(seconds)}{untimed}.")
    if gpu is None:
        print("For a GPU in Colab: Runtime > Change runtime type > T4 GPU, then Run all.")


def takes(seconds: dict[str, float | None]) -> str:
    """`takes about 40 seconds on two CPU cores`, and how long `with a GPU` where that was measured."""
    with_gpu = f", {about(seconds['gpu'])} with a GPU" if seconds["gpu"] else ""
    return f"takes about {about(seconds['cpu'])} on two CPU cores{with_gpu}"


def about(seconds: float) -> str:
    """A duration as one says it: to five seconds, from a minute and a half on to half a minute."""
    if seconds < 90:
        return f"{max(5, 5 * round(seconds / 5))} seconds"
    return f"{round(seconds / 30) / 2:g} minutes"
