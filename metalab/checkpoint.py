"""Trained parameters in a file: safetensors, with a JSON note on how they came about. Nothing is ever unpickled.

A checksum over the tensors and the note is saved with them, and is compared when they are read.
"""

from __future__ import annotations

import hashlib
import json
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise

from .arguments import device as check_device
from .arguments import path as check_path
from .arguments import shown
from .files import replace_file
from .nets import Params


def save(path: str | Path, params: Params, about: dict[str, Any]) -> None:
    """Write `params`, and the note `about` as JSON, to `path`, all or nothing.

    Raises:
        TypeError: `path` is no path, `params` is no dictionary of tensors by name, or JSON cannot hold the note.
        OSError: the file cannot be written.
    """
    if not isinstance(params, dict) or not all(
        isinstance(n, str) and isinstance(p, torch.Tensor) for n, p in params.items()
    ):
        raise TypeError(f"params={shown(params)} must be a dictionary of tensors by name")
    if not isinstance(about, dict):
        raise TypeError(f"about={shown(about)} must be a dictionary that JSON can hold")
    # These are copies, because safetensors refuses tensors that lie in the same memory.
    tensors = {name: p.detach().to("cpu", copy=True).contiguous() for name, p in params.items()}
    note = json.dumps(about)
    # `safetensors.torch.save_file` would leave a file that only its owner may read.
    replace_file(path, serialise(tensors, metadata={"about": note, "sha256": _checksum(tensors, note)}))


def load(path: str | Path) -> tuple[Params, dict[str, Any]]:
    """Read the parameters at `path`, on the CPU, and the note saved with them.

    Half precision becomes single precision; some shipped files use it to keep the package small.

    Raises:
        TypeError: `path` is no path.
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or was not written by `save`.
    """
    check_path(path=path)
    if not Path(path).is_file():
        raise FileNotFoundError(f"there are no parameters at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if metadata["sha256"] != _checksum(tensors, metadata["about"]):
            raise ValueError("the checksum that was saved with its content is another one")
        about = json.loads(metadata["about"])
        if not isinstance(about, dict):
            raise ValueError("its note is no dictionary")
    except KeyError as missing:
        raise ValueError(f"{path} is damaged or not a file of metalab's: it has no {missing}") from missing
    except (SafetensorError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged or not a file of metalab's: {error}") from error
    return {name: p.float() if p.dtype == torch.float16 else p for name, p in tensors.items()}, about


def shipped(name: str, device: str | torch.device = "cpu") -> tuple[Params, dict[str, Any]]:
    """Read parameters that come with the package, by name, onto a device: `shipped("sine_maml_5shot")`.

    Raises:
        TypeError: `device` is no device.
        ValueError: there are none of that name, or no such device.
    """
    folder = files("metalab") / "parameters"
    names = sorted(file.name.removesuffix(".safetensors") for file in folder.iterdir())
    if name not in names:
        raise ValueError(f"name={shown(name)} must be one of {', '.join(names)}")
    check_device(device=device)
    with as_file(folder / f"{name}.safetensors") as path:
        params, about = load(path)
    return {name: p.to(device) for name, p in params.items()}, about


def _checksum(tensors: Params, note: str) -> str:
    """Return the SHA-256 of the note and of each tensor's name, type, shape and numbers."""
    digest = hashlib.sha256(note.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\n{name!r} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
