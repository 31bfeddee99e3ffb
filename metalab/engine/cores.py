"""A meta-batch worked through in parts: on a CPU, what a part touches stays in cache, and each core has its own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch

from ..nets import Params
from ..tasks import Episode

IN_CACHE = 160 * 28 * 28  # input numbers, at which Conv4 was fastest: 16 tasks of 10 pictures, or 2 of 80
SMALL = 28 * 28  # fewer input numbers in all are not worth a second thread


def in_parts(work: Callable[[Episode], tuple[Params, ...]], episode: Episode) -> tuple[Params, ...]:
    """The sum over an episode's tasks of what `work` gives for them, by name.

    A GPU takes all tasks at once. On a CPU each core is given parts of the episode, one after the other.
    """
    cores = torch.get_num_threads()
    numbers = (episode.support_x.numel() + episode.query_x.numel()) // episode.tasks  # of one task's inputs
    size = max(1, min(IN_CACHE // numbers, -(-episode.tasks // cores)))
    if episode.support_x.device.type != "cpu" or numbers * episode.tasks < SMALL:
        return work(episode)
    parts = [episode[start : start + size] for start in range(0, episode.tasks, size)]
    done = list((_pool(cores).map if cores > 1 else map)(work, parts))
    torch.set_num_threads(cores)  # what `_pool` sets would hold for threads that others start later
    return tuple({name: sum(part[name] for part in kind) for name in kind[0]} for kind in zip(*done, strict=True))


@cache
def _pool(cores: int) -> ThreadPoolExecutor:
    """Threads whose tensor operations stay on one core: that divides memory traffic too, which OpenMP does not."""
    return ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,))
