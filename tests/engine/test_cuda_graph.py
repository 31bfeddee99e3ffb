"""What a machine without a GPU can tell of recordings; `benchmarks gpu` tells the rest."""

import contextlib

import pytest
import torch

from metalab.engine import cuda_graph


class Graph:
    def register_generator_state(self, generator):
        pass


class Stream:
    def wait_stream(self, other):
        pass


def test_what_cannot_be_recorded_is_explained(monkeypatch):
    @contextlib.contextmanager
    def capture(_graph, stream):
        yield
        raise RuntimeError("CUDA error: operation failed due to a previous error during capture\nSearch elsewhere")

    here = Stream()
    for name, stand_in in {
        "device": lambda _device: contextlib.nullcontext(),
        "current_stream": lambda: here,
        "default_stream": lambda: here,
        "Stream": Stream,
        "stream": lambda _stream: contextlib.nullcontext(),
        "CUDAGraph": Graph,
        "graph": capture,
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    with pytest.raises(RuntimeError, match=r"such as `\.item\(\)`.*Trainer\(recordings=0\).*PyTorch says: CUDA error"):
        cuda_graph.record(dict, torch.Generator(), [])
