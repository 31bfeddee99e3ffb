"""What no argument of its kind may be."""

import math

import torch

NO_WHOLE_NUMBER = [True, 1.5, "2", None, math.nan, math.inf, torch.tensor(1), [1]]
NO_GENERATOR = [None, 0, "generator", torch.Generator]
NO_TENSOR = [None, 1.5, "x", [[0.0]], torch.zeros(2).numpy()]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class Elsewhere(torch.Generator):
    """A generator that says it is on a GPU."""

    device = torch.device("cuda")
