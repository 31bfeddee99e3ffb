"""Trained parameters in a file: safetensors, with a JSON note on how they came about. Nothing is ever unpickled."""

from __future__ import annotations

import json
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise

from .files import replace_file
from .nets import Params


def save(path: str | Path, params: Params, about: dict[str, Any]) -> None:
    """Write `params`, and the note `about` as JSON, to `path`, all or nothing."""
    # These are copies, because safetensors refuses tensors that lie in the same memory.
    tensors = {name: p.detach().to("cpu", copy=True).contiguous() for name, p in params.items()}
    # `safetensors.torch.save_file` would leave a file that only its owner may read.
    replace_file(path, serialise(tensors, metadata={"about": json.dumps(about)}))


def load(path: str | Path) -> tuple[Params, dict[str, Any]]:
    """Read the parameters at `path`, on the CPU, and the note saved with them.

    Half precision becomes single precision; some shipped files use it to keep the package small.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or was not written by `save`.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"there are no parameters at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["about"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is damaged or not a file of metalab's: {error}") from error
    return {name: p.float() if p.dtype == torch.float16 else p for name, p in tensors.items()}, about


def shipped(name: str) -> tuple[Params, dict[str, Any]]:
    """Read parameters that come with the package, by name: `shipped("sine_maml_5shot")`."""
    resource = files("metalab") / "parameters" / f"{name}.safetensors"
    with as_file(resource) as path:
        return load(path)
