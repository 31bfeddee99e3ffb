"""The functions behind a lesson's set-up cell, which says where the lesson runs and how long it takes."""

from __future__ import annotations  # the imports need only Python, because `ready` reports which packages are missing

import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import metalab

if TYPE_CHECKING:
    import torch

VARIABLE = "METALAB_DEVICE"  # the environment variable by which a reader chooses the device
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


def ready(lesson: str) -> torch.device:
    """Print where `lesson` computes and how long it takes on a CPU and with a GPU, and return the device.

    This is the GPU if there is one that works, and else the CPU. Where METALAB_DEVICE is "cpu", it is the CPU. From now
    on, a cell that fails because an earlier one was interrupted says so (`interrupts.py`).

    Raises:
        ModuleNotFoundError: a package that the lessons need is missing. The message says how to install it.
        ValueError: METALAB_DEVICE is neither "cpu" nor "cuda", or it is "cuda" and there is no GPU that works.
        KeyError: there is no lesson of this name.
    """
    missing = [package for module, package in NEEDS.items() if find_spec(module) is None]
    if missing:
        raise ModuleNotFoundError(f"not installed here: {', '.join(missing)}. Run: %pip install {' '.join(missing)}")
    import torch  # imported late, because torch may be the missing package

    from .interrupts import explain_interrupts

    explain_interrupts()
    name, reason = _gpu()
    wanted = os.environ.get(VARIABLE) or ("cuda" if name else "cpu")
    if wanted not in ("cpu", "cuda"):
        raise ValueError(f"{VARIABLE}={wanted!r} must be 'cpu' or 'cuda', or not be set")
    if wanted == "cuda" and not name:
        raise ValueError(f"{VARIABLE} asks for a GPU, but {reason}")
    why = f"because {reason}" if reason else f"because {VARIABLE} asks for it"
    where = name if wanted == "cuda" else f"CPU, {why}"
    print(f"metalab {metalab.__version__} and torch {torch.__version__}. Device: {where}.")
    seconds = catalogue()["lessons"][lesson]
    untimed = "" if seconds["gpu"] else "; with a GPU it was not timed yet"
    print(f"Run All {takes(seconds)}{untimed}.")
    print("Run All jumps to the end. To watch the trainings, go from cell to cell (Shift+Enter).")
    if wanted == "cuda":
        print("Numbers in the text are those of a run on a CPU, and some of yours will be others.")
        print(f"To stay on the CPU, run this in a cell before this one: %env {VARIABLE}=cpu")
    elif not torch.cuda.is_available():
        print("For a GPU in Colab: Runtime > Change runtime type > T4 GPU, then Run all.")
    return torch.device(wanted)


def _gpu() -> tuple[str, str]:
    """Return the name of the GPU, or else an empty name, and the reason why there is none that works."""
    import torch

    if not torch.cuda.is_available():
        return "", "no GPU was found"
    name = torch.cuda.get_device_name()
    try:  # a GPU may be too old for this PyTorch, or its memory may be full
        torch.ones(2, device="cuda").sum().item()
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        return "", f"the GPU {name} does not work here ({reason})"
    return name, ""


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
