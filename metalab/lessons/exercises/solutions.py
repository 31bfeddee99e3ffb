"""Our solutions, printed as they stand by `solution()`: notebook code, so without type hints. Spoilers ahead."""

import torch


def forward(params, x):
    """The sine network: x [K, 1] -> [K, 1], with params = [w1, b1, w2, b2, w3, b3] and each w [inputs, outputs]."""
    w1, b1, w2, b2, w3, b3 = params
    hidden = torch.relu(x @ w1 + b1)
    hidden = torch.relu(hidden @ w2 + b2)
    return hidden @ w3 + b3


def sample_task(generator):
    """Draw a sine task: the pair (amplitude, phase), uniform in 0.1 … 5.0 and in 0 … π."""
    amplitude = 0.1 + 4.9 * torch.rand(1, generator=generator).item()
    phase = torch.pi * torch.rand(1, generator=generator).item()
    return amplitude, phase


def inner_step(params, x, y, inner_lr):
    """One gradient step on the mean squared error of (x, y): the new params, ready to be differentiated through."""
    loss = ((forward(params, x) - y) ** 2).mean()
    grads = torch.autograd.grad(loss, params, create_graph=True)
    return [p - inner_lr * g for p, g in zip(params, grads, strict=True)]


def meta_loss(params, tasks, inner_lr):
    """The mean query loss of the tasks (support_x, support_y, query_x, query_y), each after one inner step."""
    losses = []
    for support_x, support_y, query_x, query_y in tasks:
        adapted = inner_step(params, support_x, support_y, inner_lr)
        losses.append(((forward(adapted, query_x) - query_y) ** 2).mean())
    return torch.stack(losses).mean()


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


def contrastive_loss(distance, same, margin):
    """The contrastive loss of each pair [B], from its distance [B] and whether it is one character, same [B] bool."""
    too_near = (margin - distance).clamp(min=0)  # by how much a pair of two characters lacks the margin
    return torch.where(same, distance**2, too_near**2)


def draw_pairs(images, count, generator):
    """Draw `count` pairs, an even number, from images [characters, drawings, 28, 28].

    Returns first, second [count, 28, 28] and same [count] bool. Half of the pairs, where `same` is True, are two
    different drawings of one character; the others are drawings of two different characters.
    """
    same = torch.arange(count) % 2 == 0
    first, second = [], []
    for alike in same:
        character, other = torch.randperm(images.shape[0], generator=generator)[:2]
        drawing, another = torch.randperm(images.shape[1], generator=generator)[:2]
        first.append(images[character, drawing])
        second.append(images[character if alike else other, another])
    return torch.stack(first), torch.stack(second), same


def one_shot_answers(support_z, query_z):
    """Name each query's class by its nearest support: shares [Q, N] from support_z [N, E] and query_z [Q, E].

    Row n of support_z is the one example of class n. A query's row has 1 at the class that is nearest (Euclidean) and
    0 elsewhere. Where k classes are equally near, the query cannot tell: each of them gets 1/k.
    """
    distances = (query_z[:, None] - support_z).norm(dim=2)  # [Q, N]
    nearest = (distances == distances.min(dim=1, keepdim=True).values).float()
    return nearest / nearest.sum(dim=1, keepdim=True)


def adapt(loss, params, inner_lr):
    """One gradient step on loss(params) from params, a list of tensors: the new list, to be differentiated through."""
    grads = torch.autograd.grad(loss(params), params, create_graph=True)
    return [p - inner_lr * g for p, g in zip(params, grads, strict=True)]


def hessian_vector(loss, params, vector):
    """The Hessian of loss(params) times `vector`, both lists of tensors shaped like params: a list like them.

    The vector counts as a constant, also where it was computed from params.
    """
    grads = torch.autograd.grad(loss(params), params, create_graph=True)
    dot = sum((g * v.detach()).sum() for g, v in zip(grads, vector, strict=True))
    return list(torch.autograd.grad(dot, params))


def reptile_update(params, adapted, outer_lr):
    """Move params, a list of tensors, by outer_lr of the way to the mean of adapted, one such list for each task."""
    means = [torch.stack(ends).mean(dim=0) for ends in zip(*adapted, strict=True)]
    return [p + outer_lr * (mean - p) for p, mean in zip(params, means, strict=True)]
