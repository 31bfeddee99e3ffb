"""Our solutions, which `solution()` prints as they are. They are notebook code, so they have no type hints."""

import torch


def deal_episode(images, ways, shots, queries, generator):
    """Deal one episode from the drawings, images [characters, drawings, 28, 28].

    Returns support_x [ways*shots, 28, 28], support_y [ways*shots] int64, query_x [ways*queries, 28, 28] and
    query_y [ways*queries] int64. The rows may come in any order; labels 0 … ways-1 are dealt anew each time.
    """
    support, query = [], []
    for character in torch.randperm(images.shape[0], generator=generator)[:ways]:
        drawing = torch.randperm(images.shape[1], generator=generator)[: shots + queries]
        support.append(images[character, drawing[:shots]])
        query.append(images[character, drawing[shots:]])
    labels = torch.arange(ways)
    return torch.cat(support), labels.repeat_interleave(shots), torch.cat(query), labels.repeat_interleave(queries)


def prototype_logits(support_z, support_y, query_z, ways):
    """Logits [Q, ways]: minus the squared Euclidean distance of each query embedding to each class's prototype.

    support_z [S, E] and query_z [Q, E] are embeddings, support_y [S] the labels 0 … ways-1, in any order.
    """
    prototypes = torch.stack([support_z[support_y == way].mean(dim=0) for way in range(ways)])  # [ways, E]
    return -((query_z[:, None] - prototypes) ** 2).sum(dim=2)


def confidence_interval(accuracies):
    """The mean of the per-episode accuracies [E] (0 … 1), and half the width of its 95 % confidence interval."""
    half_width = 1.96 * accuracies.std() / len(accuracies) ** 0.5
    return accuracies.mean(), half_width
