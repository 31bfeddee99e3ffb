"""Record a function once as a CUDA graph, then replay it: the GPU runs without waiting for Python."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable

import torch
from torch import Tensor

WARM_UP = 3  # calls before the recording, in which libraries choose their kernels and reserve their memory
Body = Callable[[], dict[str, Tensor]]


class Recordings:
    """Recordings of a function that changes now and then, each under a key. The oldest is dropped when they are many.

    Args:
        generator: what the function draws random numbers from; every replay draws fresh ones.
        state: all the tensors that the function changes.
        most: how many recordings are kept. Each holds the memory that its kernels work in.
    """

    def __init__(self, generator: torch.Generator, state: list[Tensor], *, most: int) -> None:
        self._generator, self._state, self._most = generator, state, most
        self._kept: dict[tuple[int, ...], tuple[tuple[Hashable, ...], Body]] = {}

    def of(self, body: Body, *key: Hashable) -> Body:
        """Return a recording of `body`: the one made before under the same objects `key`, or a new one.

        On a CPU there is nothing to record, and with `most` 0 nothing is kept: `body` is returned.
        """
        if self._state[0].device.type != "cuda" or not self._most:
            return body
        identity = tuple(map(id, key))  # the recording keeps the objects, so that no others can have these numbers
        if identity not in self._kept:
            if len(self._kept) == self._most:
                del self._kept[next(iter(self._kept))]
            self._kept[identity] = key, record(body, self._generator, self._state)
        return self._kept[identity][1]


def record(body: Body, generator: torch.Generator, state: Iterable[Tensor]) -> Body:
    """Return a function that does what `body` does, by replaying its kernels.

    Args:
        body: reads and writes CUDA tensors that stay where they are and whose shapes never change, and reads nothing
            back to the host.
        generator: what `body` draws random numbers from; every replay draws fresh ones.
        state: all the tensors that `body` changes. They and the generator are left as they were found.

    Returns:
        The replay. The tensors it returns are the same each time, with new content.

    Raises:
        RuntimeError: `body` does what a CUDA graph cannot hold.
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
        # cuBLAS has a work space for each stream. A recording made on the stream on which it is replayed shares it with
        # nothing that runs at the same time; the default stream cannot be recorded.
        own = here if here != torch.cuda.default_stream() else None
        try:
            with torch.cuda.graph(graph, stream=own):
                result = body()
        except RuntimeError as fault:
            raise RuntimeError(
                "the meta-step cannot be recorded as a CUDA graph: something in it waits for the GPU, such as "
                "`.item()`, or a library reserves memory in it. Write that in another way, or train without a "
                f"recording, by Trainer(recordings=0). PyTorch says: {fault}"
            ) from fault
    for tensor, value in kept:
        tensor.copy_(value)
    generator.set_state(drawn)

    def replay() -> dict[str, Tensor]:
        graph.replay()
        return result

    return replay
