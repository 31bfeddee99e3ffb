"""The functions behind a lesson's set-up cell, which says where the lesson runs and how long it takes."""

from __future__ import annotations  # the imports need only Python, because `ready` reports which packages are missing

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import metalab

FILE = Path(__file__).parents[1] / "catalogue.json"  # `make times` and `make colab REPO=...` write this file
NEEDS = {  # the name to import: the name to install
    "torch": "torch",
    "numpy": "numpy",
    "PIL": "pillow",
    "safetensors": "safetensors",
    "matplotlib": "matplotlib",
    "ipywidgets": "ipywidgets",
    "IPython": "ipython",
}


def catalogue() -> dict[str, Any]:
    """Return the catalogue of the lessons, which has one line for each.

    "repository" is the public address, `owner/name` on GitHub, or None as long as there is none. "lessons" gives, by
    the name of the notebook, the lesson's title, what a reader can do afterwards ("can"), and the measured seconds of
    "Run All": on two CPU cores ("cpu") and with a GPU as well ("gpu"). A time is None as long as it was not measured.
    """
    found = json.loads(FILE.read_text())
    for about in found["lessons"].values():
        for device in ("cpu", "gpu"):
            about.setdefault(device, None)
    return found


def ready(lesson: str) -> None:
    """Print which device there is, and how long `lesson` takes on a CPU and with a GPU.

    Raises:
        ModuleNotFoundError: a package that the lessons need is missing. The message says how to install it.
        KeyError: there is no lesson of this name.
    """
    missing = [package for module, package in NEEDS.items() if find_spec(module) is None]
    if missing:
        raise ModuleNotFoundError(f"not installed here: {', '.join(missing)}. Run: %pip install {' '.join(missing)}")
    import torch  # imported late, because torch may be the missing package

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    print(f"metalab {metalab.__version__} and torch {torch.__version__}. Device: {gpu or 'CPU, no GPU found'}.")
    seconds = catalogue()["lessons"][lesson]
    untimed = "" if seconds["gpu"] else "; with a GPU it was not timed yet, and trains on the CPU all the same"
    print(f"Run All {takes(seconds)}{untimed}.")
    if gpu is None:
        print("For a GPU in Colab: Runtime > Change runtime type > T4 GPU, then Run all.")


def takes(seconds: dict[str, Any]) -> str:
    """Return a phrase such as `takes about 40 seconds on two CPU cores`, with the time on a GPU if it was measured."""
    if not seconds["cpu"]:
        return "takes a time that was not measured yet"
    with_gpu = f", {about(seconds['gpu'])} with a GPU" if seconds["gpu"] else ""
    return f"takes about {about(seconds['cpu'])} on two CPU cores{with_gpu}"


def about(seconds: float) -> str:
    """Return a duration in words, rounded to five seconds, or to half a minute from 90 seconds on."""
    if seconds < 90:
        return f"{max(5, 5 * round(seconds / 5))} seconds"
    return f"{round(seconds / 30) / 2:g} minutes"
