"""Work through a meta-batch in parts: on a CPU, the data of a part fit into the cache, and each core has its own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch

from ..tasks import Episode
from .layers import Params

IN_CACHE = 160 * 28 * 28  # input numbers of a part at which Conv4 was fastest: 16 tasks of 10 pictures, or 2 of 80
SMALL = 28 * 28  # with fewer input numbers in all, a second thread is not worth its start


def sum_over_tasks(work: Callable[[Episode], tuple[Params, ...]], episode: Episode) -> tuple[Params, ...]:
    """Return the sum, over an episode's tasks, of what `work` returns for some of them.

    A GPU takes all tasks at once. On a CPU, each core takes parts of the episode, one after another.

    Args:
        work: maps an episode to dictionaries of tensors that are sums over its tasks.
        episode: T tasks.
    """
    cores = torch.get_num_threads()
    numbers = (episode.support_x.numel() + episode.query_x.numel()) // episode.tasks  # in the inputs of one task
    size = max(1, min(IN_CACHE // numbers, -(-episode.tasks // cores)))
    if episode.support_x.device.type != "cpu" or numbers * episode.tasks < SMALL:
        return work(episode)
    parts = [episode[start : start + size] for start in range(0, episode.tasks, size)]
    done = list((_pool(cores).map if cores > 1 else map)(work, parts))
    torch.set_num_threads(cores)  # what `_pool` sets would hold for threads that others start later
    return tuple({name: sum(part[name] for part in kind) for name in kind[0]} for kind in zip(*done, strict=True))


@cache
def _pool(cores: int) -> ThreadPoolExecutor:
    """Return threads whose tensor operations stay on one core each: this divides memory traffic too, unlike OpenMP."""
    return ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,))


@cache
def keep_freed_memory() -> None:
    """Ask the C library to keep freed memory for the next meta-step, once in a process.

    glibc returns freed memory to the system at once, and fetching it anew, page by page, took a third of every
    meta-step. Freeing one untouched block of just under 32 MB tells it to keep more (mallopt(3), "dynamic threshold").
    """
    torch.empty(2**23 - 2**13)
