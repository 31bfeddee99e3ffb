"""Record a function once as a CUDA graph, then replay it: the GPU runs without waiting for Python.

Not yet measured on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

WARM_UP = 3  # calls before the recording, in which libraries choose their kernels and reserve their memory


def record(body: Callable[[], Tensor], generator: torch.Generator, state: Iterable[Tensor]) -> Callable[[], Tensor]:
    """A function that does what `body` does, by replaying its kernels.

    Args:
        body: reads and writes CUDA tensors that stay where they are, never the host; its shapes never change.
        generator: what `body` draws random numbers from; every replay draws fresh ones.
        state: all the tensors that `body` changes. They and the generator are left as they were found.

    Returns:
        The replay. The tensor it returns is the same each time, with new content.
    """
    kept = [(tensor, tensor.clone()) for tensor in state]
    drawn = generator.get_state()
    with torch.cuda.device(generator.device):
        here, aside = torch.cuda.current_stream(), torch.cuda.Stream()
        aside.wait_stream(here)
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                body()
        here.wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(generator)
        with torch.cuda.graph(graph):
            result = body()
    for tensor, value in kept:
        tensor.copy_(value)
    generator.set_state(drawn)

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay
