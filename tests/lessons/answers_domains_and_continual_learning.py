"""Answers to the exercises of the lesson on new domains and on learning that goes on."""

import statistics

import torch
import torch.nn.functional as F
from answers import right, wrong

from metalab.lessons.domains_and_continual_learning import exercises

# normalise_by_support


@right(exercises.normalise_by_support)
def _(support, query):
    mean, variance = support.mean((0, 2, 3)), support.var((0, 2, 3), correction=0)
    return F.batch_norm(query, mean, variance, eps=1e-5)


@right(exercises.normalise_by_support)
def _(support, query):
    flat = support.transpose(0, 1).flatten(1)  # [C, S·H·W]
    mean = flat.mean(1)[None, :, None, None]
    spread = (flat.var(1, unbiased=False) + 1e-5).sqrt()[None, :, None, None]
    return (query - mean) / spread


@right(exercises.normalise_by_support)
def _(support, query):
    both = torch.empty_like(query)
    for channel in range(support.shape[1]):
        values = support[:, channel]
        variance = (values**2).mean() - values.mean() ** 2
        both[:, channel] = (query[:, channel] - values.mean()) * torch.rsqrt(variance + 1e-5)
    return both


wrong(exercises.normalise_by_support, "the queries' own")(
    lambda support, query: F.batch_norm(query, None, None, training=True)
)
wrong(exercises.normalise_by_support, "together")(
    lambda support, query: F.batch_norm(torch.cat([support, query]), None, None, training=True)[len(support) :]
)
wrong(exercises.normalise_by_support, "Return the queries'")(
    lambda support, query: F.batch_norm(support, None, None, training=True)
)
wrong(exercises.normalise_by_support, "count minus 1")(
    lambda support, query: (
        (query - support.mean((0, 2, 3), keepdim=True)) / (support.var((0, 2, 3), keepdim=True) + 1e-5).sqrt()
    )
)
wrong(exercises.normalise_by_support, "square root")(
    lambda support, query: (
        (query - support.mean((0, 2, 3), keepdim=True)) / (support.var((0, 2, 3), keepdim=True, correction=0) + 1e-5)
    )
)
wrong(exercises.normalise_by_support, "one mean")(
    lambda support, query: (query - support.mean()) / (support.var(correction=0) + 1e-5).sqrt()
)
wrong(exercises.normalise_by_support, "division")(lambda support, query: query - support.mean((0, 2, 3), keepdim=True))

# head_of_means


@right(exercises.head_of_means)
def _(z, y, ways):
    means = torch.stack([z[y == n].mean(0) for n in range(ways)])
    return 2 * means.T, -(means * means).sum(1)


@right(exercises.head_of_means)
def _(z, y, ways):
    means = z.new_zeros(ways, z.shape[1]).index_add(0, y, z) / torch.bincount(y, minlength=ways)[:, None]
    return [means.mT + means.mT, -(means.norm(dim=1) ** 2)]


@right(exercises.head_of_means)
def _(z, y, ways):
    means = F.normalize(F.one_hot(y, ways).to(z.dtype), p=1, dim=0).T @ z
    return 2 * means.T, -torch.einsum("ne,ne->n", means, means)


def _means(z, y, ways):
    return torch.stack([z[y == n].mean(0) for n in range(ways)], 1)


@wrong(exercises.head_of_means, "factor 2")
def _(z, y, ways):
    return _means(z, y, ways), -(_means(z, y, ways) ** 2).sum(0)


@wrong(exercises.head_of_means, "biases are zero")
def _(z, y, ways):
    return 2 * _means(z, y, ways), torch.zeros(ways)


@wrong(exercises.head_of_means, "wrong sign")
def _(z, y, ways):
    return 2 * _means(z, y, ways), (_means(z, y, ways) ** 2).sum(0)


@wrong(exercises.head_of_means, "squared lengths")
def _(z, y, ways):
    return 2 * _means(z, y, ways), -_means(z, y, ways).norm(dim=0)


@wrong(exercises.head_of_means, "not divided")
def _(z, y, ways):
    sums = z.T @ F.one_hot(y, ways).to(z.dtype)
    return 2 * sums, -(sums**2).sum(0)


@wrong(exercises.head_of_means, "[E, N]")
def _(z, y, ways):
    return 2 * _means(z, y, ways).T, -(_means(z, y, ways) ** 2).sum(0)


@wrong(exercises.head_of_means, "two things")
def _(z, y, ways):
    return 2 * _means(z, y, ways)


# ranks


@right(exercises.ranks)
def _(accuracy, t):
    rows = accuracy.tolist()
    found = []
    for mine in rows:
        surely = 0
        for theirs in rows:
            gaps = [b - a for a, b in zip(mine, theirs, strict=True)]
            surely += statistics.fmean(gaps) > t * statistics.stdev(gaps) / len(gaps) ** 0.5
        found.append(1 + surely)
    return found


@right(exercises.ranks)
def _(accuracy, t):
    methods, seeds = accuracy.shape
    rank = torch.ones(methods)
    for a in range(methods):
        for b in range(methods):
            gap = accuracy[b] - accuracy[a]
            if a != b and gap.mean() - t * gap.std() / seeds**0.5 > 0:
                rank[a] += 1
    return rank


wrong(exercises.ranks, "means alone")(lambda accuracy, t: 1 + (accuracy.mean(1) > accuracy.mean(1)[:, None]).sum(1))
wrong(exercises.ranks, "means alone")(lambda accuracy, t: 1 + (-accuracy.mean(1)).argsort().argsort())


@wrong(exercises.ranks, "overlap")
def _(accuracy, t):
    half = t * accuracy.std(1) / accuracy.shape[1] ** 0.5
    low, high = accuracy.mean(1) - half, accuracy.mean(1) + half
    return 1 + (low[None] > high[:, None]).sum(1)


@wrong(exercises.ranks, "begin at 0")
def _(accuracy, t):
    gaps = accuracy[None] - accuracy[:, None]
    return (gaps.mean(2) - t * gaps.std(2) / gaps.shape[2] ** 0.5 > 0).sum(1)


@wrong(exercises.ranks, "worse")
def _(accuracy, t):
    gaps = accuracy[:, None] - accuracy[None]
    return 1 + (gaps.mean(2) - t * gaps.std(2) / gaps.shape[2] ** 0.5 > 0).sum(1)
