"""One training on several processes: each takes its share of every meta-batch, and the gradients are averaged.

All processes draw the same meta-batch from the same generator, so nothing but averages has to be sent, and the result
is that of one process, to rounding. `torchrun --nproc-per-node 2 -m metalab train ...` starts them.
"""

from __future__ import annotations

import os

import torch
import torch.distributed as dist
from torch import Tensor


def start(device: str) -> str:
    """Join the other processes that torchrun started, if it did; the device of this one (`cuda` becomes `cuda:1`)."""
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
    """How many processes share this training: 1 where torchrun did not start it."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's number, from 0; process 0 is the one that writes and prints."""
    return dist.get_rank() if count() > 1 else 0


def share(tasks: int) -> slice:
    """Which of so many tasks are this process's.

    Raises:
        ValueError: there are fewer tasks than processes.
    """
    if tasks < count():
        raise ValueError(f"a meta-batch of {tasks} cannot be shared by {count()} processes: start fewer")
    return slice(tasks * rank() // count(), tasks * (rank() + 1) // count())


def total(part: Tensor) -> Tensor:
    """The sum of every process's `part`, in place."""
    if count() > 1:
        dist.all_reduce(part)
    return part


def agreed(answer: bool, device: torch.device) -> bool:
    """Process 0's answer, given to all: clocks and signals differ from one process to the next."""
    if count() == 1:
        return answer
    told = torch.tensor(answer, dtype=torch.uint8, device=device)
    dist.broadcast(told, 0)
    return bool(told)


def wait() -> None:
    """Until every process has come this far."""
    if count() > 1:
        dist.barrier()
