"""One training on several processes: each takes its share of every meta-batch, and the gradients are averaged.

All processes draw the same meta-batch from the same generator, so that only averages have to be sent, and the result
is that of one process up to rounding. `torchrun --nproc-per-node 2 -m metalab train ...` starts them.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor

from ..tasks import Episode
from .layers import Params


def start(device: str) -> str:
    """Join the other processes if torchrun started this one; return this one's device (`cuda` becomes `cuda:1`)."""
    if not (dist.is_available() and dist.is_torchelastic_launched()):
        return device
    if device == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return device


def stop() -> None:
    """Leave the other processes."""
    if count() > 1:
        dist.destroy_process_group()


def count() -> int:
    """Return how many processes share this training: 1 if torchrun did not start it."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return this process's number, counted from 0; process 0 is the one that writes and prints."""
    return dist.get_rank() if count() > 1 else 0


def share(tasks: int) -> slice:
    """Return which of T tasks are this process's.

    Raises:
        ValueError: there are fewer tasks than processes.
    """
    if tasks < count():
        raise ValueError(f"a meta-batch of {tasks} cannot be shared by {count()} processes: start fewer")
    return slice(tasks * rank() // count(), tasks * (rank() + 1) // count())


def averaged(
    meta_gradient: Callable[[Params, Episode], tuple[Params, dict[str, Tensor]]], params: Params, episode: Episode
) -> tuple[Params, dict[str, Tensor]]:
    """Return what `meta_gradient(params, episode)` does, computed by all processes together: each takes some tasks."""
    if count() == 1:
        return meta_gradient(params, episode)
    own = share(episode.tasks)
    weight = (own.stop - own.start) / episode.tasks
    gradient, metrics = meta_gradient(params, episode[own])
    parts = [*gradient.values(), *metrics.values()]
    vector = total(weight * torch.cat([part.flatten().to(parts[0].dtype) for part in parts]))  # sent at once
    sums = [piece.view_as(part) for piece, part in zip(vector.split([p.numel() for p in parts]), parts, strict=True)]
    return dict(zip(gradient, sums, strict=False)), dict(zip(metrics, sums[len(gradient) :], strict=True))


def total(part: Tensor) -> Tensor:
    """Return the sum of every process's `part`, in place."""
    if count() > 1:
        dist.all_reduce(part)
    return part


def agreed(answer: bool, device: torch.device) -> bool:
    """Return process 0's answer, in all processes: clocks and signals differ from one process to the next."""
    if count() == 1:
        return answer
    told = torch.tensor(answer, dtype=torch.uint8, device=device)
    dist.broadcast(told, 0)
    return bool(told)


def wait() -> None:
    """Wait until every process has come this far."""
    if count() > 1:
        dist.barrier()
