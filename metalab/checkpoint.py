"""Trained parameters in a file: safetensors with a JSON note of how they came about. Nothing is ever unpickled."""

from __future__ import annotations

import json
import os
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise

from .nets import Params


def save(path: str | Path, params: Params, about: dict[str, Any]) -> None:
    """Write `params` and the JSON-able note `about` to `path`, all or nothing."""
    # Copies, because safetensors refuses tensors that lie in the same memory.
    tensors = {name: p.detach().to("cpu", copy=True).contiguous() for name, p in params.items()}
    # `save_file` would leave a file that its owner alone may read.
    replace_file(path, serialise(tensors, metadata={"about": json.dumps(about)}))


def replace_file(path: str | Path, data: bytes) -> None:
    """Write `data` to `path`, all or nothing: after a kill too, there is the old file or the new one."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(data)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def load(path: str | Path) -> tuple[Params, dict[str, Any]]:
    """The parameters at `path`, on the CPU, and the note saved with them.

    Half precision, in which some shipped files are to keep the package small, is made single precision.

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
    """Parameters that come with the package, by name: `shipped("sine_maml_5shot")`."""
    resource = files("metalab") / "parameters" / f"{name}.safetensors"
    with as_file(resource) as path:
        return load(path)
