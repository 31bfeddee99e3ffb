"""Our solutions, which `solution()` prints as they are. They are notebook code, so they have no type hints."""

import torch


def deal_episode(images, ways, shots, queries, generator):
    """Deal one episode from images [characters, drawings, 28, 28]."""
    support, query = [], []
    for character in torch.randperm(images.shape[0], generator=generator)[:ways]:
        drawing = torch.randperm(images.shape[1], generator=generator)[: shots + queries]
        support.append(images[character, drawing[:shots]])
        query.append(images[character, drawing[shots:]])
    labels = torch.arange(ways)  # the characters are in random order, so these labels are dealt anew
    return torch.cat(support), labels.repeat_interleave(shots), torch.cat(query), labels.repeat_interleave(queries)


def prototype_logits(support_z, support_y, query_z, ways):
    """Return the logits [Q, ways]: minus the squared Euclidean distance of each query to each class's prototype."""
    prototypes = torch.stack([support_z[support_y == way].mean(dim=0) for way in range(ways)])  # [ways, E]
    return -((query_z[:, None] - prototypes) ** 2).sum(dim=2)


def confidence_interval(accuracies):
    """Return the mean of the accuracies [E], and half the width of the mean's 95 % confidence interval."""
    half_width = 1.96 * accuracies.std() / len(accuracies) ** 0.5
    return accuracies.mean(), half_width
