"""Work through a meta-batch in parts: on a CPU, the data of a part fit into the cache."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch

from ..tasks import Episode
from .layers import Params

IN_CACHE = 160 * 28 * 28  # input numbers of a part at which Conv4 was fastest: 16 tasks of 10 pictures, or 2 of 80


def sum_over_tasks(work: Callable[[Episode], tuple[Params, ...]], episode: Episode) -> tuple[Params, ...]:
    """Return the sum, over an episode's tasks, of what `work` returns for some of them.

    A GPU takes all tasks at once. A CPU takes one part after another, and shares the products of each among its cores.
    (A thread for each part was as fast for 64 channels, and slower than a single one for small networks, because
    Python lets only one thread at a time prepare its next operation.)

    Args:
        work: maps an episode to dictionaries of tensors that are sums over its tasks.
        episode: T tasks.
    """
    numbers = (episode.support_x.numel() + episode.query_x.numel()) // episode.tasks  # in the inputs of one task
    size = max(1, IN_CACHE // numbers)
    if episode.support_x.device.type != "cpu" or size >= episode.tasks:
        return work(episode)
    done = [work(episode[start : start + size]) for start in range(0, episode.tasks, size)]
    return tuple({name: sum(part[name] for part in kind) for name in kind[0]} for kind in zip(*done, strict=True))


@cache
def keep_freed_memory() -> None:
    """Ask the C library to keep freed memory for the next meta-step, once in a process.

    glibc returns freed memory to the system at once, and fetching it anew, page by page, took a third of every
    meta-step. Freeing one untouched block of just under 32 MB tells it to keep more (mallopt(3), "dynamic threshold").
    """
    torch.empty(2**23 - 2**13)
