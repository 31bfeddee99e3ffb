"""Our solutions, which `solution()` prints as they are. They are notebook code, so they have no type hints."""

import torch


def paired_ratio(ours, theirs, t):
    """Return three numbers: the geometric mean of ours / theirs, and its interval."""
    logs = torch.log(ours / theirs)
    half_width = t * logs.std() / len(logs) ** 0.5
    ends = (logs.mean(), logs.mean() - half_width, logs.mean() + half_width)
    return [torch.exp(end).item() for end in ends]


def verdict(wide, narrow, margin):
    """Return two truth values: is there a difference, and is it too small to matter?"""
    different = wide[0] > 1 or wide[1] < 1
    equivalent = 1 / margin < narrow[0] and narrow[1] < margin
    return different, equivalent


def passes(p, level):
    """Tell which of several comparisons pass Holm's method, in the order of their p."""
    found = [False] * len(p)
    for rank, place in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        if p[place] >= level / (len(p) - rank):
            break
        found[place] = True
    return found


def reptile_update(params, adapted, outer_lr):
    """Move params a part outer_lr of the way to the mean of adapted, over tasks."""
    means = [torch.stack(ends).mean(dim=0) for ends in zip(*adapted, strict=True)]
    return [p + outer_lr * (mean - p) for p, mean in zip(params, means, strict=True)]


def step_with_rates(theta, gradients, rates):
    """Return theta after one inner step, in which each number may have its own rate."""
    return {name: theta[name] - rates[name] * gradients[name] for name in theta}
