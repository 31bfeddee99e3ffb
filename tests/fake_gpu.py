"""A GPU for machines that have none: its tensors say that they are on "cuda", and their numbers are on the CPU.

    with fake_gpu() as device:
        torch.zeros(3, device=device) + torch.zeros(3)  # raises WrongDevice

An operation raises WrongDevice where a GPU would refuse it: if it mixes tensors of the GPU with others (tensors without
axes may mix, and the CPU's may index the GPU's, as in PyTorch), or if a generator of another device draws.

What `cuda_graph.record` is given runs as it is at each replay. It must not do what a CUDA graph could not hold: read a
number back, copy from one device to the other, or make a tensor on the CPU.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

from metalab.engine import cuda_graph

GPU, CPU = torch.device("cuda", 0), torch.device("cpu")
NAME = "A GPU that is not there"
WAIT = ("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "_unique2", "unique_dim")
# A recording cannot hold these either, but nothing here would show it: the derivatives of `prod` and `cumprod` look for
# zeros (of tensors like ours they do not), and a GPU's `cholesky_solve` reserves memory (an H200's with PyTorch 2.11).
UNRECORDED = ("prod", "cumprod", "cholesky_solve")
INDEX = ("index", "index_put", "index_put_")
COPY = ("_to_copy", "copy_")

_recorded = False  # whether what runs now would be in a CUDA graph


class WrongDevice(RuntimeError):
    """An operation mixes devices, or does what a CUDA graph could not hold."""


class OnGPU(Tensor):
    """A tensor on the GPU that is not there. `numbers` are its numbers, on the CPU."""

    numbers: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, numbers: Tensor) -> OnGPU:
        # To PyTorch's own code it is on "meta", because each build of PyTorch has this device.
        layout = numbers.shape, numbers.stride(), numbers.storage_offset()
        with torch.inference_mode(numbers.is_inference()):
            tensor = Tensor._make_wrapper_subclass(cls, *layout, dtype=numbers.dtype, device="meta")
        tensor.numbers = numbers
        return tensor

    @property
    def device(self) -> torch.device:
        return GPU

    @property
    def is_cuda(self) -> bool:
        return True

    @property
    def is_meta(self) -> bool:
        return False

    def __repr__(self) -> str:
        return f"OnGPU({self.numbers!r})"

    def tolist(self) -> Any:  # PyTorch has this and the next for its own class only
        return self.cpu().tolist()

    def __format__(self, wanted: str) -> str:
        return format(self.cpu(), wanted)

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, arguments: tuple = (), options: Any = None) -> Any:
        return _run(function, arguments, options or {})


def _run(function: Any, arguments: tuple, options: dict[str, Any]) -> Any:
    """Run an operation on the CPU, and return tensors of the device that it would have run on."""
    name = function.overloadpacket.__name__
    tensors = [t for t in tree_leaves((arguments, options)) if isinstance(t, Tensor)]
    ours = [t for t in tensors if isinstance(t, OnGPU)]
    assert all(isinstance(t, OnGPU) or not t.is_meta for t in tensors), f"the numbers that {name} is given are lost"
    others = [t for t in tensors if not isinstance(t, OnGPU) and t.dim()]
    if name in INDEX and ours and isinstance(arguments[0], OnGPU) and not _recorded:  # a list is such an index too
        others = [t for t in others if not any(t is index for index in arguments[1])]
    target = options.get("device")
    here = torch.device(target).type != "cpu" if target is not None else bool(ours)
    if name == "copy_":
        here = isinstance(arguments[0], OnGPU)
    if name in COPY:
        if _recorded and (others or ours) and here != bool(ours and not others):
            raise WrongDevice(f"{name} copies between the devices, which a CUDA graph cannot hold")
    elif ours and others:
        shapes = f"{[list(t.shape) for t in ours]} of the GPU with {[list(t.shape) for t in others]} of the CPU"
        raise WrongDevice(f"{name} mixes {shapes}")
    masked = name in INDEX and any(isinstance(i, Tensor) and i.dtype == torch.bool for i in arguments[1])
    if _recorded and ours and (name in WAIT + UNRECORDED or masked):
        raise WrongDevice(f"{name} waits for the GPU or reserves memory, which a CUDA graph cannot hold")
    if target is not None:
        options = options | {"device": CPU}
    on_cpu = tree_map(lambda t: t.numbers if isinstance(t, OnGPU) else t, (arguments, options))
    result = function(*on_cpu[0], **on_cpu[1])
    if here:
        result = tree_map(lambda t: OnGPU(t) if isinstance(t, Tensor) else t, result)
        return return_and_correct_aliasing(function, arguments, options, result)
    if _recorded and any(isinstance(t, Tensor) and t.dim() for t in tree_leaves(result)):
        raise WrongDevice(f"{name} makes a tensor on the CPU, which a CUDA graph would not make again")
    return result


class _Operations(TorchDispatchMode):
    """Runs the operations that no tensor of the GPU takes part in, among them those that make the first one."""

    def __torch_dispatch__(self, function: Any, types: Any, arguments: tuple = (), options: Any = None) -> Any:
        return _run(function, arguments, options or {})


class _Calls(TorchFunctionMode):
    """Gives the GPU its number in each call, and checks that generators draw on their own device."""

    def __torch_function__(self, function: Any, types: Any, arguments: tuple = (), options: Any = None) -> Any:
        if function in (Tensor.__getitem__, Tensor.__setitem__):
            arguments = arguments[0], _index(arguments[1]), *arguments[2:]
        numbered = tree_map(_numbered, (arguments, options or {}))
        result = function(*numbered[0], **numbered[1])
        generator = numbered[1].get("generator")
        if generator is not None and isinstance(result, Tensor) and result.device.type != generator.device.type:
            raise WrongDevice(f"{function.__name__} draws on {result.device} from a generator on {generator.device}")
        return result


def _numbered(value: Any) -> Any:
    return GPU if isinstance(value, str | torch.device) and str(value) == "cuda" else value


def _index(index: Any) -> Any:
    """Make a tensor of the CPU of each list in an index, as PyTorch does; for "meta" it would drop the numbers."""
    if isinstance(index, tuple):
        return tuple(map(_index, index))
    return torch.tensor(index) if isinstance(index, list) else index


class _Generator(torch.Generator):
    """A generator that says on which device it draws."""

    _device = CPU

    def __new__(cls, device: str | torch.device = "cpu") -> _Generator:
        generator = super().__new__(cls, "cpu")
        generator._device = torch.device(_numbered(device))
        return generator

    @property
    def device(self) -> torch.device:
        return self._device


def _record(
    body: Callable[[], dict[str, Tensor]], generator: torch.Generator, state: Iterable[Tensor]
) -> Callable[[], dict[str, Tensor]]:
    """Do as `cuda_graph.record` does: try the body and undo that. What it returns runs the body, and watches it."""
    kept, drawn = [(tensor, tensor.clone()) for tensor in state], generator.get_state()
    body()
    for tensor, value in kept:
        tensor.copy_(value)
    generator.set_state(drawn)

    def replay() -> dict[str, Tensor]:
        global _recorded
        _recorded = True
        try:
            return body()
        finally:
            _recorded = False

    return replay


@contextlib.contextmanager
def fake_gpu() -> Iterator[torch.device]:
    """Inside, PyTorch finds one GPU. It is returned as lessons name it."""
    lifts = torch._C._only_lift_cpu_tensors()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "Generator", _Generator)
        patch.setattr(torch.cuda, "_lazy_init", lambda: None)
        patch.setattr(torch.cuda, "is_available", lambda: True)
        patch.setattr(torch.cuda, "device_count", lambda: 1)
        patch.setattr(torch.cuda, "get_device_name", lambda *_device: NAME)
        patch.setattr(torch.cuda, "synchronize", lambda *_device: None)
        patch.setattr(cuda_graph, "record", _record)
        torch._C._set_only_lift_cpu_tensors(True)  # so that `torch.tensor(…, device="cuda")` comes by here
        try:
            with _Operations(), _Calls():
                yield torch.device("cuda")
        finally:
            torch._C._set_only_lift_cpu_tensors(lifts)
