"""A meta-batch worked through in parts: on a CPU, what a part touches stays in cache, and each core has its own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch

from ..nets import Params
from ..tasks import Episode

IN_CACHE = 80 * 28 * 28  # input numbers, at which Conv4 was fastest: 8 tasks of 10 pictures
SMALL = 28 * 28  # fewer input numbers in all are not worth a second thread


def in_parts(work: Callable[[Episode], tuple[Params, ...]], episode: Episode) -> tuple[Params, ...]:
    """The sum of what `work` gives for parts of an episode: all of it at once on a GPU, and on a CPU so few tasks at a
    time that what they touch stays in cache, each core at parts of its own."""
    cores = torch.get_num_threads()
    numbers = (episode.support_x.numel() + episode.query_x.numel()) // episode.tasks  # of one task's inputs
    size = max(1, min(IN_CACHE // numbers, -(-episode.tasks // cores)))
    if episode.support_x.is_cuda or numbers * episode.tasks < SMALL:
        return work(episode)
    parts = [episode[start : start + size] for start in range(0, episode.tasks, size)]
    done = list((_pool(cores).map if cores > 1 else map)(work, parts))
    torch.set_num_threads(cores)  # what `_pool` sets would hold for threads that others start later
    return tuple({name: sum(part[name] for part in kind) for name in kind[0]} for kind in zip(*done, strict=True))


@cache
def _pool(cores: int) -> ThreadPoolExecutor:
    """Threads whose tensor operations stay on one core: that divides memory traffic too, which OpenMP does not."""
    return ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,))
