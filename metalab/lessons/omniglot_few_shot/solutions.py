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


def fine_tune(support_z, support_y, ways, steps, lr):
    """Return the weight [E, ways] and the bias [ways] of a linear layer that was trained on a support set."""
    weight = torch.zeros(support_z.shape[1], ways, requires_grad=True)
    bias = torch.zeros(ways, requires_grad=True)
    for _ in range(steps):
        loss = torch.nn.functional.cross_entropy(support_z @ weight + bias, support_y)
        gradients = torch.autograd.grad(loss, [weight, bias])
        with torch.no_grad():
            weight -= lr * gradients[0]
            bias -= lr * gradients[1]
    return weight.detach(), bias.detach()


def train_step(embed, optimizer, support_x, support_y, query_x, query_y, ways):
    """Take one step of training on one episode, and return the loss of its queries before the step."""
    z = embed(torch.cat([support_x, query_x]))  # one call, so that batch norm sees the whole episode
    support_z, query_z = z[: len(support_x)], z[len(support_x) :]
    logits = prototype_logits(support_z, support_y, query_z, ways)
    loss = torch.nn.functional.cross_entropy(logits, query_y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def paired_difference(a, b, student):
    """Return the mean of a - b [S], and half the width of the mean's 95 % confidence interval."""
    difference = a - b  # seed by seed
    half_width = student[len(difference) - 1] * difference.std() / len(difference) ** 0.5
    return difference.mean(), half_width
