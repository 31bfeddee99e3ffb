"""Our solution, which `solution()` prints as it is. It is notebook code, so it has no type hints."""


def mean_loss(losses):
    """The mean of the tasks' losses [T]: one number."""
    return losses.mean()
