"""Answers to the exercises of the characters lesson."""

import math
import random
import statistics

import numpy as np
import torch
import torch.nn.functional as F
from answers import right, wrong

from metalab.lessons.omniglot_few_shot import exercises, solutions

# deal_episode


@right(exercises.deal_episode)
def _(images, ways, shots, queries, generator):
    """All at once, with the classes' drawings kept apart in the shapes."""
    chosen = torch.rand(len(images), generator=generator).topk(ways).indices
    drawing = torch.rand(ways, images.shape[1], generator=generator).argsort(dim=1)[:, : shots + queries]
    dealt = images[chosen[:, None], drawing]
    label = torch.arange(ways)[:, None].expand(ways, shots + queries)
    return dealt[:, :shots], label[:, :shots], dealt[:, shots:], label[:, shots:]


@right(exercises.deal_episode)
def _(images, ways, shots, queries, generator):
    """Python's random module, seeded from the generator; rows shuffled; pixels scaled."""
    dice = random.Random(torch.randint(2**31, (), generator=generator).item())
    support, query = [], []
    for label, character in enumerate(dice.sample(range(len(images)), ways)):
        drawings = dice.sample(range(images.shape[1]), shots + queries)
        support += [(images[character, d] / 255, label) for d in drawings[:shots]]
        query += [(images[character, d] / 255, label) for d in drawings[shots:]]
    dice.shuffle(support)
    dice.shuffle(query)
    sets = [torch.stack([x for x, _ in support]), torch.tensor([y for _, y in support])]
    return [*sets, torch.stack([x for x, _ in query]), torch.tensor([y for _, y in query])]


@right(exercises.deal_episode)
def _(images, ways, shots, queries, generator):
    """Sorted characters with labels dealt apart, and channels as a network wants them."""
    chosen = torch.randperm(len(images), generator=generator)[:ways].sort().values
    labels = torch.randperm(ways, generator=generator)
    sx, sy, qx, qy = [], [], [], []
    for character, label in zip(chosen.tolist(), labels.tolist(), strict=True):
        order = torch.randperm(images.shape[1], generator=generator).tolist()
        sx += [images[character, order.pop()][None] for _ in range(shots)]
        qx += [images[character, order.pop()][None] for _ in range(queries)]
        sy += [label] * shots
        qy += [label] * queries
    return torch.stack(sx), torch.tensor(sy), torch.stack(qx), torch.tensor(qy)


def deal(images, ways, shots, queries, generator, chosen=None, drawings=None, labels=None):
    """A right answer, of which the wrong ones below bend one part."""
    if chosen is None:
        chosen = torch.randperm(len(images), generator=generator)[:ways]
    if drawings is None:
        drawings = torch.stack([torch.randperm(images.shape[1], generator=generator) for _ in range(ways)])
    labels = torch.arange(ways) if labels is None else labels
    support, query = drawings[:, :shots], drawings[:, shots : shots + queries]
    return (
        images[chosen[:, None], support].flatten(0, 1),
        labels.repeat_interleave(shots),
        images[chosen[:, None], query].flatten(0, 1),
        labels.repeat_interleave(queries),
    )


@wrong(exercises.deal_episode, "The same character can come twice")
def _(images, ways, shots, queries, generator):
    chosen = torch.randint(len(images), (ways,), generator=generator)
    return deal(images, ways, shots, queries, generator, chosen=chosen)


@wrong(exercises.deal_episode, "The same drawing can be support and query")
def _(images, ways, shots, queries, generator):
    support, query = [], []
    for character in torch.randperm(len(images), generator=generator)[:ways]:
        support.append(images[character, torch.randperm(images.shape[1], generator=generator)[:shots]])
        query.append(images[character, torch.randperm(images.shape[1], generator=generator)[:queries]])
    label = torch.arange(ways)
    return torch.cat(support), label.repeat_interleave(shots), torch.cat(query), label.repeat_interleave(queries)


@wrong(exercises.deal_episode, "A drawing can come twice in the same set")
def _(images, ways, shots, queries, generator):
    half = images.shape[1] // 2  # support from one half, query from the other, both with replacement
    support = torch.randint(half, (ways, shots), generator=generator)
    query = half + torch.randint(half, (ways, queries), generator=generator)
    return deal(images, ways, shots, queries, generator, drawings=torch.cat([support, query], dim=1))


@wrong(exercises.deal_episode, "labels are the numbers of the characters")
def _(images, ways, shots, queries, generator):
    chosen = torch.randperm(len(images), generator=generator)[:ways]
    return deal(images, ways, shots, queries, generator, chosen=chosen, labels=chosen)


@wrong(exercises.deal_episode, "labels run from 1 to 5")
def _(images, ways, shots, queries, generator):
    return deal(images, ways, shots, queries, generator, labels=torch.arange(1, ways + 1))


@wrong(exercises.deal_episode, "out of step")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images, ways, shots, queries, generator)
    return sx[torch.randperm(len(sx), generator=generator)], sy, qx, qy


@wrong(exercises.deal_episode, "out of step")
def _(images, ways, shots, queries, generator):
    sx, _, qx, qy = deal(images, ways, shots, queries, generator)
    return sx, torch.arange(ways).repeat(shots), qx, qy


@wrong(exercises.deal_episode, "characters that the support set does not show")
def _(images, ways, shots, queries, generator):
    sx, sy, _, _ = deal(images, ways, shots, queries, generator)
    return sx, sy, *deal(images, ways, shots, queries, generator)[2:]


@wrong(exercises.deal_episode, "one label in the support set and another in the query set")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, _ = deal(images, ways, shots, queries, generator)
    return sx, sy, qx, torch.randperm(ways, generator=generator).repeat_interleave(queries)


@wrong(exercises.deal_episode, "In support_y some labels come more often")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images, ways, shots, queries, generator)
    x, y = torch.cat([sx, qx]), torch.cat([sy, qy])
    while True:  # shuffle and split, as in supervised learning; again until the support set shows every character
        order = torch.randperm(len(x), generator=generator)
        support, query = order[: len(sx)], order[len(sx) :]
        if len(y[support].unique()) == ways:
            return x[support], y[support], x[query], y[query]


@wrong(exercises.deal_episode, "from somewhere else than the generator")
def _(images, ways, shots, queries, generator):
    return deal(images, ways, shots, queries, None)


@wrong(exercises.deal_episode, "Every episode is the same one")
def _(images, ways, shots, queries, generator):
    return deal(images, ways, shots, queries, torch.Generator().manual_seed(0))


@wrong(exercises.deal_episode, "Every episode uses the same 5 characters")
def _(images, ways, shots, queries, generator):
    return deal(images[:ways], ways, shots, queries, generator)


@wrong(exercises.deal_episode, "Only 11 of the 12 characters")
def _(images, ways, shots, queries, generator):
    return deal(images[:-1], ways, shots, queries, generator)


@wrong(exercises.deal_episode, "labels follow the order of the characters")
def _(images, ways, shots, queries, generator):
    chosen = torch.randperm(len(images), generator=generator)[:ways].sort().values
    return deal(images, ways, shots, queries, generator, chosen=chosen)


@wrong(exercises.deal_episode, "always shows the same 2 drawings")
def _(images, ways, shots, queries, generator):
    drawings = torch.arange(images.shape[1]).expand(ways, -1)
    return deal(images, ways, shots, queries, generator, drawings=drawings)


@wrong(exercises.deal_episode, "Some of the 20 drawings")
def _(images, ways, shots, queries, generator):
    return deal(images[:, :10], ways, shots, queries, generator)


@wrong(exercises.deal_episode, "their pixels are mixed up")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images, ways, shots, queries, generator)
    return sx.permute(1, 2, 0).reshape(sx.shape), sy, qx, qy


@wrong(exercises.deal_episode, "support_x should hold 10 drawings of 28 × 28; yours is a tensor of shape [5, 28, 28]")
def _(images, ways, shots, queries, generator):
    return deal(images, ways, 1, queries, generator)


@wrong(exercises.deal_episode, "query_y should hold 15 labels; yours is a tensor of shape [15, 5]")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images, ways, shots, queries, generator)
    return sx, sy, qx, F.one_hot(qy, ways)


@wrong(exercises.deal_episode, "support_y has the dtype torch.float32")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images, ways, shots, queries, generator)
    return sx, sy.float(), qx, qy


@wrong(exercises.deal_episode, "support_y should be one tensor, as a network wants it; yours is a list of 10")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images, ways, shots, queries, generator)
    return sx, sy.tolist(), qx, qy


@wrong(exercises.deal_episode, "should return support_x, support_y, query_x, query_y; yours is a tuple of 2")
def _(images, ways, shots, queries, generator):
    return deal(images, ways, shots, queries, generator)[:2]


@wrong(exercises.deal_episode, "changes `images` in place")
def _(images, ways, shots, queries, generator):
    images /= 255
    return deal(images, ways, shots, queries, generator)


# prototype_logits


@right(exercises.prototype_logits)
def _(support_z, support_y, query_z, ways):
    prototypes = [support_z[support_y == way].mean(0) for way in range(ways)]
    return torch.stack([-((query_z - p) ** 2).sum(1) for p in prototypes], dim=1)


@right(exercises.prototype_logits)
def _(support_z, support_y, query_z, ways):
    belongs = F.one_hot(support_y, ways).float()  # float32, as in a notebook
    prototypes = belongs.T @ support_z / belongs.sum(dim=0)[:, None]
    return -(torch.cdist(query_z, prototypes) ** 2)


@right(exercises.prototype_logits)
def _(support_z, support_y, query_z, ways):
    sums = torch.zeros(ways, support_z.shape[1]).index_add(0, support_y, support_z)
    prototypes = sums / torch.bincount(support_y)[:, None]
    return 2 * query_z @ prototypes.T - (prototypes**2).sum(1) - (query_z**2).sum(1, keepdim=True)


@right(exercises.prototype_logits)
def _(support_z, support_y, query_z, ways):
    shots = len(support_y) // ways
    prototypes = support_z[support_y.argsort()].view(ways, shots, -1).mean(dim=1)
    logits = torch.zeros(len(query_z), ways)
    for i, z in enumerate(query_z):
        for way in range(ways):
            logits[i, way] = -torch.dot(z - prototypes[way], z - prototypes[way])
    return logits


def prototypes_of(support_z, support_y, ways):
    return torch.stack([support_z[support_y == way].mean(0) for way in range(ways)])


@wrong(exercises.prototype_logits, "farthest away wins")
def _(support_z, support_y, query_z, ways):
    return torch.cdist(query_z, prototypes_of(support_z, support_y, ways)) ** 2


@wrong(exercises.prototype_logits, "not squared")
def _(support_z, support_y, query_z, ways):
    return -torch.cdist(query_z, prototypes_of(support_z, support_y, ways))


@wrong(exercises.prototype_logits, "sums of the support embeddings")
def _(support_z, support_y, query_z, ways):
    sums = torch.stack([support_z[support_y == way].sum(0) for way in range(ways)])
    return -(torch.cdist(query_z, sums) ** 2)


@wrong(exercises.prototype_logits, "sorted by class")
def _(support_z, support_y, query_z, ways):
    prototypes = support_z.view(ways, -1, support_z.shape[1]).mean(dim=1)
    return -(torch.cdist(query_z, prototypes) ** 2)


@wrong(exercises.prototype_logits, "class after class in turn")
def _(support_z, support_y, query_z, ways):
    prototypes = support_z.view(-1, ways, support_z.shape[1]).mean(dim=0)
    return -(torch.cdist(query_z, prototypes) ** 2)


@wrong(exercises.prototype_logits, "cosine similarities")
def _(support_z, support_y, query_z, ways):
    return F.normalize(query_z, dim=1) @ F.normalize(prototypes_of(support_z, support_y, ways), dim=1).T


@wrong(exercises.prototype_logits, "dot products")
def _(support_z, support_y, query_z, ways):
    return query_z @ prototypes_of(support_z, support_y, ways).T


@wrong(exercises.prototype_logits, "probabilities: a softmax")
def _(support_z, support_y, query_z, ways):
    return F.softmax(-(torch.cdist(query_z, prototypes_of(support_z, support_y, ways)) ** 2), dim=-1)


@wrong(exercises.prototype_logits, "log-probabilities")
def _(support_z, support_y, query_z, ways):
    return F.log_softmax(-(torch.cdist(query_z, prototypes_of(support_z, support_y, ways)) ** 2), dim=-1)


@wrong(exercises.prototype_logits, "averaged over the embedding")
def _(support_z, support_y, query_z, ways):
    return -((query_z[:, None] - prototypes_of(support_z, support_y, ways)) ** 2).mean(dim=-1)


@wrong(exercises.prototype_logits, "logits are halved")
def _(support_z, support_y, query_z, ways):
    return -0.5 * ((query_z[:, None] - prototypes_of(support_z, support_y, ways)) ** 2).sum(dim=-1)


@wrong(exercises.prototype_logits, "averages the distances to the support drawings")
def _(support_z, support_y, query_z, ways):
    squared = torch.cdist(query_z, support_z) ** 2
    return -torch.stack([squared[:, support_y == way].mean(dim=1) for way in range(ways)], dim=1)


@wrong(exercises.prototype_logits, "nearest support drawing")
def _(support_z, support_y, query_z, ways):
    squared = torch.cdist(query_z, support_z) ** 2
    return -torch.stack([squared[:, support_y == way].amin(dim=1) for way in range(ways)], dim=1)


@wrong(exercises.prototype_logits, "squared length of the query is left out")
def _(support_z, support_y, query_z, ways):
    prototypes = prototypes_of(support_z, support_y, ways)
    return 2 * query_z @ prototypes.T - (prototypes * prototypes).sum(dim=1)


@wrong(exercises.prototype_logits, "transposed")
def _(support_z, support_y, query_z, ways):
    return -(torch.cdist(prototypes_of(support_z, support_y, ways), query_z) ** 2)


@wrong(exercises.prototype_logits, "cut off from the support embeddings")
def _(support_z, support_y, query_z, ways):
    prototypes = torch.tensor(prototypes_of(support_z, support_y, ways).tolist())
    return -(torch.cdist(query_z, prototypes) ** 2)


@wrong(exercises.prototype_logits, "cut off from the query embeddings")
def _(support_z, support_y, query_z, ways):
    return -(torch.cdist(query_z.detach(), prototypes_of(support_z, support_y, ways)) ** 2)


@wrong(exercises.prototype_logits, "one tensor of logits [Q, ways]; yours is a list of 6")
def _(support_z, support_y, query_z, ways):
    return list(solutions.prototype_logits(support_z, support_y, query_z, ways))


@wrong(exercises.prototype_logits, "the logit has the shape [6]; it should be [6, 4]")
def _(support_z, support_y, query_z, ways):
    return solutions.prototype_logits(support_z, support_y, query_z, ways).argmax(dim=1)


@wrong(exercises.prototype_logits, "changes its arguments")
def _(support_z, support_y, query_z, ways):
    support_z.data -= support_z.data.mean(dim=0)
    return solutions.prototype_logits(support_z, support_y, query_z, ways)


# confidence_interval


@right(exercises.confidence_interval)
def _(accuracies):
    return accuracies.mean().item(), 1.96 * (accuracies.var() / accuracies.numel()).sqrt().item()


@right(exercises.confidence_interval)
def _(accuracies):
    a = accuracies.numpy()
    return [a.mean(), 1.96 * np.std(a) / np.sqrt(len(a))]  # divides by E, where torch divides by E - 1


@right(exercises.confidence_interval)
def _(accuracies):
    values = accuracies.tolist()
    return statistics.fmean(values), statistics.NormalDist().inv_cdf(0.975) * statistics.stdev(values) / 600**0.5


@right(exercises.confidence_interval)
def _(accuracies):
    student = 1.9639  # for 599 degrees of freedom
    return torch.stack([accuracies.mean(), student * accuracies.std() / accuracies.shape[0] ** 0.5])


@wrong(exercises.confidence_interval, "spread of single episodes")
def _(accuracies):
    return accuracies.mean(), 1.96 * accuracies.std()


@wrong(exercises.confidence_interval, "standard deviation itself")
def _(accuracies):
    return np.mean(accuracies.numpy()), np.std(accuracies.numpy())


@wrong(exercises.confidence_interval, "variance in place of the standard deviation")
def _(accuracies):
    return accuracies.mean(), 1.96 * accuracies.var() / math.sqrt(len(accuracies))


@wrong(exercises.confidence_interval, "68 % interval")
def _(accuracies):
    return accuracies.mean(), (accuracies.var() / len(accuracies)) ** 0.5


@wrong(exercises.confidence_interval, "not by its root")
def _(accuracies):
    return accuracies.mean(), 1.96 * accuracies.std() / accuracies.numel()


@wrong(exercises.confidence_interval, "full width")
def _(accuracies):
    return accuracies.mean(), 3.92 * accuracies.std() / len(accuracies) ** 0.5


@wrong(exercises.confidence_interval, "one coin flip")
def _(accuracies):
    p = accuracies.mean().item()
    return p, 1.96 * math.sqrt(p * (1 - p) / len(accuracies))


@wrong(exercises.confidence_interval, "2 in place of 1.96")
def _(accuracies):
    return accuracies.mean(), 2 * accuracies.std() / len(accuracies) ** 0.5


@wrong(exercises.confidence_interval, "two ends of the interval")
def _(accuracies):
    half = 1.96 * accuracies.std() / len(accuracies) ** 0.5
    return accuracies.mean() - half, accuracies.mean() + half


@wrong(exercises.confidence_interval, "a hundred times as large")
def _(accuracies):
    percent = 100 * accuracies
    return percent.mean(), 1.96 * percent.std() / len(percent) ** 0.5


@wrong(exercises.confidence_interval, "swapped")
def _(accuracies):
    return 1.96 * accuracies.std() / len(accuracies) ** 0.5, accuracies.mean()


@wrong(exercises.confidence_interval, "the mean should be 0.85")
def _(accuracies):
    return accuracies.max(), 1.96 * accuracies.std() / len(accuracies) ** 0.5


@wrong(exercises.confidence_interval, "should return two numbers, the mean and the half width; yours is a tuple of 3")
def _(accuracies):
    return accuracies.mean(), 0.0, 1.0


@wrong(exercises.confidence_interval, "changes its arguments")
def _(accuracies):
    return accuracies.mean(), 1.96 * accuracies.sub_(accuracies.mean()).square_().mean() ** 0.5 / 600**0.5
