"""The machine on which a number is measured."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch


def name(device: torch.device | str) -> str:
    """Return the machine's name: `AMD EPYC, 2 cores` for a CPU, or the model of a GPU."""
    device = torch.device(device)
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{cpu()}, {cores()} cores"


def cpu() -> str:
    """Return the processor's model, or what the system tells instead."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory(device: torch.device | str) -> int:
    """Return the memory of a GPU, or the memory that this process may use on a CPU, in bytes."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    found = []
    if hasattr(os, "sysconf"):
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):  # of a container
        text = Path(limit).read_text().strip() if Path(limit).exists() else "max"
        if text.isdigit():
            found.append(int(text))
    return min(found, default=2**63)


def about(device: torch.device | str, packages: Iterable[str] = ("torch",)) -> dict[str, Any]:
    """Describe the machine, and the versions of `packages`; the version of a package that is not installed is None.

    Args:
        device: the device of the measurement.
        packages: the names of the packages.
    """
    return {
        "device": torch.device(device).type,
        "name": name(device),
        "cpu": cpu(),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": {package: installed(package) for package in packages},
    }


def installed(package: str) -> str | None:
    """Return the installed version of a package, or None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
