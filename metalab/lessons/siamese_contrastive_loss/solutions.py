"""Our solutions, which `solution()` prints as they are. They are notebook code, so they have no type hints."""

import torch


def contrastive_loss(distance, same, margin):
    """Return the contrastive loss of each pair [B].

    Each pair has a distance [B], and same [B] says whether it is of one character.
    """
    gap = (margin - distance).clamp(min=0)  # how far it is short of the margin, or 0
    return torch.where(same, distance**2, gap**2)


def draw_pairs(images, count, generator):
    """Draw `count` pairs from images [characters, drawings, 28, 28].

    Return first, second [count, 28, 28] and same [count], True if of one character.
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
    """Name each query's class by its nearest support: return shares [Q, N].

    A query's row has 1 at the class that is nearest (Euclidean) and 0 elsewhere. Where
    k classes are equally near, each of them gets 1/k.
    """
    distances = (query_z[:, None] - support_z).norm(dim=2)  # [Q, N]
    nearest = (distances == distances.min(dim=1, keepdim=True).values).float()
    return nearest / nearest.sum(dim=1, keepdim=True)


def train_on_group(embed, optimizer, group, margin):
    """Take one step on all pairs of a group [P, K, 1, H, W]; return the loss before it."""
    characters, drawings = group.shape[:2]
    z = embed(group.flatten(0, 1))  # one call, so that batch norm sees the whole group
    character = torch.arange(characters).repeat_interleave(drawings)
    i, j = torch.triu_indices(len(z), len(z), 1)  # the two rows of each pair
    same = character[i] == character[j]
    losses = contrastive_loss((z[i] - z[j]).norm(dim=1), same, margin)
    loss = (losses[same].mean() + losses[~same].mean()) / 2
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def hardest_triplets(distance, character, margin):
    """Return each anchor's triplet loss [B], with its farthest p and its nearest n."""
    same = character[:, None] == character
    farthest = distance.masked_fill(~same, -torch.inf).amax(dim=1)
    nearest = distance.masked_fill(same, torch.inf).amin(dim=1)
    return (margin + farthest - nearest).clamp(min=0)
