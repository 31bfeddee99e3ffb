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
    return F.batch_norm(query, mean, variance, eps=1e-3)


@right(exercises.normalise_by_support)
def _(support, query):
    flat = support.transpose(0, 1).flatten(1)  # [C, S·H·W]
    mean = flat.mean(1)[None, :, None, None]
    spread = (flat.var(1, unbiased=False) + 1e-3).sqrt()[None, :, None, None]
    return (query - mean) / spread


@right(exercises.normalise_by_support)
def _(support, query):
    both = torch.empty_like(query)
    for channel in range(support.shape[1]):
        values = support[:, channel]
        variance = (values**2).mean() - values.mean() ** 2
        both[:, channel] = (query[:, channel] - values.mean()) * torch.rsqrt(variance + 1e-3)
    return both


wrong(exercises.normalise_by_support, "the queries' own")(
    lambda support, query: F.batch_norm(query, None, None, training=True, eps=1e-3)
)
wrong(exercises.normalise_by_support, "together")(
    lambda support, query: F.batch_norm(torch.cat([support, query]), None, None, training=True, eps=1e-3)[
        len(support) :
    ]
)
wrong(exercises.normalise_by_support, "Return the queries'")(
    lambda support, query: F.batch_norm(support, None, None, training=True, eps=1e-3)
)
wrong(exercises.normalise_by_support, "count minus 1")(
    lambda support, query: (
        (query - support.mean((0, 2, 3), keepdim=True)) / (support.var((0, 2, 3), keepdim=True) + 1e-3).sqrt()
    )
)
wrong(exercises.normalise_by_support, "square root")(
    lambda support, query: (
        (query - support.mean((0, 2, 3), keepdim=True)) / (support.var((0, 2, 3), keepdim=True, correction=0) + 1e-3)
    )
)
wrong(exercises.normalise_by_support, "one mean")(
    lambda support, query: (query - support.mean()) / (support.var(correction=0) + 1e-3).sqrt()
)


@wrong(exercises.normalise_by_support, "Each place")
def _(support, query):
    return (query - support.mean(0)) / (support.var(0, correction=0) + 1e-3).sqrt()


@wrong(exercises.normalise_by_support, "each picture by itself")
def _(support, query):
    mean = support.mean((2, 3), keepdim=True).mean(0)
    variance = support.var((2, 3), correction=0, keepdim=True).mean(0)
    return (query - mean) / (variance + 1e-3).sqrt()


@wrong(exercises.normalise_by_support, "under the root")
def _(support, query):
    mean, spread = support.mean((0, 2, 3), keepdim=True), support.std((0, 2, 3), correction=0, keepdim=True)
    return (query - mean) / (spread + 1e-3)


@wrong(exercises.normalise_by_support, "small number")
def _(support, query):
    mean, spread = support.mean((0, 2, 3), keepdim=True), support.std((0, 2, 3), correction=0, keepdim=True)
    return (query - mean) / spread


wrong(exercises.normalise_by_support, "not subtracted")(
    lambda support, query: query / (support.var((0, 2, 3), correction=0, keepdim=True) + 1e-3).sqrt()
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


@wrong(exercises.head_of_means, "The biases have the wrong sign")
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


@wrong(exercises.head_of_means, "divided by the same number")
def _(z, y, ways):
    means = z.T @ F.one_hot(y, ways).to(z.dtype) * ways / len(y)
    return 2 * means, -(means**2).sum(0)


@wrong(exercises.head_of_means, "number of all pictures")
def _(z, y, ways):
    means = z.T @ F.one_hot(y, ways).to(z.dtype) / len(y)
    return 2 * means, -(means**2).sum(0)


@wrong(exercises.head_of_means, "half of what they should be")
def _(z, y, ways):
    return 2 * _means(z, y, ways), -0.5 * (_means(z, y, ways) ** 2).sum(0)


@wrong(exercises.head_of_means, "The weights have the wrong sign")
def _(z, y, ways):
    return -2 * _means(z, y, ways), -(_means(z, y, ways) ** 2).sum(0)


@wrong(exercises.head_of_means, "mean of the squares")
def _(z, y, ways):
    return 2 * _means(z, y, ways), -(_means(z, y, ways) ** 2).mean(0)


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


@right(exercises.ranks)
def _(accuracy, t):
    variance = accuracy.var(1)
    centred = accuracy - accuracy.mean(1, keepdim=True)
    together = centred @ centred.T / (accuracy.shape[1] - 1)
    spread = (variance[:, None] + variance - 2 * together).clamp(min=0).sqrt()
    gap = accuracy.mean(1)[None] - accuracy.mean(1)[:, None]
    return ((gap > t * spread / accuracy.shape[1] ** 0.5).sum(1) + 1).tolist()


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


@wrong(exercises.ranks, "two independent means")
def _(accuracy, t):
    gap = accuracy.mean(1)[None] - accuracy.mean(1)[:, None]
    error = accuracy.var(1) / accuracy.shape[1]
    return 1 + (gap > t * (error[None] + error[:, None]).sqrt()).sum(1)


@wrong(exercises.ranks, "not divided by the root")
def _(accuracy, t):
    gaps = accuracy[None] - accuracy[:, None]
    return 1 + (gaps.mean(2) > t * gaps.std(2)).sum(1)


@wrong(exercises.ranks, "factor t")
def _(accuracy, t):
    gaps = accuracy[None] - accuracy[:, None]
    return 1 + (gaps.mean(2) > gaps.std(2) / gaps.shape[2] ** 0.5).sum(1)


@wrong(exercises.ranks, "as if the standard deviation divided by the number of seeds")
def _(accuracy, t):
    gaps = accuracy[None] - accuracy[:, None]
    return 1 + (gaps.mean(2) > t * gaps.std(2, correction=0) / gaps.shape[2] ** 0.5).sum(1)


@wrong(exercises.ranks, "the number of seeds minus 1")
def _(accuracy, t):
    gaps = accuracy[None] - accuracy[:, None]
    return 1 + (gaps.mean(2) > t * gaps.std(2) / (gaps.shape[2] - 1) ** 0.5).sum(1)


@wrong(exercises.ranks, "the ranks[0] should be 3")
def _(accuracy, t):
    gaps = accuracy[None] - accuracy[:, None]
    return 1 + (gaps.mean(2) - t * gaps.std(2) / gaps.shape[2] ** 0.5 > 0.005).sum(1)


@wrong(exercises.ranks, "either direction")
def _(accuracy, t):
    gaps = accuracy[None] - accuracy[:, None]
    return 1 + (gaps.mean(2).abs() > t * gaps.std(2) / gaps.shape[2] ** 0.5).sum(1)


@wrong(exercises.ranks, "may be better")
def _(accuracy, t):
    gaps = accuracy[None] - accuracy[:, None]
    return 1 + (gaps.mean(2) + t * gaps.std(2) / gaps.shape[2] ** 0.5 > 0).sum(1)


# update_mean


@wrong(exercises.update_mean, "0.8889 times with a count of 7")
def _(mean, count, z):
    return (mean * count + z) / (count + 2), count + 1


@wrong(exercises.update_mean, "the new count")
def _(mean, count, z):
    return (mean * count + z) / (count + 1), count + 2


@wrong(exercises.update_mean, "old count")
def _(mean, count, z):
    return mean + (z - mean) / max(count, 1), count + 1


@right(exercises.update_mean)
def _(mean, count, z):
    return (count * mean + z) / (count + 1), count + 1


@right(exercises.update_mean)
def _(mean, count, z):
    return torch.lerp(mean, z, 1 / (count + 1)), count + 1


@right(exercises.update_mean)
def _(mean, count, z):
    count += 1
    return [mean * (1 - 1 / count) + z / count, torch.tensor(count)]


@right(exercises.update_mean)
def _(mean, count, z):
    return torch.stack([*[mean] * count, z]).mean(0), count + 1


wrong(exercises.update_mean, "old count")(lambda mean, count, z: (mean + (z - mean) / count, count + 1))
wrong(exercises.update_mean, "begins with a count of 0")(lambda mean, count, z: (mean + 1 / count * z, count + 1))
wrong(exercises.update_mean, "same weight")(lambda mean, count, z: ((mean + z) / 2, count + 1))
wrong(exercises.update_mean, "added to the mean")(lambda mean, count, z: (mean + z, count + 1))
wrong(exercises.update_mean, "as if it were one example")(lambda mean, count, z: ((mean + z) / (count + 1), count + 1))
wrong(exercises.update_mean, "the sum of all examples")(lambda mean, count, z: (count * mean + z, count + 1))
wrong(exercises.update_mean, "moves away")(lambda mean, count, z: (mean - (z - mean) / (count + 1), count + 1))
wrong(exercises.update_mean, "newest example alone")(lambda mean, count, z: (z, count + 1))
wrong(exercises.update_mean, "teaches nothing")(lambda mean, count, z: (mean, count + 1))
wrong(exercises.update_mean, "stays as it was. It grows")(
    lambda mean, count, z: (mean + (z - mean) / (count + 1), count)
)
wrong(exercises.update_mean, "number of features")(
    lambda mean, count, z: (mean + (z - mean) / (count + 1), count + len(z))
)
wrong(exercises.update_mean, "count first")(lambda mean, count, z: (count + 1, mean + (z - mean) / (count + 1)))
wrong(exercises.update_mean, "two things")(lambda mean, count, z: mean + (z - mean) / (count + 1))


@wrong(exercises.update_mean, "changes its arguments")
def _(mean, count, z):
    mean += (z - mean) / (count + 1)
    return mean, count + 1


# update_sums


@right(exercises.update_sums)
def _(precision, products, z, n):
    y = 2 * F.one_hot(torch.tensor(n), products.shape[1]).to(z.dtype) - 1
    return precision + z[:, None] * z, products + z[:, None] * y


@right(exercises.update_sums)
def _(precision, products, z, n):
    products = products - z[:, None]
    products[:, n] += 2 * z
    return [precision + torch.einsum("i,j->ij", z, z), products]


@right(exercises.update_sums)
def _(precision, products, z, n):
    columns = [column + (z if i == n else -z) for i, column in enumerate(products.T)]
    return torch.stack([row + entry * z for row, entry in zip(precision, z, strict=True)]), torch.stack(columns, 1)


def _sums(square, target, *, old_precision=1, old_products=1):
    """An answer with these two products; `square` takes z, and `target` the own class as 0 and 1."""

    def answer(precision, products, z, n):
        own = F.one_hot(torch.tensor(n), products.shape[1]).to(z.dtype)
        return old_precision * precision + square(z), old_products * products + z[:, None] * target(own)

    return answer


def _outer(z):
    return z[:, None] * z


def _signs(own):
    return 2 * own - 1


wrong(exercises.update_sums, "the number z·z")(_sums(lambda z: (z * z).sum(), _signs))
wrong(exercises.update_sums, "only the squares on the diagonal")(_sums(lambda z: (z * z).diag(), _signs))
wrong(exercises.update_sums, "adds z to each row")(_sums(lambda z: z[None], _signs))
wrong(exercises.update_sums, "makes it larger")(_sums(lambda z: -_outer(z), _signs))
wrong(exercises.update_sums, "The old precision is forgotten")(_sums(_outer, _signs, old_precision=0))
wrong(exercises.update_sums, "The precision stays as it was")(_sums(lambda z: 0 * z, _signs))
wrong(exercises.update_sums, "other classes' columns stay")(_sums(_outer, lambda own: own))
wrong(exercises.update_sums, "adds z to every column")(_sums(_outer, lambda own: 0 * own + 1))
wrong(exercises.update_sums, "wrong sign")(_sums(_outer, lambda own: 1 - 2 * own))
wrong(exercises.update_sums, "The old products are forgotten")(_sums(_outer, _signs, old_products=0))
wrong(exercises.update_sums, "The products stay as they were")(_sums(_outer, lambda own: 0 * own))
wrong(exercises.update_sums, "two things")(lambda precision, products, z, n: precision + _outer(z))
wrong(exercises.update_sums, "products first")(
    lambda precision, products, z, n: _sums(_outer, _signs)(precision, products, z, n)[::-1]
)


@wrong(exercises.update_sums, "changes its arguments")
def _(precision, products, z, n):
    precision += _outer(z)
    return precision, _sums(_outer, _signs)(precision, products, z, n)[1]


# What the lesson could not go on with


@wrong(exercises.update_sums, "should be a tensor, because the lesson goes on with it")
def _(precision, moment, z, n):
    y = -torch.ones(moment.shape[1], dtype=z.dtype)
    y[n] = 1
    return (precision + torch.outer(z, z)).numpy(), (moment + torch.outer(z, y)).numpy()


@wrong(exercises.head_of_means, "should be a tensor, because the lesson goes on with it")
def _(z, y, ways):
    means = torch.stack([z[y == n].mean(0) for n in range(ways)], 1)
    return (2 * means).tolist(), (-(means**2).sum(0)).tolist()


@wrong(exercises.head_of_means, "It returns the biases first")
def _(z, y, ways):
    means = torch.stack([z[y == n].mean(0) for n in range(ways)], 1)
    return -(means**2).sum(0), 2 * means
