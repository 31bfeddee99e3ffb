"""A watch on what a CUDA graph could not hold, for machines without a GPU."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class OnDevice(TorchDispatchMode):
    """Refuses whatever makes the host wait for a GPU, or a shape depend on numbers; notes all other shapes."""

    FORBIDDEN = ("_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "_unique2", "equal")

    def __init__(self):
        super().__init__()
        self.shapes = []

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        name = function.overloadpacket.__name__
        assert name not in self.FORBIDDEN, f"{name} waits for the device"
        # Numbers of Python's become a tensor; a single one in `x[0] = 1` would be a kernel's argument on a GPU.
        assert name != "lift_fresh" or arguments[0].dim() == 0, "a copy from the host waits for the device"
        if name in ("index", "index_put", "index_put_"):
            assert all(i is None or i.dtype != torch.bool for i in arguments[1]), "a mask gives a shape of its own"
        result = function(*arguments, **(options or {}))
        self.shapes.append((name, [tuple(t.shape) for t in tree_leaves(result) if isinstance(t, torch.Tensor)]))
        return result
