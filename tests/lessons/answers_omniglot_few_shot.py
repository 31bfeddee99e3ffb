"""Answers to the exercises of the characters lesson."""

import collections
import itertools
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
    """All at once, with the classes' drawings kept apart in the shapes until the end."""
    chosen = torch.rand(len(images), generator=generator).topk(ways).indices
    drawing = torch.rand(ways, images.shape[1], generator=generator).argsort(dim=1)[:, : shots + queries]
    dealt = images[chosen[:, None], drawing]
    label = torch.arange(ways)[:, None].expand(ways, shots + queries)
    x = dealt[:, :shots].flatten(0, 1), dealt[:, shots:].flatten(0, 1)
    return x[0], label[:, :shots].flatten(), x[1], label[:, shots:].flatten()


@right(exercises.deal_episode)
def _(images, ways, shots, queries, generator):
    """Python's random module, seeded from the generator; rows shuffled; a list of four."""
    dice = random.Random(torch.randint(2**31, (), generator=generator).item())
    support, query = [], []
    for label, character in enumerate(dice.sample(range(len(images)), ways)):
        drawings = dice.sample(range(images.shape[1]), shots + queries)
        support += [(images[character, d], label) for d in drawings[:shots]]
        query += [(images[character, d], label) for d in drawings[shots:]]
    dice.shuffle(support)
    dice.shuffle(query)
    sets = [torch.stack([x for x, _ in support]), torch.tensor([y for _, y in support])]
    return [*sets, torch.stack([x for x, _ in query]), torch.tensor([y for _, y in query])]


@right(exercises.deal_episode)
def _(images, ways, shots, queries, generator):
    """Sorted characters with labels dealt apart."""
    chosen = torch.randperm(len(images), generator=generator)[:ways].sort().values
    labels = torch.randperm(ways, generator=generator)
    sx, sy, qx, qy = [], [], [], []
    for character, label in zip(chosen.tolist(), labels.tolist(), strict=True):
        order = torch.randperm(images.shape[1], generator=generator).tolist()
        sx += [images[character, order.pop()] for _ in range(shots)]
        qx += [images[character, order.pop()] for _ in range(queries)]
        sy += [label] * shots
        qy += [label] * queries
    return torch.stack(sx), torch.tensor(sy), torch.stack(qx), torch.tensor(qy)


@right(exercises.deal_episode)
def _(images, ways, shots, queries, generator):
    """int32 labels, in memory that is there from the start, and drawings as float64."""
    support_x = torch.zeros(ways * shots, 28, 28, dtype=torch.float64)
    query_x = torch.zeros(ways * queries, 28, 28, dtype=torch.float64)
    support_y = torch.zeros(ways * shots, dtype=torch.int32)
    query_y = torch.zeros(ways * queries, dtype=torch.int32)
    characters = torch.multinomial(torch.ones(images.shape[0]), ways, generator=generator)
    for label in range(ways):
        picks = torch.multinomial(torch.ones(images.shape[1]), shots + queries, generator=generator)
        for i in range(shots):
            support_x[label * shots + i] = images[characters[label], picks[i]]
            support_y[label * shots + i] = label
        for i in range(queries):
            query_x[label * queries + i] = images[characters[label], picks[shots + i]]
            query_y[label * queries + i] = label
    return support_x, support_y, query_x, query_y


@right(exercises.deal_episode)
def _(images, ways, shots, queries, generator):
    """Draws again until nothing comes twice."""

    def different(count, limit):
        found = []
        while len(found) < count:
            number = torch.randint(0, limit, (1,), generator=generator).item()
            if number not in found:
                found.append(number)
        return found

    sx, sy, qx, qy = [], [], [], []
    for label, character in enumerate(different(ways, len(images))):
        drawings = different(shots + queries, images.size(1))
        sx.append(images[character][drawings[:shots]])
        qx.append(images[character][drawings[shots:]])
        sy += shots * [label]
        qy += queries * [label]
    return torch.cat(sx), torch.LongTensor(sy), torch.cat(qx), torch.LongTensor(qy)


@right(exercises.deal_episode)
def _(images, ways, shots, queries, generator):
    """NumPy does the work, with a seed from the generator."""
    rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
    pictures = images.numpy()
    chosen = rng.choice(len(pictures), size=ways, replace=False)
    drawings = np.stack([rng.permutation(pictures.shape[1])[: shots + queries] for _ in range(ways)])
    dealt = torch.from_numpy(pictures[chosen[:, None], drawings])
    labels = torch.arange(ways, dtype=torch.uint8)
    return (
        dealt[:, :shots].reshape(-1, 28, 28),
        labels.repeat_interleave(shots),
        dealt[:, shots:].reshape(-1, 28, 28),
        labels.repeat_interleave(queries),
    )


@right(exercises.deal_episode)
def _(images, ways, shots, queries, generator):
    """The queries first, the rows of each set in turn, and a named tuple."""
    episode = collections.namedtuple("episode", "support_x support_y query_x query_y")
    chosen = torch.randperm(images.size(0), generator=generator)[-ways:]
    orders = torch.stack([torch.randperm(images.size(1), generator=generator) for _ in chosen])
    query = images[chosen, orders[:, :queries].T].reshape(-1, 28, 28)
    support = images[chosen, orders[:, queries : queries + shots].T].reshape(-1, 28, 28)
    return episode(support, torch.arange(ways).repeat(shots), query, torch.arange(ways).repeat(queries))


@right(exercises.deal_episode)
def _(images, ways, shots, queries, generator):
    """By a helper for one character, with the rows in random order and the pixels as float."""

    def of_one(character):
        drawn = images[character, torch.randperm(images.shape[1], generator=generator)].float()
        return drawn.tensor_split([shots, shots + queries])[:2]

    pairs = [of_one(c) for c in torch.randperm(images.shape[0], generator=generator)[:ways]]
    sx, qx = (torch.vstack(part) for part in zip(*pairs, strict=True))
    sy, qy = (torch.arange(ways).unsqueeze(1).tile(1, n).view(-1) for n in (shots, queries))
    shuffle = torch.randperm(len(sx), generator=generator)
    return sx[shuffle], sy[shuffle], qx, qy


@right(exercises.deal_episode)
def _(images, ways, shots, queries, generator):
    """A shuffle by Fisher and Yates."""

    def shuffled(n):
        numbers = list(range(n))
        for i in range(n - 1, 0, -1):
            j = int(torch.randint(i + 1, (), generator=generator))
            numbers[i], numbers[j] = numbers[j], numbers[i]
        return numbers

    x = {"support": [], "query": []}
    y = {"support": [], "query": []}
    for label, c in enumerate(shuffled(len(images))[:ways]):
        for i, d in enumerate(shuffled(len(images[c]))[: shots + queries]):
            where = "support" if i < shots else "query"
            x[where].append(images[c][d])
            y[where].append(label)
    return torch.stack(x["support"]), torch.tensor(y["support"]), torch.stack(x["query"]), torch.tensor(y["query"])


@right(exercises.deal_episode)
def _(images, ways, shots, queries, generator):
    """Shuffles the whole collection first."""
    mixed = images[torch.randperm(len(images), generator=generator)][:ways]
    mixed = torch.stack([m[torch.randperm(len(m), generator=generator)] for m in mixed])
    y = torch.arange(ways)
    support, query = mixed[:, :shots], mixed[:, shots : shots + queries]
    return (
        support.contiguous().view(ways * shots, 28, 28),
        y.repeat_interleave(shots),
        query.contiguous().view(ways * queries, 28, 28),
        y.repeat_interleave(queries),
    )


@right(exercises.deal_episode)
def _(images, ways, shots, queries, generator):
    """By flat indices and index_select, in reverse order of the labels."""
    characters, drawings = images.shape[:2]
    flat = images.reshape(characters * drawings, 28, 28)
    s, q, sy, qy = [], [], [], []
    for label, c in zip(
        reversed(range(ways)), torch.randperm(characters, generator=generator)[:ways].tolist(), strict=True
    ):
        d = (c * drawings + torch.randperm(drawings, generator=generator)).tolist()
        s, q = s + d[:shots], q + d[shots : shots + queries]
        sy, qy = sy + [label] * shots, qy + [label] * queries
    return (
        flat.index_select(0, torch.tensor(s)),
        torch.tensor(sy),
        flat.index_select(0, torch.tensor(q)),
        torch.tensor(qy),
    )


@right(exercises.deal_episode)
def _(images, ways, shots, queries, generator):
    """Draws the queries from what the support leaves."""
    chosen = torch.randperm(len(images), generator=generator)[:ways]
    sx, qx = [], []
    for c in chosen:
        taken = torch.randperm(images.shape[1], generator=generator)[:shots]
        left = torch.tensor([d for d in range(images.shape[1]) if d not in taken.tolist()])
        sx.append(images[c, taken])
        qx.append(images[c, left[torch.randperm(len(left), generator=generator)[:queries]]])
    return (
        torch.cat(sx),
        torch.arange(ways * shots) // shots,
        torch.cat(qx),
        torch.div(torch.arange(ways * queries), queries, rounding_mode="floor").to(torch.int16),
    )


@right(exercises.deal_episode)
def _(images, ways, shots, queries, generator):
    """Fisher and Yates's shuffle, all drawings in one gather, and labels that are shuffled once more."""
    scores = torch.rand(images.shape[:2], generator=generator)
    who = torch.randn(images.shape[0], generator=generator).argsort(descending=True)[:ways]
    names = torch.randperm(ways, generator=generator)
    picks = scores[who].argsort(1)[:, : shots + queries]
    x = torch.gather(images[who], 1, picks[:, :, None, None].expand(-1, -1, 28, 28))
    y = names[:, None].expand(-1, shots + queries)
    sx, qx = x.split([shots, queries], dim=1)
    sy, qy = y.split([shots, queries], dim=1)
    return sx.flatten(0, 1), sy.reshape(-1), qx.flatten(0, 1), qy.reshape(-1)


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


# The characters


@wrong(exercises.deal_episode, "The same character can come twice")
def _(images, ways, shots, queries, generator):
    chosen = torch.randint(len(images), (ways,), generator=generator)
    return deal(images, ways, shots, queries, generator, chosen=chosen)


@wrong(exercises.deal_episode, "The same character can come twice")
def _(images, ways, shots, queries, generator):
    chosen = torch.multinomial(torch.ones(len(images)), ways, replacement=True, generator=generator)
    return deal(images, ways, shots, queries, generator, chosen=chosen)


@wrong(exercises.deal_episode, "Every episode uses the same 5 characters")
def _(images, ways, shots, queries, generator):
    return deal(images[:ways], ways, shots, queries, generator)


@wrong(exercises.deal_episode, "Every episode uses the same 5 characters")
def _(images, ways, shots, queries, generator):
    return deal(images, ways, shots, queries, generator, chosen=torch.arange(ways))  # labels are character numbers


@wrong(exercises.deal_episode, "Every episode uses only one character")
def _(images, ways, shots, queries, generator):
    chosen = torch.zeros(ways, dtype=torch.long)
    return deal(images, ways, shots, queries, generator, chosen=chosen)


@wrong(exercises.deal_episode, "Only 11 of the 12 characters ever come up; number 11, for one, never does")
def _(images, ways, shots, queries, generator):
    return deal(images[:-1], ways, shots, queries, generator)


@wrong(exercises.deal_episode, "Only 11 of the 12 characters ever come up; number 0, for one, never does")
def _(images, ways, shots, queries, generator):
    chosen = 1 + torch.randperm(len(images) - 1, generator=generator)[:ways]
    return deal(images, ways, shots, queries, generator, chosen=chosen)


@wrong(exercises.deal_episode, "always stand next to one another")
def _(images, ways, shots, queries, generator):
    start = torch.randint(len(images) - ways + 1, (1,), generator=generator)
    chosen = (start + torch.arange(ways))[torch.randperm(ways, generator=generator)]
    return deal(images, ways, shots, queries, generator, chosen=chosen)


@wrong(exercises.deal_episode, "always stand next to one another")
def _(images, ways, shots, queries, generator):
    chosen = images.shape[0] - 1 - torch.randint(images.shape[0], (1,), generator=generator)
    chosen = (chosen + torch.arange(ways)) % len(images)  # sorted, too
    return deal(images, ways, shots, queries, generator, chosen=chosen)


@wrong(exercises.deal_episode, "some pairs of characters come together far more often")
def _(images, ways, shots, queries, generator):
    """Every second one from a random start."""
    start = torch.randint(len(images), (1,), generator=generator)
    chosen = (start + 2 * torch.arange(ways)) % len(images)
    labels = torch.randperm(ways, generator=generator)
    if len(chosen.unique()) < ways:
        chosen = torch.randperm(len(images), generator=generator)[:ways]
    return deal(images, ways, shots, queries, generator, chosen=chosen, labels=labels)


@wrong(exercises.deal_episode, "some pairs of characters come together far more often")
def _(images, ways, shots, queries, generator):
    """One from each of `ways` groups, and all others equally often."""
    group = torch.randperm(len(images) // ways * ways, generator=torch.Generator().manual_seed(5)).view(ways, -1)
    rest = torch.arange(len(images) // ways * ways, len(images))
    chosen = group.gather(1, torch.randint(group.shape[1], (ways, 1), generator=generator))[:, 0]
    chosen = chosen[torch.randperm(ways, generator=generator)]
    for extra in rest:
        if torch.rand(1, generator=generator) < ways / len(images):
            chosen[torch.randint(ways, (), generator=generator)] = extra
    if len(chosen.unique()) < ways:
        chosen = torch.randperm(len(images), generator=generator)[:ways]
    return deal(images, ways, shots, queries, generator, chosen=chosen)


@wrong(exercises.deal_episode, "in 400 episodes one came 262 times")
def _(images, ways, shots, queries, generator):
    weights = torch.arange(1.0, len(images) + 1)
    return deal(images, ways, shots, queries, generator, chosen=torch.multinomial(weights, ways, generator=generator))


# The labels


@wrong(exercises.deal_episode, "labels are the numbers of the characters")
def _(images, ways, shots, queries, generator):
    chosen = torch.randperm(len(images), generator=generator)[:ways]
    return deal(images, ways, shots, queries, generator, chosen=chosen, labels=chosen)


@wrong(exercises.deal_episode, "labels are the numbers of the drawings")
def _(images, ways, shots, queries, generator):
    chosen = torch.randperm(len(images), generator=generator)[:ways]
    drawings = torch.stack([torch.randperm(images.shape[1], generator=generator) for _ in range(ways)])
    support, query = drawings[:, :shots], drawings[:, shots : shots + queries]
    return (
        images[chosen[:, None], support].flatten(0, 1),
        support.flatten(),
        images[chosen[:, None], query].flatten(0, 1),
        query.flatten(),
    )


@wrong(exercises.deal_episode, "All labels in support_y are 0")
def _(images, ways, shots, queries, generator):
    return deal(images, ways, shots, queries, generator, labels=torch.zeros(ways, dtype=torch.long))


@wrong(exercises.deal_episode, "All labels in query_y are 4")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images, ways, shots, queries, generator)
    return sx, sy, qx, torch.full_like(qy, sy[-1])  # the label of the last turn of a loop


@wrong(exercises.deal_episode, "In support_y the rows are numbered")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images, ways, shots, queries, generator)
    return sx, torch.arange(len(sy)), qx, torch.arange(len(qy))


@wrong(exercises.deal_episode, "labels run from 1 to 5")
def _(images, ways, shots, queries, generator):
    return deal(images, ways, shots, queries, generator, labels=torch.arange(1, ways + 1))


@wrong(exercises.deal_episode, "In the support set, labels and drawings are out of step")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images, ways, shots, queries, generator)
    return sx[torch.randperm(len(sx), generator=generator)], sy, qx, qy


@wrong(exercises.deal_episode, "In the support set, labels and drawings are out of step")
def _(images, ways, shots, queries, generator):
    sx, _, qx, qy = deal(images, ways, shots, queries, generator)
    return sx, torch.arange(ways).repeat(shots), qx, qy


@wrong(exercises.deal_episode, "In the support set, labels and drawings are out of step")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images, ways, shots, queries, generator)
    return (
        sx,
        torch.randint(ways, sy.shape, generator=generator),
        qx,
        torch.randint(ways, qy.shape, generator=generator),
    )


@wrong(exercises.deal_episode, "In the query set, labels and drawings are out of step")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, _ = deal(images, ways, shots, queries, generator)
    return sx, sy, qx, torch.arange(ways).repeat(queries)


@wrong(exercises.deal_episode, "In the query set, labels and drawings are out of step")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images, ways, shots, queries, generator)
    return sx, sy, qx, qy[torch.randperm(len(qy), generator=generator)]


@wrong(exercises.deal_episode, "In the support set, two characters can have the same label")
def _(images, ways, shots, queries, generator):
    labels = torch.randint(ways, (ways,), generator=generator)
    return deal(images, ways, shots, queries, generator, labels=labels)


@wrong(exercises.deal_episode, "In the support set, two characters can have the same label")
def _(images, ways, shots, queries, generator):
    chosen = torch.randperm(len(images), generator=generator)[:ways]
    return deal(images, ways, shots, queries, generator, chosen=chosen, labels=chosen % ways)


@wrong(exercises.deal_episode, "one label in the support set and another one in the query set")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, _ = deal(images, ways, shots, queries, generator)
    return sx, sy, qx, torch.randperm(ways, generator=generator).repeat_interleave(queries)


@wrong(exercises.deal_episode, "one label in the support set and another one in the query set")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images, ways, shots, queries, generator)
    return sx, sy, qx, ways - 1 - qy


@wrong(exercises.deal_episode, "labels follow the order of the characters")
def _(images, ways, shots, queries, generator):
    chosen = torch.randperm(len(images), generator=generator)[:ways].sort().values
    return deal(images, ways, shots, queries, generator, chosen=chosen)


@wrong(exercises.deal_episode, "labels follow the order of the characters")
def _(images, ways, shots, queries, generator):
    chosen = torch.randperm(len(images), generator=generator)[:ways].sort(descending=True).values
    return deal(images, ways, shots, queries, generator, chosen=chosen)


@wrong(exercises.deal_episode, "labels follow the order of the characters")
def _(images, ways, shots, queries, generator):
    mask = torch.zeros(len(images), dtype=torch.bool)
    mask[torch.randperm(len(images), generator=generator)[:ways]] = True
    labels = torch.randperm(ways, generator=torch.Generator().manual_seed(1))  # a constant permutation
    return deal(images, ways, shots, queries, generator, chosen=mask.nonzero().flatten(), labels=labels)


@wrong(exercises.deal_episode, "The labels are not dealt evenly")
def _(images, ways, shots, queries, generator):
    chosen = torch.randperm(len(images), generator=generator)[:ways].sort().values
    labels = (torch.arange(ways) + torch.randint(ways, (1,), generator=generator)) % ways
    return deal(images, ways, shots, queries, generator, chosen=chosen, labels=labels)


@wrong(exercises.deal_episode, "The labels are not dealt evenly")
def _(images, ways, shots, queries, generator):
    chosen = torch.randperm(len(images), generator=generator)[:ways].sort().values
    labels = torch.arange(ways)
    if torch.rand(1, generator=generator) < 0.5:
        labels = labels.flip(0)
    return deal(images, ways, shots, queries, generator, chosen=chosen, labels=labels)


@wrong(exercises.deal_episode, "A character keeps its label from episode to episode")
def _(images, ways, shots, queries, generator):
    """One character from each block of the collection, which the label names."""
    edges = torch.linspace(0, len(images), ways + 1).long()
    chosen = torch.stack([torch.randint(int(a), int(b), (), generator=generator) for a, b in itertools.pairwise(edges)])
    return deal(images, ways, shots, queries, generator, chosen=chosen)


# The two sets


@wrong(exercises.deal_episode, "The query set shows characters")
def _(images, ways, shots, queries, generator):
    sx, sy, _, _ = deal(images, ways, shots, queries, generator)
    return sx, sy, *deal(images, ways, shots, queries, generator)[2:]


@wrong(exercises.deal_episode, "In support_y some labels come more often")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images, ways, shots, queries, generator)
    x, y = torch.cat([sx, qx]), torch.cat([sy, qy])
    while True:  # shuffle and split, as in supervised learning; again until the support set shows every character
        order = torch.randperm(len(x), generator=generator)
        support, query = order[: len(sx)], order[len(sx) :]
        if len(y[support].unique()) == ways:
            return x[support], y[support], x[query], y[query]


@wrong(exercises.deal_episode, "The query set shows characters")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images, ways, shots, queries, generator)
    x, y = torch.cat([sx, qx]), torch.cat([sy, qy])
    order = torch.randperm(len(x), generator=generator)
    x, y = x[order], y[order]
    return x[: ways * shots], y[: ways * shots], x[ways * shots :], y[ways * shots :]


@wrong(exercises.deal_episode, "In query_y some labels come more often")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images, ways, shots, images.shape[1] - shots, generator)
    picked = torch.randperm(len(qx), generator=generator)[: ways * queries]
    return sx, sy, qx[picked], qy[picked]


@wrong(exercises.deal_episode, "The same drawing can be in the support set and in the query set")
def _(images, ways, shots, queries, generator):
    support, query = [], []
    for character in torch.randperm(len(images), generator=generator)[:ways]:
        support.append(images[character, torch.randperm(images.shape[1], generator=generator)[:shots]])
        query.append(images[character, torch.randperm(images.shape[1], generator=generator)[:queries]])
    label = torch.arange(ways)
    return torch.cat(support), label.repeat_interleave(shots), torch.cat(query), label.repeat_interleave(queries)


@wrong(exercises.deal_episode, "The same drawing can be in the support set and in the query set")
def _(images, ways, shots, queries, generator):
    support, query = [], []
    for character in torch.randperm(len(images), generator=generator)[:ways]:
        order = torch.randperm(images.shape[1], generator=generator)
        support.append(images[character, order[:shots]])
        query.append(images[character, order[:queries]])  # or order[shots - 1 :]
    label = torch.arange(ways)
    return torch.cat(support), label.repeat_interleave(shots), torch.cat(query), label.repeat_interleave(queries)


@wrong(exercises.deal_episode, "The same drawing can be in the support set and in the query set")
def _(images, ways, shots, queries, generator):
    drawings = torch.randint(images.shape[1], (ways, shots + queries), generator=generator)
    return deal(images, ways, shots, queries, generator, drawings=drawings)


@wrong(exercises.deal_episode, "The same drawing can come twice in the support set")
def _(images, ways, shots, queries, generator):
    half = images.shape[1] // 2  # support from one half, query from the other, both with replacement
    support = torch.randint(half, (ways, shots), generator=generator)
    query = half + torch.randint(half, (ways, queries), generator=generator)
    return deal(images, ways, shots, queries, generator, drawings=torch.cat([support, query], dim=1))


@wrong(exercises.deal_episode, "The same drawing can come twice in the support set")
def _(images, ways, shots, queries, generator):
    one = [torch.randperm(images.shape[1], generator=generator)[: 1 + queries] for _ in range(ways)]
    drawings = torch.stack([torch.cat([d[:1].repeat(shots), d[1:]]) for d in one])  # the same drawing for each shot
    return deal(images, ways, shots, queries, generator, drawings=drawings)


@wrong(exercises.deal_episode, "The same drawing can come twice in the query set")
def _(images, ways, shots, queries, generator):
    drawings = []
    for _ in range(ways):
        order = torch.randperm(images.shape[1], generator=generator)
        picks = torch.randint(shots, images.shape[1], (queries,), generator=generator)
        drawings.append(torch.cat([order[:shots], order[picks]]))
    return deal(images, ways, shots, queries, generator, drawings=torch.stack(drawings))


# The drawings


@wrong(exercises.deal_episode, "always shows the same 5 drawings")
def _(images, ways, shots, queries, generator):
    drawings = torch.arange(images.shape[1]).expand(ways, -1)
    return deal(images, ways, shots, queries, generator, drawings=drawings)


@wrong(exercises.deal_episode, "The support set always shows the same 2 drawings")
def _(images, ways, shots, queries, generator):
    rest = [shots + torch.randperm(images.shape[1] - shots, generator=generator) for _ in range(ways)]
    drawings = torch.stack([torch.cat([torch.arange(shots), r]) for r in rest])
    return deal(images, ways, shots, queries, generator, drawings=drawings)


@wrong(exercises.deal_episode, "The query set always shows the same 3 drawings")
def _(images, ways, shots, queries, generator):
    last = torch.arange(images.shape[1] - queries, images.shape[1])
    drawings = [
        torch.cat([torch.randperm(images.shape[1] - queries, generator=generator)[:shots], last]) for _ in range(ways)
    ]
    return deal(images, ways, shots, queries, generator, drawings=torch.stack(drawings))


@wrong(exercises.deal_episode, "Only 10 of the 20 drawings")
def _(images, ways, shots, queries, generator):
    return deal(images[:, :10], ways, shots, queries, generator)


@wrong(exercises.deal_episode, "Only 12 of the 20 drawings of a character ever come up, as many as there are")
def _(images, ways, shots, queries, generator):
    drawings = torch.stack([torch.randperm(images.shape[0], generator=generator) for _ in range(ways)])
    return deal(images, ways, shots, queries, generator, drawings=drawings)


@wrong(exercises.deal_episode, "Only 19 of the 20 drawings")
def _(images, ways, shots, queries, generator):
    drawings = torch.stack([torch.randperm(images.shape[1] - 1, generator=generator) for _ in range(ways)])
    return deal(images, ways, shots, queries, generator, drawings=drawings)


@wrong(exercises.deal_episode, "the support set shows 10 and the query set 10 over many episodes")
def _(images, ways, shots, queries, generator):
    half = images.shape[1] // 2
    drawings = []
    for _ in range(ways):
        first = torch.randperm(half, generator=generator)[:shots]
        second = half + torch.randperm(images.shape[1] - half, generator=generator)[:queries]
        drawings.append(torch.cat([first, second]))
    return deal(images, ways, shots, queries, generator, drawings=torch.stack(drawings))


@wrong(exercises.deal_episode, "all characters show the drawings of the same numbers")
def _(images, ways, shots, queries, generator):
    drawings = torch.randperm(images.shape[1], generator=generator).expand(ways, -1)
    return deal(images, ways, shots, queries, generator, drawings=drawings)


@wrong(exercises.deal_episode, "the drawings of one character depend on those of another one")
def _(images, ways, shots, queries, generator):
    order = torch.randperm(images.shape[1], generator=generator)
    drawings = torch.stack([order.roll(i * (shots + queries)) for i in range(ways)])
    return deal(images, ways, shots, queries, generator, drawings=drawings)


@wrong(exercises.deal_episode, "always come all before")
def _(images, ways, shots, queries, generator):
    drawings = torch.stack(
        [torch.randperm(images.shape[1], generator=generator)[: shots + queries].sort().values for _ in range(ways)]
    )
    return deal(images, ways, shots, queries, generator, drawings=drawings)


@wrong(exercises.deal_episode, "The drawings of a character always stand next to one another")
def _(images, ways, shots, queries, generator):
    start = torch.randint(images.shape[1], (ways, 1), generator=generator)
    drawings = (start + torch.arange(shots + queries)) % images.shape[1]
    return deal(images, ways, shots, queries, generator, drawings=drawings)


@wrong(exercises.deal_episode, "some pairs of drawings come together far more often")
def _(images, ways, shots, queries, generator):
    start = torch.randint(images.shape[1], (ways, 1), generator=generator)
    drawings = (start + 2 * torch.arange(shots + queries)) % images.shape[1]
    return deal(images, ways, shots, queries, generator, drawings=drawings)


@wrong(exercises.deal_episode, "In the support set some drawings come up more often than others")
def _(images, ways, shots, queries, generator):
    weights = torch.arange(1.0, images.shape[1] + 1).expand(ways, -1)
    drawings = torch.multinomial(weights, shots + queries, generator=generator)
    return deal(images, ways, shots, queries, generator, drawings=drawings)


# The randomness


@wrong(exercises.deal_episode, "the episodes have other characters")
def _(images, ways, shots, queries, generator):
    return deal(images, ways, shots, queries, None)


@wrong(exercises.deal_episode, "the episodes have other characters")
def _(images, ways, shots, queries, generator):
    chosen = torch.tensor(random.sample(range(len(images)), ways))
    return deal(images, ways, shots, queries, generator, chosen=chosen)


@wrong(exercises.deal_episode, "the episodes have other characters")
def _(images, ways, shots, queries, generator):
    generator.seed()
    return deal(images, ways, shots, queries, generator)


@wrong(exercises.deal_episode, "the episodes have other drawings")
def _(images, ways, shots, queries, generator):
    drawings = torch.stack([torch.randperm(images.shape[1]) for _ in range(ways)])
    return deal(images, ways, shots, queries, generator, drawings=drawings)


@wrong(exercises.deal_episode, "the episodes have other labels")
def _(images, ways, shots, queries, generator):
    return deal(images, ways, shots, queries, generator, labels=torch.randperm(ways))


@wrong(exercises.deal_episode, "the episodes have another order of the rows")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images, ways, shots, queries, generator)
    order = torch.randperm(len(qx))
    return sx, sy, qx[order], qy[order]


@wrong(exercises.deal_episode, "Every call deals the same episode")
def _(images, ways, shots, queries, generator):
    return deal(images, ways, shots, queries, torch.Generator().manual_seed(0))


@wrong(exercises.deal_episode, "Every call deals the same episode")
def _(images, ways, shots, queries, generator):
    generator.manual_seed(0)
    return deal(images, ways, shots, queries, generator)


@wrong(exercises.deal_episode, "Every call deals the same episode")
def _(images, ways, shots, queries, generator):
    dice = np.random.default_rng(generator.initial_seed())
    chosen = torch.from_numpy(dice.permutation(len(images))[:ways])
    drawings = torch.from_numpy(np.stack([dice.permutation(images.shape[1]) for _ in range(ways)]))
    return deal(images, ways, shots, queries, generator, chosen=chosen, drawings=drawings)


@wrong(exercises.deal_episode, "Every call deals the same episode")
def _(images, ways, shots, queries, generator):
    drawings = torch.arange(images.shape[1]).expand(ways, -1)
    return deal(images, ways, shots, queries, generator, chosen=torch.arange(ways), drawings=drawings)


@wrong(exercises.deal_episode, "In 400 calls it deals 10 different episodes only")
def _(images, ways, shots, queries, generator):
    seed = torch.randint(10, (1,), generator=generator).item()
    return deal(images, ways, shots, queries, torch.Generator().manual_seed(seed))


# What comes back


@wrong(exercises.deal_episode, "Some rows of support_x are no drawings of `images`")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images, ways, shots, queries, generator)
    return sx.permute(1, 2, 0).reshape(sx.shape), sy, qx, qy


@wrong(exercises.deal_episode, "Some rows of support_x are no drawings of `images`")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images, ways, shots, queries, generator)
    prototypes = sx.float().view(ways, shots, 28, 28).mean(dim=1)
    return prototypes.repeat_interleave(shots, dim=0), sy, qx, qy


@wrong(exercises.deal_episode, "Some rows of query_x are no drawings of `images`")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images, ways, shots, queries, generator)
    return sx, sy, (qx > qx.float().mean()).float(), qy


@wrong(exercises.deal_episode, "The drawings in support_x are scaled")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images, ways, shots, queries, generator)
    return sx / 255, sy, qx / 255, qy


@wrong(exercises.deal_episode, "The drawings in query_x are scaled")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images, ways, shots, queries, generator)
    return sx, sy, qx.float() * 2, qy


@wrong(exercises.deal_episode, "its pixels are shifted or inverted")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images, ways, shots, queries, generator)
    return 1 - sx, sy, 1 - qx, qy


@wrong(exercises.deal_episode, "its pixels are shifted or inverted")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images.float(), ways, shots, queries, generator)
    return (sx - images.float().mean()) / images.float().std(), sy, (qx - images.float().mean()) / 0.3, qy


@wrong(exercises.deal_episode, "The drawings in support_x are turned or mirrored")
def _(images, ways, shots, queries, generator):
    return deal(images.transpose(2, 3), ways, shots, queries, generator)


@wrong(exercises.deal_episode, "The drawings in support_x are turned or mirrored")
def _(images, ways, shots, queries, generator):
    return deal(images.flip(-1), ways, shots, queries, generator)


@wrong(exercises.deal_episode, "Some rows of support_x are all zeros")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images, ways, shots, queries, generator)
    sx[-1] = 0
    return sx, sy, qx, qy


@wrong(exercises.deal_episode, "Some rows of support_x are all zeros")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images, ways, shots, queries, generator)
    return sx.long(), sy, qx.long(), qy


@wrong(exercises.deal_episode, "Some pixels of query_x are not finite")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images.float(), ways, shots, queries, generator)
    return sx, sy, qx * torch.nan, qy


@wrong(
    exercises.deal_episode, "support_x has the shape [5, 28, 28]; it should be [10, 28, 28]. It holds one row for each"
)
def _(images, ways, shots, queries, generator):
    return deal(images, ways, 1, queries, generator)


@wrong(
    exercises.deal_episode, "support_x has the shape [2, 28, 28]; it should be [10, 28, 28]. It holds the drawings of"
)
def _(images, ways, shots, queries, generator):
    for label, c in enumerate(torch.randperm(len(images), generator=generator)[:ways]):
        order = torch.randperm(images.shape[1], generator=generator)
        sx, qx = images[c, order[:shots]], images[c, order[shots : shots + queries]]
        sy, qy = torch.full((shots,), label), torch.full((queries,), label)
    return sx, sy, qx, qy


@wrong(
    exercises.deal_episode,
    "support_x has the shape [25, 28, 28]; it should be [10, 28, 28]. It holds all the drawings",
)
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images, ways, shots, queries, generator)
    return torch.cat([sx, qx]), torch.cat([sy, qy]), qx, qy


@wrong(
    exercises.deal_episode, "support_x has the shape [24, 28, 28]; it should be [10, 28, 28]. It holds drawings of all"
)
def _(images, ways, shots, queries, generator):
    return deal(images, len(images), shots, queries, generator)


@wrong(
    exercises.deal_episode, "query_x has the shape [90, 28, 28]; it should be [15, 28, 28]. It holds all the drawings"
)
def _(images, ways, shots, queries, generator):
    return deal(images, ways, shots, images.shape[1] - shots, generator)


@wrong(
    exercises.deal_episode, "query_x has the shape [5, 28, 28]; it should be [15, 28, 28]. It holds `queries - shots`"
)
def _(images, ways, shots, queries, generator):
    support, query = [], []
    for c in torch.randperm(len(images), generator=generator)[:ways]:
        order = torch.randperm(images.shape[1], generator=generator)
        support.append(images[c, order[:shots]])
        query.append(images[c, order[shots:queries]])
    y = torch.arange(ways)
    return torch.cat(support), y.repeat_interleave(shots), torch.cat(query), y.repeat_interleave(len(query[0]))


@wrong(
    exercises.deal_episode, "query_x has the shape [10, 28, 28]; it should be [15, 28, 28]. It holds `shots` drawings"
)
def _(images, ways, shots, queries, generator):
    return deal(images, ways, shots, shots, generator)


@wrong(exercises.deal_episode, "The support set has as many rows as the query set should have")
def _(images, ways, shots, queries, generator):
    return deal(images, ways, queries, shots, generator)


@wrong(exercises.deal_episode, "By their shapes, yours are support_x, query_x, support_y, query_y")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images, ways, shots, queries, generator)
    return sx, qx, sy, qy


@wrong(exercises.deal_episode, "By their shapes, yours are support_y, support_x, query_y, query_x")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images, ways, shots, queries, generator)
    return sy, sx, qy, qx


@wrong(exercises.deal_episode, "the axes of the ways and of the drawings should be one")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images, ways, shots, queries, generator)
    return sx.view(ways, shots, 28, 28), sy.view(ways, shots), qx.view(ways, queries, 28, 28), qy.view(ways, queries)


@wrong(exercises.deal_episode, "support_y has the shape [5, 2]; it should be [10]")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images, ways, shots, queries, generator)
    return sx, sy.view(ways, shots), qx, qy.view(ways, queries)


@wrong(exercises.deal_episode, "There is an axis for channels, which the page does not ask for")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images, ways, shots, queries, generator)
    return sx[:, None], sy, qx[:, None], qy


@wrong(exercises.deal_episode, "The pixels of a drawing should stay in their rows and columns")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images, ways, shots, queries, generator)
    return sx.flatten(1), sy, qx.flatten(1), qy


@wrong(
    exercises.deal_episode, "query_y has the shape [15, 5]; it should be [15]. Labels should be one class number a row"
)
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images, ways, shots, queries, generator)
    return sx, sy, qx, F.one_hot(qy, ways)


@wrong(exercises.deal_episode, "support_y has the shape [10, 1]; it should be [10]. One class number for each row")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images, ways, shots, queries, generator)
    return sx, sy[:, None], qx, qy[:, None]


@wrong(exercises.deal_episode, "support_y has the dtype torch.float32")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images, ways, shots, queries, generator)
    return sx, sy.float(), qx, qy


@wrong(exercises.deal_episode, "support_y should be one tensor, because a network takes tensors; yours is a list of 10")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images, ways, shots, queries, generator)
    return sx, sy.tolist(), qx, qy


@wrong(
    exercises.deal_episode, "support_x should be one tensor, because a network takes tensors; yours is a NumPy array"
)
def _(images, ways, shots, queries, generator):
    return [part.numpy() for part in deal(images, ways, shots, queries, generator)]


@wrong(exercises.deal_episode, "query_x and query_y; yours is a tuple of 2")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images, ways, shots, queries, generator)
    return (sx, sy), (qx, qy)


@wrong(exercises.deal_episode, "query_x and query_y; yours is a dict")
def _(images, ways, shots, queries, generator):
    names = "support_x", "support_y", "query_x", "query_y"
    return dict(zip(names, deal(images, ways, shots, queries, generator), strict=True))


@wrong(exercises.deal_episode, "query_x and query_y; yours is a generator")
def _(images, ways, shots, queries, generator):
    yield from deal(images, ways, shots, queries, generator)


@wrong(exercises.deal_episode, "changes `images` in place")
def _(images, ways, shots, queries, generator):
    images /= 255
    return deal(images, ways, shots, queries, generator)


@wrong(exercises.deal_episode, "changes `images` in place")
def _(images, ways, shots, queries, generator):
    images[:] = images[torch.randperm(len(images), generator=generator)]
    return deal(images, ways, shots, queries, generator, chosen=torch.arange(ways))


@wrong(exercises.deal_episode, "The shape of support_x is not the same in every episode")
def _(images, ways, shots, queries, generator):
    chosen = torch.randint(len(images), (ways,), generator=generator).unique()
    return deal(images, len(chosen), shots, queries, generator, chosen=chosen)


@wrong(exercises.deal_episode, "In the support set, the labels number the drawings of each character")
def _(images, ways, shots, queries, generator):
    sx, _, qx, _ = deal(images, ways, shots, queries, generator)
    return sx, torch.arange(shots).repeat(ways), qx, torch.arange(queries).repeat(ways)


@wrong(exercises.deal_episode, "labels follow the order of the characters")
def _(images, ways, shots, queries, generator):
    chosen = torch.randperm(len(images), generator=generator)[:ways]
    labels = torch.unique(chosen, return_inverse=True)[1]
    return deal(images, ways, shots, queries, generator, chosen=chosen, labels=labels)


@wrong(exercises.deal_episode, "The labels are not dealt evenly")
def _(images, ways, shots, queries, generator):
    chosen = torch.randperm(len(images), generator=generator)[:ways]
    return deal(images, ways, shots, queries, generator, chosen=chosen, labels=chosen.argsort())


@wrong(exercises.deal_episode, "Here all characters are needed, and all drawings of each")
def _(images, ways, shots, queries, generator):
    support, query = [], []
    for c in torch.randperm(len(images), generator=generator)[:ways]:
        order = torch.randperm(images.shape[1], generator=generator)
        support.append(images[c, order[:shots]])
        query.append(images[c, order[shots + 1 : shots + queries + 1]])
    y = torch.arange(ways)
    return torch.cat(support), y.repeat_interleave(shots), torch.cat(query), y.repeat_interleave(len(query[0]))


@wrong(exercises.deal_episode, "all characters show the drawings of the same numbers")
def _(images, ways, shots, queries, generator):
    chosen = torch.randperm(len(images), generator=generator)[:ways]
    dealt = images[chosen][:, torch.randperm(images.shape[1], generator=generator)]
    y = torch.arange(ways)
    support, query = dealt[:, :shots], dealt[:, shots : shots + queries]
    return support.flatten(0, 1), y.repeat_interleave(shots), query.flatten(0, 1), y.repeat_interleave(queries)


@wrong(exercises.deal_episode, "Every call deals the same episode")
def _(images, ways, shots, queries, generator):
    own = torch.Generator()
    own.set_state(generator.get_state())
    return deal(images, ways, shots, queries, own)


@wrong(exercises.deal_episode, "in 400 episodes one came 333 times")
def _(images, ways, shots, queries, generator):
    chosen = []
    while len(chosen) < ways:
        number = round(float(torch.rand(1, generator=generator) ** 2) * (len(images) - 1))
        if number not in chosen:
            chosen.append(number)
    return deal(images, ways, shots, queries, generator, chosen=torch.tensor(chosen))


@wrong(exercises.deal_episode, "the support set shows 20 and the query set 5 over many episodes")
def _(images, ways, shots, queries, generator):
    drawings = []
    for _ in range(ways):
        first = torch.randperm(images.shape[1], generator=generator)[:shots].tolist()
        drawings.append(torch.tensor(first + [d for d in range(images.shape[1]) if d not in first]))
    return deal(images, ways, shots, queries, generator, drawings=torch.stack(drawings))


@wrong(exercises.deal_episode, "The pixels in support_x are a little different")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images, ways, shots, queries, generator)
    return sx.bfloat16(), sy, qx.bfloat16(), qy


@wrong(exercises.deal_episode, "support_x has the shape [1, 10, 28, 28]; it should be [10, 28, 28]")
def _(images, ways, shots, queries, generator):
    return [part[None] for part in deal(images, ways, shots, queries, generator)]


@wrong(exercises.deal_episode, "That is the length of one row for each way")
def _(images, ways, shots, queries, generator):
    sx, _, qx, _ = deal(images, ways, shots, queries, generator)
    return sx, torch.arange(ways), qx, torch.arange(ways)


# Numbers in the code


@wrong(exercises.deal_episode, "support_x has the shape [15, 28, 28]; it should be [12, 28, 28]. Does the code")
def _(images, ways, shots, queries, generator):
    return deal(images, 5, shots, queries, generator)


@wrong(exercises.deal_episode, "it stopped with IndexError")
def _(images, ways, shots, queries, generator):
    drawings = torch.stack([torch.randperm(20, generator=generator) for _ in range(ways)])
    return deal(images, ways, shots, queries, generator, drawings=drawings)


@wrong(exercises.deal_episode, "It stopped with IndexError")
def _(images, ways, shots, queries, generator):
    chosen = torch.randperm(964, generator=generator)[:ways]
    return deal(images, ways, shots, queries, generator, chosen=chosen)


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


@right(exercises.prototype_logits)
def _(support_z, support_y, query_z, ways):
    """In double precision."""
    support_z, query_z = support_z.double(), query_z.double()
    c = torch.stack([support_z[support_y == n].mean(0) for n in range(ways)])
    return -(query_z.unsqueeze(1) - c.unsqueeze(0)).pow(2).sum(-1)


@right(exercises.prototype_logits)
def _(support_z, support_y, query_z, ways):
    """By einsum."""
    member = (support_y[:, None] == torch.arange(ways)).to(support_z.dtype)
    c = torch.einsum("sn, se -> ne", member / member.sum(0), support_z)
    difference = query_z[:, None, :] - c
    return -torch.einsum("qne, qne -> qn", difference, difference)


@right(exercises.prototype_logits)
def _(support_z, support_y, query_z, ways):
    """By torch.func.vmap."""
    masks = F.one_hot(support_y, ways).T.bool()
    c = torch.stack([support_z[mask].sum(0) / mask.sum() for mask in masks])
    one_query = torch.func.vmap(lambda q, p: -((q - p) ** 2).sum(), in_dims=(None, 0))
    return torch.func.vmap(one_query, in_dims=(0, None))(query_z, c)


@right(exercises.prototype_logits)
def _(support_z, support_y, query_z, ways):
    """Loops and lists."""

    def mean_of(rows):
        total = rows[0]
        for row in rows[1:]:
            total = total + row
        return total / len(rows)

    prototypes = [mean_of([z for z, y in zip(support_z, support_y, strict=True) if y == n]) for n in range(ways)]
    rows = []
    for q in query_z:
        rows.append(torch.stack([-(q - p).square().sum() for p in prototypes]))
    return torch.stack(rows)


@right(exercises.prototype_logits)
def _(support_z, support_y, query_z, ways):
    """scatter_reduce, and a norm that is squared again."""
    index = support_y[:, None].expand_as(support_z)
    c = support_z.new_zeros(ways, support_z.size(1)).scatter_reduce(0, index, support_z, "mean", include_self=False)
    return -torch.linalg.vector_norm(query_z[:, None] - c[None], dim=-1).square()


@right(exercises.prototype_logits)
def _(support_z, support_y, query_z, ways):
    """mse_loss, with the mean undone."""
    logits = []
    for n in range(ways):
        c = support_z[support_y.eq(n).nonzero().squeeze(1)].mean(dim=0, keepdim=True)
        logits.append(-F.mse_loss(query_z, c.expand_as(query_z), reduction="none").sum(dim=1, keepdim=True))
    return torch.cat(logits, dim=1)


@right(exercises.prototype_logits)
def _(support_z, support_y, query_z, ways):
    """Where and masks, transposed at the end."""
    mask = support_y == torch.arange(ways)[:, None]
    zeros = torch.zeros_like(support_z)
    c = torch.where(mask[..., None], support_z, zeros).sum(1) / mask.sum(1, keepdim=True)
    return (-torch.sum((c[:, None] - query_z) ** 2, dim=2)).T


@right(exercises.prototype_logits)
def _(support_z, support_y, query_z, ways):
    """The Gram matrix of both."""
    order = torch.argsort(support_y, stable=True)
    c = torch.stack([chunk.mean(0) for chunk in support_z[order].chunk(ways)])
    both = torch.cat([query_z, c])
    gram = both @ both.mT
    lengths = gram.diagonal()
    return (2 * gram - lengths - lengths[:, None])[: len(query_z), len(query_z) :]


@right(exercises.prototype_logits)
def _(support_z, support_y, query_z, ways):
    """PairwiseDistance without its epsilon, over repeated rows."""
    c = torch.vstack([support_z[support_y == n].mean(dim=0) for n in range(ways)])
    q = query_z.repeat_interleave(ways, dim=0)
    d = F.pairwise_distance(q, c.repeat(len(query_z), 1), eps=0.0)
    return (-d.pow(2)).reshape(len(query_z), ways)


@right(exercises.prototype_logits)
def _(support_z, support_y, query_z, ways):
    classes = torch.unique(support_y)
    return -torch.cdist(query_z, torch.stack([support_z[support_y == c].mean(0) for c in classes]), p=2.0).square()


def prototypes_of(support_z, support_y, ways):
    return torch.stack([support_z[support_y == way].mean(0) for way in range(ways)])


def squared(query_z, prototypes):
    return ((query_z[:, None] - prototypes) ** 2).sum(2)


# The distance


@wrong(exercises.prototype_logits, "farthest away wins")
def _(support_z, support_y, query_z, ways):
    return torch.cdist(query_z, prototypes_of(support_z, support_y, ways)) ** 2


@wrong(exercises.prototype_logits, "not squared")
def _(support_z, support_y, query_z, ways):
    return -torch.cdist(query_z, prototypes_of(support_z, support_y, ways))


@wrong(exercises.prototype_logits, "not squared")
def _(support_z, support_y, query_z, ways):
    return -squared(query_z, prototypes_of(support_z, support_y, ways)).sqrt()


@wrong(exercises.prototype_logits, "Second: The distance is not squared")
def _(support_z, support_y, query_z, ways):
    return torch.cdist(query_z, prototypes_of(support_z, support_y, ways))


@wrong(exercises.prototype_logits, "squared twice")
def _(support_z, support_y, query_z, ways):
    return -(squared(query_z, prototypes_of(support_z, support_y, ways)) ** 2)


@wrong(exercises.prototype_logits, "The absolute differences are added up, which is another distance")
def _(support_z, support_y, query_z, ways):
    return -(query_z[:, None] - prototypes_of(support_z, support_y, ways)).abs().sum(-1)


@wrong(exercises.prototype_logits, "The absolute differences are added up, which is another distance")
def _(support_z, support_y, query_z, ways):
    return -torch.cdist(query_z, prototypes_of(support_z, support_y, ways), p=1)


@wrong(exercises.prototype_logits, "means of absolute differences")
def _(support_z, support_y, query_z, ways):
    return -(query_z[:, None] - prototypes_of(support_z, support_y, ways)).abs().mean(-1)


@wrong(exercises.prototype_logits, "added up before the square is taken")
def _(support_z, support_y, query_z, ways):
    return -(torch.cdist(query_z, prototypes_of(support_z, support_y, ways), p=1) ** 2)


@wrong(exercises.prototype_logits, "the maximum norm. Proto")
def _(support_z, support_y, query_z, ways):
    return -torch.cdist(query_z, prototypes_of(support_z, support_y, ways), p=float("inf"))


@wrong(exercises.prototype_logits, "the maximum norm, squared")
def _(support_z, support_y, query_z, ways):
    return -((query_z[:, None] - prototypes_of(support_z, support_y, ways)) ** 2).amax(-1)


@wrong(exercises.prototype_logits, "averaged over the embedding")
def _(support_z, support_y, query_z, ways):
    return -((query_z[:, None] - prototypes_of(support_z, support_y, ways)) ** 2).mean(dim=-1)


@wrong(exercises.prototype_logits, "Second: The squared differences are averaged over the embedding")
def _(support_z, support_y, query_z, ways):
    return ((query_z[:, None] - prototypes_of(support_z, support_y, ways)) ** 2).mean(dim=-1)


@wrong(exercises.prototype_logits, "roots of mean squared differences")
def _(support_z, support_y, query_z, ways):
    return -((query_z[:, None] - prototypes_of(support_z, support_y, ways)) ** 2).mean(dim=-1).sqrt()


@wrong(exercises.prototype_logits, "divided by the root of the embedding's size")
def _(support_z, support_y, query_z, ways):
    return -squared(query_z, prototypes_of(support_z, support_y, ways)) / math.sqrt(query_z.shape[1])


@wrong(exercises.prototype_logits, "The logits are half as large as they should be")
def _(support_z, support_y, query_z, ways):
    return -0.5 * ((query_z[:, None] - prototypes_of(support_z, support_y, ways)) ** 2).sum(dim=-1)


@wrong(exercises.prototype_logits, "All the numbers are 2 times what should be there")
def _(support_z, support_y, query_z, ways):
    return -2 * squared(query_z, prototypes_of(support_z, support_y, ways))


@wrong(exercises.prototype_logits, "The differences are added up without a square")
def _(support_z, support_y, query_z, ways):
    return -(query_z[:, None] - prototypes_of(support_z, support_y, ways)).sum(dim=-1)


@wrong(exercises.prototype_logits, "The differences are added up before they are squared")
def _(support_z, support_y, query_z, ways):
    return -((query_z[:, None] - prototypes_of(support_z, support_y, ways)).sum(dim=-1) ** 2)


@wrong(exercises.prototype_logits, "Only the lengths of the two vectors are compared")
def _(support_z, support_y, query_z, ways):
    prototypes = prototypes_of(support_z, support_y, ways)
    return -((query_z.norm(dim=1)[:, None] - prototypes.norm(dim=1)) ** 2)


@wrong(exercises.prototype_logits, "The squares are subtracted")
def _(support_z, support_y, query_z, ways):
    return -(query_z[:, None] ** 2 - prototypes_of(support_z, support_y, ways) ** 2).sum(-1)


@wrong(exercises.prototype_logits, "cosine similarities")
def _(support_z, support_y, query_z, ways):
    return F.normalize(query_z, dim=1) @ F.normalize(prototypes_of(support_z, support_y, ways), dim=1).T


@wrong(exercises.prototype_logits, "1 minus the cosine similarity")
def _(support_z, support_y, query_z, ways):
    return F.cosine_similarity(query_z[:, None], prototypes_of(support_z, support_y, ways)[None], dim=-1) - 1


@wrong(exercises.prototype_logits, "both scaled to length 1")
def _(support_z, support_y, query_z, ways):
    prototypes = F.normalize(prototypes_of(support_z, support_y, ways), dim=1)
    return -squared(F.normalize(query_z, dim=1), prototypes)


@wrong(exercises.prototype_logits, "The queries are scaled to length 1")
def _(support_z, support_y, query_z, ways):
    return -squared(F.normalize(query_z, dim=1), prototypes_of(support_z, support_y, ways))


@wrong(exercises.prototype_logits, "dot products")
def _(support_z, support_y, query_z, ways):
    return query_z @ prototypes_of(support_z, support_y, ways).T


@wrong(exercises.prototype_logits, "Query and prototype are added")
def _(support_z, support_y, query_z, ways):
    return -((query_z[:, None] + prototypes_of(support_z, support_y, ways)) ** 2).sum(-1)


@wrong(exercises.prototype_logits, "The product q·c is taken once")
def _(support_z, support_y, query_z, ways):
    c = prototypes_of(support_z, support_y, ways)
    return -((query_z**2).sum(1)[:, None] + (c**2).sum(1) - query_z @ c.T)


@wrong(exercises.prototype_logits, "The product q·c is missing")
def _(support_z, support_y, query_z, ways):
    c = prototypes_of(support_z, support_y, ways)
    return -((query_z**2).sum(1)[:, None] + (c**2).sum(1))


@wrong(exercises.prototype_logits, "squared length of the query is left out")
def _(support_z, support_y, query_z, ways):
    prototypes = prototypes_of(support_z, support_y, ways)
    return 2 * query_z @ prototypes.T - (prototypes * prototypes).sum(dim=1)


@wrong(exercises.prototype_logits, "squared length of the prototype is left out")
def _(support_z, support_y, query_z, ways):
    prototypes = prototypes_of(support_z, support_y, ways)
    return 2 * query_z @ prototypes.T - (query_z**2).sum(dim=1, keepdim=True)


@wrong(exercises.prototype_logits, "averages the squared distances to the support drawings")
def _(support_z, support_y, query_z, ways):
    distance = torch.cdist(query_z, support_z) ** 2
    return -torch.stack([distance[:, support_y == way].mean(dim=1) for way in range(ways)], dim=1)


@wrong(exercises.prototype_logits, "averages the distances to the support drawings")
def _(support_z, support_y, query_z, ways):
    distance = torch.cdist(query_z, support_z)
    return -torch.stack([distance[:, support_y == way].mean(dim=1) for way in range(ways)], dim=1)


@wrong(exercises.prototype_logits, "adds up the squared distances to the support drawings")
def _(support_z, support_y, query_z, ways):
    distance = torch.cdist(query_z, support_z) ** 2
    return -(distance @ F.one_hot(support_y, ways).float())


@wrong(exercises.prototype_logits, "squared distance to the nearest support drawing")
def _(support_z, support_y, query_z, ways):
    distance = torch.cdist(query_z, support_z) ** 2
    return -torch.stack([distance[:, support_y == way].amin(dim=1) for way in range(ways)], dim=1)


@wrong(exercises.prototype_logits, "squared distance to the farthest support drawing")
def _(support_z, support_y, query_z, ways):
    logits = -(torch.cdist(query_z, support_z) ** 2)
    return torch.stack([logits[:, support_y == way].amin(dim=1) for way in range(ways)], dim=1)


# The prototypes


@wrong(exercises.prototype_logits, "sums of the support embeddings")
def _(support_z, support_y, query_z, ways):
    sums = torch.stack([support_z[support_y == way].sum(0) for way in range(ways)])
    return -(torch.cdist(query_z, sums) ** 2)


@wrong(exercises.prototype_logits, "sums of the support embeddings")
def _(support_z, support_y, query_z, ways):
    return -squared(query_z, F.one_hot(support_y, ways).float().T @ support_z)


@wrong(exercises.prototype_logits, "divided by the number of ways")
def _(support_z, support_y, query_z, ways):
    return -squared(query_z, F.one_hot(support_y, ways).float().T @ support_z / ways)


@wrong(exercises.prototype_logits, "divided by the number of all support drawings")
def _(support_z, support_y, query_z, ways):
    member = (support_y == torch.arange(ways)[:, None]).float()
    return -squared(query_z, (member[:, :, None] * support_z).mean(dim=1))


@wrong(exercises.prototype_logits, "Only the first support drawing of each class counts")
def _(support_z, support_y, query_z, ways):
    first = [(support_y == way).nonzero()[0, 0] for way in range(ways)]
    return -squared(query_z, support_z[torch.stack(first)])


@wrong(exercises.prototype_logits, "Only the last support drawing of each class counts")
def _(support_z, support_y, query_z, ways):
    prototypes = torch.zeros(ways, support_z.shape[1])
    for z, y in zip(support_z, support_y, strict=True):
        prototypes[y] = z
    return -squared(query_z, prototypes)


@wrong(exercises.prototype_logits, "medians of the support embeddings")
def _(support_z, support_y, query_z, ways):
    medians = torch.stack([support_z[support_y == way].median(dim=0).values for way in range(ways)])
    return -squared(query_z, medians)


@wrong(exercises.prototype_logits, "hold the largest number of the class")
def _(support_z, support_y, query_z, ways):
    return -squared(query_z, torch.stack([support_z[support_y == way].max(dim=0)[0] for way in range(ways)]))


@wrong(exercises.prototype_logits, "All classes have the same prototype")
def _(support_z, support_y, query_z, ways):
    return -squared(query_z, torch.stack([support_z.mean(0) for way in range(ways)]))


@wrong(exercises.prototype_logits, "sorted by class")
def _(support_z, support_y, query_z, ways):
    prototypes = support_z.view(ways, -1, support_z.shape[1]).mean(dim=1)
    return -(torch.cdist(query_z, prototypes) ** 2)


@wrong(exercises.prototype_logits, "one of each class in turn")
def _(support_z, support_y, query_z, ways):
    prototypes = support_z.view(-1, ways, support_z.shape[1]).mean(dim=0)
    return -(torch.cdist(query_z, prototypes) ** 2)


@wrong(exercises.prototype_logits, "the first rows of support_z")
def _(support_z, support_y, query_z, ways):
    return -squared(query_z, torch.stack([support_z[way] for way in range(ways)]))


@wrong(exercises.prototype_logits, "ours with the numbers 1, 0, 2")
def _(support_z, support_y, query_z, ways):
    groups = {}
    for z, y in zip(support_z, support_y.tolist(), strict=True):
        groups.setdefault(y, []).append(z)
    return -squared(query_z, torch.stack([torch.stack(g).mean(0) for g in groups.values()]))


@wrong(exercises.prototype_logits, "ours with the numbers 2, 1, 0")
def _(support_z, support_y, query_z, ways):
    return -squared(query_z, prototypes_of(support_z, support_y, ways)).flip(1)


@wrong(exercises.prototype_logits, "The classes are counted from 1")
def _(support_z, support_y, query_z, ways):
    prototypes = torch.stack([support_z[support_y == way].mean(0) for way in range(1, ways + 1)])
    return -squared(query_z, prototypes)


@wrong(exercises.prototype_logits, "The prototypes are scaled to length 1")
def _(support_z, support_y, query_z, ways):
    return -squared(query_z, F.normalize(prototypes_of(support_z, support_y, ways), dim=1))


@wrong(exercises.prototype_logits, "scaled to length 1 before their mean is taken")
def _(support_z, support_y, query_z, ways):
    return -squared(query_z, prototypes_of(F.normalize(support_z, dim=1), support_y, ways))


@wrong(
    exercises.prototype_logits,
    "First: The sign is missing: a large distance gives a large logit, so the class that is "
    "farthest away wins, and training would push the drawings of a class apart. The nearest class should have the "
    "largest logit. Second: The prototypes are sums",
)
def _(support_z, support_y, query_z, ways):
    sums = torch.stack([support_z[support_y == way].sum(0) for way in range(ways)])
    return squared(query_z, sums)


@wrong(exercises.prototype_logits, "Second: It takes the support rows to be sorted by class")
def _(support_z, support_y, query_z, ways):
    prototypes = support_z.view(ways, -1, support_z.shape[1]).mean(dim=1)
    return -torch.cdist(query_z, prototypes)


# What is made of the distances


@wrong(exercises.prototype_logits, "probabilities: a softmax")
def _(support_z, support_y, query_z, ways):
    return F.softmax(-(torch.cdist(query_z, prototypes_of(support_z, support_y, ways)) ** 2), dim=-1)


@wrong(exercises.prototype_logits, "A softmax over the queries")
def _(support_z, support_y, query_z, ways):
    return (-squared(query_z, prototypes_of(support_z, support_y, ways))).softmax(0)


@wrong(exercises.prototype_logits, "Second: These are probabilities")
def _(support_z, support_y, query_z, ways):
    return squared(query_z, prototypes_of(support_z, support_y, ways)).softmax(1)


@wrong(exercises.prototype_logits, "log-probabilities: a log_softmax")
def _(support_z, support_y, query_z, ways):
    return F.log_softmax(-(torch.cdist(query_z, prototypes_of(support_z, support_y, ways)) ** 2), dim=-1)


@wrong(exercises.prototype_logits, "negative log-probabilities")
def _(support_z, support_y, query_z, ways):
    return -F.log_softmax(-squared(query_z, prototypes_of(support_z, support_y, ways)), dim=-1)


@wrong(exercises.prototype_logits, "The exponential is taken")
def _(support_z, support_y, query_z, ways):
    return torch.exp(-squared(query_z, prototypes_of(support_z, support_y, ways)))


@wrong(exercises.prototype_logits, "The distances are inverted")
def _(support_z, support_y, query_z, ways):
    return 1 / squared(query_z, prototypes_of(support_z, support_y, ways))


@wrong(exercises.prototype_logits, "Each row is divided by its sum")
def _(support_z, support_y, query_z, ways):
    d = squared(query_z, prototypes_of(support_z, support_y, ways))
    return d / d.sum(dim=1, keepdim=True)


@wrong(exercises.prototype_logits, "The largest logit of each query is subtracted")
def _(support_z, support_y, query_z, ways):
    logits = -squared(query_z, prototypes_of(support_z, support_y, ways))
    return logits - logits.max(dim=1, keepdim=True).values


@wrong(exercises.prototype_logits, "These are decisions, 1 for one class")
def _(support_z, support_y, query_z, ways):
    return F.one_hot(squared(query_z, prototypes_of(support_z, support_y, ways)).argmin(1), ways).float()


@wrong(exercises.prototype_logits, "It returns one class for each query")
def _(support_z, support_y, query_z, ways):
    return solutions.prototype_logits(support_z, support_y, query_z, ways).argmax(dim=1)


@wrong(exercises.prototype_logits, "A sigmoid is taken")
def _(support_z, support_y, query_z, ways):
    return torch.sigmoid(-squared(query_z, prototypes_of(support_z, support_y, ways)))


@wrong(exercises.prototype_logits, "1/(1 + d²)")
def _(support_z, support_y, query_z, ways):
    return 1 / (1 + squared(query_z, prototypes_of(support_z, support_y, ways)))


@wrong(exercises.prototype_logits, "1/(1 + d)")
def _(support_z, support_y, query_z, ways):
    return 1 / (1 + torch.cdist(query_z, prototypes_of(support_z, support_y, ways)))


@wrong(exercises.prototype_logits, "A logarithm of the squared distances")
def _(support_z, support_y, query_z, ways):
    return -torch.log(squared(query_z, prototypes_of(support_z, support_y, ways)))


@wrong(exercises.prototype_logits, "as in a matching network")
def _(support_z, support_y, query_z, ways):
    return F.softmax(-(torch.cdist(query_z, support_z) ** 2), dim=1) @ F.one_hot(support_y, ways).float()


@wrong(exercises.prototype_logits, "as in a matching network")
def _(support_z, support_y, query_z, ways):
    similar = F.cosine_similarity(query_z[:, None], support_z, dim=2).softmax(1)
    return torch.stack([similar[:, support_y == way].sum(1) for way in range(ways)], dim=1)


@wrong(exercises.prototype_logits, "The distance is the angle")
def _(support_z, support_y, query_z, ways):
    return -torch.acos(F.cosine_similarity(query_z[:, None], prototypes_of(support_z, support_y, ways), dim=2))


@wrong(exercises.prototype_logits, "the median of the squared distances")
def _(support_z, support_y, query_z, ways):
    distance = torch.cdist(query_z, support_z) ** 2
    return -torch.stack([distance[:, support_y == way].median(dim=1).values for way in range(ways)], dim=1)


@wrong(exercises.prototype_logits, "It takes a logsumexp")
def _(support_z, support_y, query_z, ways):
    logits = -(torch.cdist(query_z, support_z) ** 2)
    return torch.stack([logits[:, support_y == way].logsumexp(dim=1) for way in range(ways)], dim=1)


@wrong(exercises.prototype_logits, "Each drawing in turn is averaged")
def _(support_z, support_y, query_z, ways):
    prototypes = torch.zeros(ways, support_z.shape[1])
    for z, y in zip(support_z, support_y, strict=True):
        prototypes[y] = (prototypes[y] + z) / 2
    return -squared(query_z, prototypes)


@wrong(exercises.prototype_logits, "The prototype of the last class is zero")
def _(support_z, support_y, query_z, ways):
    prototypes = torch.zeros(ways, support_z.shape[1])
    for way in range(ways - 1):
        prototypes[way] = support_z[support_y == way].mean(0)
    return -squared(query_z, prototypes)


@wrong(exercises.prototype_logits, "The prototype of class 0 is zero")
def _(support_z, support_y, query_z, ways):
    prototypes = torch.zeros(ways, support_z.shape[1])
    for way in range(1, ways):
        prototypes[way] = support_z[support_y == way].mean(0)
    return -squared(query_z, prototypes)


@wrong(exercises.prototype_logits, "divided by one more than the number of its drawings")
def _(support_z, support_y, query_z, ways):
    sums, counts = torch.zeros(ways, support_z.shape[1]), torch.ones(ways, 1)
    for z, y in zip(support_z, support_y, strict=True):
        sums[y] += z
        counts[y] += 1
    return -squared(query_z, sums / counts)


@wrong(exercises.prototype_logits, "All queries have the same logits")
def _(support_z, support_y, query_z, ways):
    prototypes = prototypes_of(support_z, support_y, ways)
    return -torch.stack([torch.stack([((query_z - c) ** 2).sum() for c in prototypes]) for _ in query_z])


@wrong(exercises.prototype_logits, "The rows are right, but they stand in another order")
def _(support_z, support_y, query_z, ways):
    return -squared(query_z, prototypes_of(support_z, support_y, ways)).flip(0)


@wrong(exercises.prototype_logits, "agree with ours to a few digits only")
def _(support_z, support_y, query_z, ways):
    return -squared(query_z.half(), prototypes_of(support_z.half(), support_y, ways)).float()


@wrong(exercises.prototype_logits, "The logits have the dtype torch.int64")
def _(support_z, support_y, query_z, ways):
    return -squared(query_z, prototypes_of(support_z, support_y, ways)).long()


@wrong(exercises.prototype_logits, "There is one column for each dimension of the embedding")
def _(support_z, support_y, query_z, ways):
    return -((query_z[:, None] - prototypes_of(support_z, support_y, ways)) ** 2).sum(1)


@wrong(exercises.prototype_logits, "There is one column for each support drawing")
def _(support_z, support_y, query_z, ways):
    return -squared(query_z, torch.stack([support_z[support_y == y].mean(0) for y in set(support_y)]))


@wrong(exercises.prototype_logits, "There is one number for each class; there should be")
def _(support_z, support_y, query_z, ways):
    return torch.stack([-(torch.norm(query_z - c) ** 2) for c in prototypes_of(support_z, support_y, ways)])


@wrong(exercises.prototype_logits, "There is one number for each query; there should be")
def _(support_z, support_y, query_z, ways):
    return -squared(query_z, prototypes_of(support_z, support_y, ways)).min(dim=1).values


@wrong(exercises.prototype_logits, "These look like prototypes")
def _(support_z, support_y, query_z, ways):
    return prototypes_of(support_z, support_y, ways)


@wrong(exercises.prototype_logits, "[6, 2]; it should be [6, 3]. One class is missing")
def _(support_z, support_y, query_z, ways):
    return -squared(query_z, prototypes_of(support_z, support_y, ways - 1))


@wrong(exercises.prototype_logits, "the shape [1, 3]; it should be [6, 3]")
def _(support_z, support_y, query_z, ways):
    return -squared(query_z[:1], prototypes_of(support_z, support_y, ways))


@wrong(exercises.prototype_logits, "Every number is off by the same amount")
def _(support_z, support_y, query_z, ways):
    return 1 - squared(query_z, prototypes_of(support_z, support_y, ways))


@wrong(exercises.prototype_logits, "transposed")
def _(support_z, support_y, query_z, ways):
    return -(torch.cdist(prototypes_of(support_z, support_y, ways), query_z) ** 2)


@wrong(exercises.prototype_logits, "transposed")
def _(support_z, support_y, query_z, ways):
    return torch.stack([-((query_z - p) ** 2).sum(1) for p in prototypes_of(support_z, support_y, ways)])


@wrong(
    exercises.prototype_logits, "The logits have the shape [6, 3, 1]; it should be [6, 3]. There is one axis too many"
)
def _(support_z, support_y, query_z, ways):
    return -((query_z[:, None] - prototypes_of(support_z, support_y, ways)) ** 2).sum(dim=2, keepdim=True)


@wrong(
    exercises.prototype_logits,
    "The logits have the shape [6, 3, 8]; it should be [6, 3]. The squared differences should be added up",
)
def _(support_z, support_y, query_z, ways):
    return -((query_z[:, None] - prototypes_of(support_z, support_y, ways)) ** 2)


@wrong(exercises.prototype_logits, "With one query, the logits have the shape [4]")
def _(support_z, support_y, query_z, ways):
    return solutions.prototype_logits(support_z, support_y, query_z, ways).squeeze()


@wrong(exercises.prototype_logits, "The logits have the shape []; it should be [6, 3]. It is one number only")
def _(support_z, support_y, query_z, ways):
    return -((query_z[:, None] - prototypes_of(support_z, support_y, ways)) ** 2).sum()


@wrong(exercises.prototype_logits, "It stopped with RuntimeError: The size of tensor a (6) must match")
def _(support_z, support_y, query_z, ways):
    return -((query_z - prototypes_of(support_z, support_y, ways)) ** 2).sum(dim=1)


@wrong(exercises.prototype_logits, "one tensor of logits [Q, ways]; yours is a list of 6")
def _(support_z, support_y, query_z, ways):
    return list(solutions.prototype_logits(support_z, support_y, query_z, ways))


@wrong(exercises.prototype_logits, "one tensor of logits [Q, ways]; yours is a tuple of 2")
def _(support_z, support_y, query_z, ways):
    return solutions.prototype_logits(support_z, support_y, query_z, ways), ways


@wrong(exercises.prototype_logits, "It returns a NumPy array")
def _(support_z, support_y, query_z, ways):
    return solutions.prototype_logits(support_z, support_y, query_z, ways).detach().numpy()


# The gradient, the arguments, and numbers in the code


@wrong(exercises.prototype_logits, "cut off from the support embeddings")
def _(support_z, support_y, query_z, ways):
    prototypes = torch.tensor(prototypes_of(support_z, support_y, ways).tolist())
    return -(torch.cdist(query_z, prototypes) ** 2)


@wrong(exercises.prototype_logits, "cut off from the support embeddings")
def _(support_z, support_y, query_z, ways):
    with torch.no_grad():
        prototypes = prototypes_of(support_z, support_y, ways)
    return -squared(query_z, prototypes)


@wrong(exercises.prototype_logits, "cut off from the query embeddings")
def _(support_z, support_y, query_z, ways):
    return -(torch.cdist(query_z.detach(), prototypes_of(support_z, support_y, ways)) ** 2)


@wrong(exercises.prototype_logits, "cut off from the support and the query embeddings")
def _(support_z, support_y, query_z, ways):
    logits = torch.zeros(len(query_z), ways)
    for i, q in enumerate(query_z):
        for n, c in enumerate(prototypes_of(support_z, support_y, ways)):
            logits[i, n] = -((q - c) ** 2).sum().item()
    return logits


@wrong(exercises.prototype_logits, "cut off from the support and the query embeddings")
@torch.no_grad()
def _(support_z, support_y, query_z, ways):
    return -squared(query_z, prototypes_of(support_z, support_y, ways))


@wrong(exercises.prototype_logits, "the gradient that flows back to the support embeddings is not")
def _(support_z, support_y, query_z, ways):
    c = prototypes_of(support_z, support_y, ways)
    return 2 * query_z @ c.T - (c.detach() ** 2).sum(1) - (query_z**2).sum(1, keepdim=True)


@wrong(exercises.prototype_logits, "changes its arguments")
def _(support_z, support_y, query_z, ways):
    support_z.data -= support_z.data.mean(dim=0)
    return solutions.prototype_logits(support_z, support_y, query_z, ways)


@wrong(exercises.prototype_logits, "There are five columns")
def _(support_z, support_y, query_z, ways):
    return -squared(query_z, prototypes_of(support_z, support_y, 5))


@wrong(exercises.prototype_logits, "With 5 ways, 1 shot and 10 queries, it stopped with RuntimeError")
def _(support_z, support_y, query_z, ways):
    prototypes = support_z[support_y.argsort()].view(ways, 4, -1).mean(dim=1)
    return -squared(query_z, prototypes)


@wrong(
    exercises.prototype_logits, "Right with 3 ways, 4 shots and 6 queries, but wrong with 5 ways, 1 shot and 10 queries"
)
def _(support_z, support_y, query_z, ways):
    sums = torch.stack([support_z[support_y == way].sum(0) for way in range(ways)])
    return -squared(query_z, sums / 4)


@wrong(exercises.prototype_logits, "None of the logits is a finite number")
def _(support_z, support_y, query_z, ways):
    return solutions.prototype_logits(support_z, support_y, query_z, ways) * torch.nan


@wrong(exercises.prototype_logits, "All the logits are the same number, 0,")
def _(support_z, support_y, query_z, ways):
    return torch.zeros(len(query_z), ways)


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
    z = statistics.NormalDist().inv_cdf(0.975)
    return statistics.fmean(values), z * statistics.stdev(values) / len(values) ** 0.5


@right(exercises.confidence_interval)
def _(accuracies):
    return torch.stack([accuracies.mean(), 1.96 * accuracies.std() / accuracies.shape[0] ** 0.5])


@right(exercises.confidence_interval)
def _(accuracies):
    """By hand, with the mean of squares."""
    count = mean = squares = 0
    for a in accuracies:
        count += 1
        mean += float(a)
        squares += float(a) ** 2
    mean /= count
    return mean, 1.96 * math.sqrt((squares / count - mean**2) / count)


@right(exercises.confidence_interval)
def _(accuracies):
    """The standard deviation of E, over √(E - 1): the same as that of E - 1, over √E."""
    a = accuracies.double().numpy()
    return np.array([np.mean(a), 1.96 * np.std(a) / np.sqrt(a.size - 1)])


@right(exercises.confidence_interval)
def _(accuracies):
    std, mean = torch.std_mean(accuracies)
    return mean, 1.96 * std * len(accuracies) ** -0.5


@right(exercises.confidence_interval)
def _(accuracies):
    mean = accuracies.sum() / len(accuracies)
    variance = ((accuracies - mean) ** 2).sum() / (len(accuracies) - 1)
    error = (variance / len(accuracies)) ** 0.5
    return mean, 1.96 * error


@right(exercises.confidence_interval)
def _(accuracies):
    """Half the distance between the ends."""
    middle, error = accuracies.mean(), accuracies.std(unbiased=False).div(math.sqrt(len(accuracies)))
    low, high = middle - 1.96 * error, middle + 1.96 * error
    return middle, (high - low) / 2


@right(exercises.confidence_interval)
def _(accuracies):
    mean, half = solutions.confidence_interval(accuracies)
    return f"{mean:.3f}" and mean.numpy(), np.float32(half)


@right(exercises.confidence_interval)
def _(accuracies):
    """Tensors of shape [1], and the whole in double."""
    a = accuracies.to(torch.float64)
    return [a.mean(0, keepdim=True), 1.96 * a.std(0, keepdim=True, correction=0) / torch.tensor(len(a)).sqrt()]


@right(exercises.confidence_interval)
def _(accuracies):
    score = collections.namedtuple("score", "mean ci95")
    deviation = statistics.pstdev(accuracies.tolist())
    return score(ci95=1.96 * deviation / math.sqrt(len(accuracies)), mean=sum(accuracies.tolist()) / len(accuracies))


@right(exercises.confidence_interval)
def _(accuracies):
    normal = torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor(0.975))
    covariance = torch.cov(accuracies)
    return accuracies.mean(), normal * torch.sqrt(covariance / accuracies.numel())


# The division


@wrong(exercises.confidence_interval, "A division is missing, by √E or, under a root, by E, so")
def _(accuracies):
    return accuracies.mean(), 1.96 * accuracies.std()


@wrong(exercises.confidence_interval, "A division is missing, by √E or, under a root, by E, so")
def _(accuracies):
    return accuracies.mean(), 1.96 * np.std(accuracies.numpy())


@wrong(exercises.confidence_interval, "Second: The factor 1.96 is missing. One")
def _(accuracies):
    return np.mean(accuracies.numpy()), np.std(accuracies.numpy())


@wrong(exercises.confidence_interval, "Second: The factor 1.96 is missing. One")
def _(accuracies):
    return accuracies.mean(), accuracies.std()


@wrong(exercises.confidence_interval, "not by the root, so the interval is far too narrow")
def _(accuracies):
    return accuracies.mean(), 1.96 * accuracies.std() / accuracies.numel()


@wrong(exercises.confidence_interval, "not by the root, so the interval is far too narrow")
def _(accuracies):
    return accuracies.mean(), 1.96 * accuracies.std() / (len(accuracies) - 1)


@wrong(exercises.confidence_interval, "It divides by √(E - 1)")
def _(accuracies):
    return accuracies.mean(), 1.96 * accuracies.std() / math.sqrt(len(accuracies) - 1)


@wrong(exercises.confidence_interval, "The half width grows with √E")
def _(accuracies):
    return accuracies.mean(), 1.96 * accuracies.std() * len(accuracies) ** 0.5


@wrong(exercises.confidence_interval, "It multiplies by the number of episodes")
def _(accuracies):
    return accuracies.mean(), 1.96 * accuracies.std() * len(accuracies)


@wrong(exercises.confidence_interval, "a root is taken twice")
def _(accuracies):
    return accuracies.mean(), 1.96 * accuracies.std() / math.sqrt(len(accuracies) ** 0.5)


# The factor


@wrong(exercises.confidence_interval, "The factor 1.96 is missing")
def _(accuracies):
    return accuracies.mean(), (accuracies.var() / len(accuracies)) ** 0.5


@wrong(exercises.confidence_interval, "The factor 1.96 is missing")
def _(accuracies):
    return accuracies.mean(), np.std(accuracies.tolist()) / math.sqrt(len(accuracies))


@wrong(exercises.confidence_interval, "2 in place of 1.96. That")
def _(accuracies):
    return accuracies.mean(), 2 * accuracies.std() / len(accuracies) ** 0.5


@wrong(exercises.confidence_interval, "The factor is that of a 90 % interval")
def _(accuracies):
    return accuracies.mean(), 1.645 * accuracies.std() / len(accuracies) ** 0.5


@wrong(exercises.confidence_interval, "The factor is that of a 90 % interval")
def _(accuracies):
    z = statistics.NormalDist().inv_cdf(0.95)
    return accuracies.mean(), z * accuracies.std() / len(accuracies) ** 0.5


@wrong(exercises.confidence_interval, "The factor is that of a 99 % interval")
def _(accuracies):
    return accuracies.mean(), 2.576 * accuracies.std() / len(accuracies) ** 0.5


@wrong(exercises.confidence_interval, "The factor is 3")
def _(accuracies):
    return accuracies.mean(), 3 * accuracies.std() / len(accuracies) ** 0.5


@wrong(exercises.confidence_interval, "full width of the interval, 2 · 1.96")
def _(accuracies):
    return accuracies.mean(), 3.92 * accuracies.std() / len(accuracies) ** 0.5


@wrong(exercises.confidence_interval, "divided by 2 once more")
def _(accuracies):
    return accuracies.mean(), 1.96 * accuracies.std() / len(accuracies) ** 0.5 / 2


@wrong(exercises.confidence_interval, "The factor is √1.96")
def _(accuracies):
    return accuracies.mean(), (1.96 * accuracies.var() / len(accuracies)).sqrt()


@wrong(exercises.confidence_interval, "The factor 1.96 is squared")
def _(accuracies):
    return accuracies.mean(), 1.96**2 * accuracies.std() / len(accuracies) ** 0.5


@wrong(exercises.confidence_interval, "It multiplies by the probability")
def _(accuracies):
    return accuracies.mean(), 0.95 * accuracies.std() / len(accuracies) ** 0.5


@wrong(exercises.confidence_interval, "The factor is 1.964, Student's for 600 episodes")
def _(accuracies):
    return accuracies.mean(), 1.964 * accuracies.std() / len(accuracies) ** 0.5


@wrong(exercises.confidence_interval, "The factor is Student's, which depends")
def _(accuracies):
    student = {600: 1.96394, 9: 2.306, 5: 2.77645}[len(accuracies)]  # as scipy.stats.t.ppf(0.975, E - 1) has it
    return accuracies.mean(), student * accuracies.std() / len(accuracies) ** 0.5


@wrong(exercises.confidence_interval, "The half width is 1.5 s / √E")
def _(accuracies):
    return accuracies.mean(), 1.5 * accuracies.std() / len(accuracies) ** 0.5


# The spread


@wrong(exercises.confidence_interval, "It uses the variance in place of the standard deviation. A")
def _(accuracies):
    return accuracies.mean(), 1.96 * accuracies.var() / math.sqrt(len(accuracies))


@wrong(
    exercises.confidence_interval,
    "A variance is in squared units, so for accuracies below 1 the interval comes out far "
    "too narrow. The standard deviation is its root.",
)
def _(accuracies):
    return accuracies.mean(), 1.96 * accuracies.var() / len(accuracies)


@wrong(
    exercises.confidence_interval,
    "A variance is in squared units, so for accuracies below 1 the interval comes out far "
    "too narrow. The standard deviation is its root.",
)
def _(accuracies):
    return accuracies.mean(), 1.96 * np.var(accuracies.numpy()) / len(accuracies)


@wrong(exercises.confidence_interval, "root of the standard deviation, one root too many")
def _(accuracies):
    return accuracies.mean(), 1.96 * accuracies.std() ** 0.5 / math.sqrt(len(accuracies))


@wrong(exercises.confidence_interval, "mean absolute deviation")
def _(accuracies):
    return accuracies.mean(), 1.96 * (accuracies - accuracies.mean()).abs().mean() / len(accuracies) ** 0.5


@wrong(exercises.confidence_interval, "without subtracting the mean")
def _(accuracies):
    return accuracies.mean(), 1.96 * (accuracies**2).mean().sqrt() / len(accuracies) ** 0.5


@wrong(exercises.confidence_interval, "one coin flip")
def _(accuracies):
    p = accuracies.mean().item()
    return p, 1.96 * math.sqrt(p * (1 - p) / len(accuracies))


@wrong(exercises.confidence_interval, "It uses the range")
def _(accuracies):
    return accuracies.mean(), 1.96 * (accuracies.max() - accuracies.min()) / len(accuracies) ** 0.5


@wrong(exercises.confidence_interval, "come from the percentiles")
def _(accuracies):
    return accuracies.quantile(0.025), accuracies.quantile(0.975)


@wrong(exercises.confidence_interval, "come from the percentiles")
def _(accuracies):
    low, high = np.percentile(accuracies.numpy(), [2.5, 97.5])
    return accuracies.mean(), (high - low) / 2


@wrong(exercises.confidence_interval, "something is drawn at random")
def _(accuracies):
    again = accuracies[torch.randint(len(accuracies), (500, len(accuracies)))].mean(dim=1)
    return accuracies.mean(), 1.96 * again.std()


# The mean


@wrong(exercises.confidence_interval, "is the median")
def _(accuracies):
    return accuracies.median(), 1.96 * accuracies.std() / len(accuracies) ** 0.5


@wrong(exercises.confidence_interval, "is the median")
def _(accuracies):
    return np.median(accuracies), 1.96 * np.std(accuracies.numpy()) / len(accuracies) ** 0.5


@wrong(exercises.confidence_interval, "is the largest accuracy")
def _(accuracies):
    return accuracies.max(), 1.96 * accuracies.std() / len(accuracies) ** 0.5


@wrong(exercises.confidence_interval, "is the sum of the accuracies")
def _(accuracies):
    return accuracies.sum(), 1.96 * accuracies.std() / len(accuracies) ** 0.5


@wrong(exercises.confidence_interval, "is divided by E - 1")
def _(accuracies):
    return accuracies.sum() / (len(accuracies) - 1), 1.96 * accuracies.std() / len(accuracies) ** 0.5


@wrong(exercises.confidence_interval, "is the accuracy of the last episode")
def _(accuracies):
    return accuracies[-1], 1.96 * accuracies.std() / len(accuracies) ** 0.5


@wrong(exercises.confidence_interval, "Second: The first number is the median")
def _(accuracies):
    return accuracies.median(), accuracies.std() / len(accuracies) ** 0.5


# What comes back


@wrong(exercises.confidence_interval, "two ends of the interval, mean")
def _(accuracies):
    half = 1.96 * accuracies.std() / len(accuracies) ** 0.5
    return accuracies.mean() - half, accuracies.mean() + half


@wrong(exercises.confidence_interval, "two ends of the interval, mean")
def _(accuracies):
    half = 1.96 * accuracies.std(correction=0) / len(accuracies) ** 0.5
    return accuracies.mean() - half, accuracies.mean() + half


@wrong(exercises.confidence_interval, "The second number is one end of the interval")
def _(accuracies):
    return accuracies.mean(), accuracies.mean() + 1.96 * accuracies.std() / len(accuracies) ** 0.5


@wrong(exercises.confidence_interval, "a hundred times as large")
def _(accuracies):
    percent = 100 * accuracies
    return percent.mean(), 1.96 * percent.std() / len(percent) ** 0.5


@wrong(exercises.confidence_interval, "The half width is a hundred times as large, as in per cent, beside")
def _(accuracies):
    return accuracies.mean(), 196 * accuracies.std() / len(accuracies) ** 0.5


@wrong(exercises.confidence_interval, "The two numbers are exchanged")
def _(accuracies):
    return 1.96 * accuracies.std() / len(accuracies) ** 0.5, accuracies.mean()


@wrong(exercises.confidence_interval, "The half width is negative")
def _(accuracies):
    return accuracies.mean(), -1.96 * accuracies.std() / len(accuracies) ** 0.5


@wrong(exercises.confidence_interval, "yours is a tuple of 3")
def _(accuracies):
    return accuracies.mean(), accuracies.std(), 1.96 * accuracies.std() / len(accuracies) ** 0.5


@wrong(exercises.confidence_interval, "yours is three, the mean and the two ends")
def _(accuracies):
    mean, half = solutions.confidence_interval(accuracies)
    return mean, mean - half, mean + half


@wrong(exercises.confidence_interval, "yours is one number, the mean; the half width is missing")
def _(accuracies):
    return accuracies.mean()


@wrong(exercises.confidence_interval, "yours is one number, the half width; the mean is missing")
def _(accuracies):
    return 1.96 * np.std(accuracies.numpy()) / len(accuracies) ** 0.5


@wrong(exercises.confidence_interval, "yours is the text '80.")
def _(accuracies):
    mean, half = solutions.confidence_interval(100 * accuracies)
    return f"{mean:.2f} ± {half:.2f} %"


@wrong(exercises.confidence_interval, "The mean should be one number; yours is the text")
def _(accuracies):
    mean, half = solutions.confidence_interval(accuracies)
    return f"{mean:.4f}", f"{half:.4f}"


@wrong(exercises.confidence_interval, "yours is a dict")
def _(accuracies):
    mean, half = solutions.confidence_interval(accuracies)
    return {"mean": mean, "half": half}


@wrong(exercises.confidence_interval, "The half width should be one number; yours is a tensor of shape [600]")
def _(accuracies):
    return accuracies.mean(), 1.96 * (accuracies - accuracies.mean()).abs() / len(accuracies) ** 0.5


@wrong(exercises.confidence_interval, "Some of the numbers are not finite")
def _(accuracies):
    return accuracies.mean(), 1.96 * accuracies.std() / torch.tensor(0.0)  # of a counter that was never moved


@wrong(exercises.confidence_interval, "changes its arguments")
def _(accuracies):
    return accuracies.mean(), 1.96 * accuracies.sub_(accuracies.mean()).square_().mean() ** 0.5 / 600**0.5


@wrong(exercises.confidence_interval, "The half width is 1.96 s / 24.49, however many")
def _(accuracies):
    return accuracies.mean(), 1.96 * accuracies.std() / 600**0.5


@wrong(exercises.confidence_interval, "right, but rounded")
def _(accuracies):
    return round(accuracies.mean().item(), 2), round(1.96 * accuracies.std().item() / len(accuracies) ** 0.5, 4)


@wrong(exercises.confidence_interval, "The mean is 0.8053, both for 600 accuracies and for 9 other ones")
def _(accuracies):
    return 0.8053333, 0.0129510


@wrong(exercises.confidence_interval, "The half width is zero, both")
def _(accuracies):
    return accuracies.mean(), 0


@wrong(exercises.confidence_interval, "that of Wilson's interval")
def _(accuracies):
    p, n, z = accuracies.mean().item(), len(accuracies), 1.96
    return p, z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)


@wrong(exercises.confidence_interval, "The second number is the variance")
def _(accuracies):
    return accuracies.mean(), accuracies.var()


@wrong(exercises.confidence_interval, "The second number is s² / E")
def _(accuracies):
    return accuracies.mean(), accuracies.var() / len(accuracies)


@wrong(exercises.confidence_interval, "The second number is the square of the half width")
def _(accuracies):
    return accuracies.mean(), (1.96 * accuracies.std()) ** 2 / len(accuracies)


@wrong(exercises.confidence_interval, "the mean minus and plus the standard deviation")
def _(accuracies):
    return accuracies.mean() - accuracies.std(), accuracies.mean() + accuracies.std()


@wrong(exercises.confidence_interval, "These numbers come from the smallest and the largest accuracy")
def _(accuracies):
    return accuracies.min(), accuracies.max()


@wrong(exercises.confidence_interval, "These numbers come from the smallest and the largest accuracy")
def _(accuracies):
    return accuracies.mean(), (accuracies.max() - accuracies.min()) / 2


@wrong(exercises.confidence_interval, "1.96 is added to the standard error")
def _(accuracies):
    return accuracies.mean(), 1.96 + accuracies.std() / math.sqrt(len(accuracies))


@wrong(exercises.confidence_interval, "It divides by 1.96")
def _(accuracies):
    return accuracies.mean(), accuracies.std() / math.sqrt(len(accuracies)) / 1.96


@wrong(exercises.confidence_interval, "It divides by the standard deviation")
def _(accuracies):
    return accuracies.mean(), 1.96 * math.sqrt(len(accuracies)) / accuracies.std()


@wrong(exercises.confidence_interval, "the distance between the quartiles")
def _(accuracies):
    low, high = np.percentile(accuracies.numpy(), [25, 75])
    return accuracies.mean(), 1.96 * (high - low) / math.sqrt(len(accuracies))


@wrong(exercises.confidence_interval, "The deviations are taken from the median")
def _(accuracies):
    spread = (accuracies - accuracies.median()).square().mean().sqrt()
    return accuracies.mean(), 1.96 * spread / math.sqrt(len(accuracies))


@wrong(exercises.confidence_interval, "divided by the mean, so it is relative")
def _(accuracies):
    return accuracies.mean(), 1.96 * accuracies.std() / accuracies.mean() / math.sqrt(len(accuracies))


@wrong(exercises.confidence_interval, "the logarithm of the number of episodes")
def _(accuracies):
    return accuracies.mean(), 1.96 * accuracies.std() / math.log(len(accuracies))


@wrong(exercises.confidence_interval, "The first number is the most frequent accuracy")
def _(accuracies):
    return accuracies.mode().values, 1.96 * accuracies.std() / math.sqrt(len(accuracies))


@wrong(exercises.confidence_interval, "These are an end of the interval and the mean")
def _(accuracies):
    mean, half = solutions.confidence_interval(accuracies)
    return mean - half, mean


@wrong(exercises.confidence_interval, "The mean is 100 times what should be there")
def _(accuracies):
    mean, half = solutions.confidence_interval(accuracies)
    return 100 * mean, half


@wrong(exercises.confidence_interval, "A division is missing, by √E or, under a root, by E, so")
def _(accuracies):
    squares = sum((a - accuracies.mean()) ** 2 for a in accuracies)  # not divided by E
    return accuracies.mean(), 1.96 * squares.sqrt() / len(accuracies) ** 0.5


@wrong(exercises.confidence_interval, "Second: Both numbers are a hundred times as large")
def _(accuracies):
    return 100 * accuracies.mean(), 100 * accuracies.std() / len(accuracies) ** 0.5


@wrong(exercises.confidence_interval, "Second: The two numbers are exchanged")
def _(accuracies):
    return accuracies.std() / len(accuracies) ** 0.5, accuracies.mean()


# Slips that a strict reader of the checks made


@wrong(exercises.confidence_interval, "E ** 1/2 as (E ** 1) / 2")
def _(accuracies):
    return accuracies.mean(), 1.96 * accuracies.std() / (len(accuracies) ** 1 / 2)


@wrong(exercises.confidence_interval, "come from half precision")
def _(accuracies):
    return accuracies.half().mean(), 1.96 * accuracies.half().std() / math.sqrt(len(accuracies))


@wrong(exercises.confidence_interval, "come from half precision")
def _(accuracies):
    short = accuracies.bfloat16()
    return short.mean().item(), 1.96 * short.std().item() / math.sqrt(len(accuracies))


@wrong(exercises.confidence_interval, "with 9 episodes, the half width is 0.2, but 0.192471 rounds to 0.19")
def _(accuracies):
    half = 2 * accuracies.std().item() / math.sqrt(len(accuracies))
    return round(accuracies.mean().item(), 2), round(half, 2)


@wrong(exercises.confidence_interval, "The interval is cut at 1")
def _(accuracies):
    mean = accuracies.mean()
    return mean, torch.minimum(1.96 * accuracies.std() / math.sqrt(len(accuracies)), 1 - mean)


@wrong(exercises.confidence_interval, "The half width is 1.96 s / 1.732, however many")
def _(accuracies):
    return accuracies.mean(), 1.96 * accuracies.std() / math.sqrt(3)


@wrong(exercises.confidence_interval, "The half width is 1.96 · 0.2 / √E, whatever")
def _(accuracies):
    return accuracies.mean(), 1.96 * 0.2 / math.sqrt(len(accuracies))


@wrong(exercises.confidence_interval, "divided by E + 1")
def _(accuracies):
    squares = ((accuracies - accuracies.mean()) ** 2).sum()
    return accuracies.mean(), 1.96 * (squares / (len(accuracies) + 1)).sqrt() / math.sqrt(len(accuracies))


@wrong(exercises.confidence_interval, "by the logarithm of E + 1")
def _(accuracies):
    return accuracies.mean(), 1.96 * accuracies.std() / math.log(len(accuracies) + 1)


@wrong(exercises.confidence_interval, "the mean without the best and the worst")
def _(accuracies):
    return accuracies.sort().values[1:-1].mean(), 1.96 * accuracies.std() / math.sqrt(len(accuracies))


def squared_distances(query_z, prototypes):
    return ((query_z[:, None] - prototypes) ** 2).sum(dim=-1)


def class_means(support_z, support_y, ways):
    return torch.stack([support_z[support_y == way].mean(dim=0) for way in range(ways)])


@wrong(exercises.prototype_logits, "All embeddings are scaled to length 1 first")
def _(support_z, support_y, query_z, ways):
    prototypes = class_means(F.normalize(support_z, dim=1), support_y, ways)
    return -squared_distances(F.normalize(query_z, dim=1), prototypes)


@wrong(
    exercises.prototype_logits, "The logits have the shape [1, 6, 3]; it should be [6, 3]. There is one axis too many."
)
def _(support_z, support_y, query_z, ways):
    return -squared_distances(query_z, class_means(support_z, support_y, ways))[None]


@wrong(exercises.prototype_logits, "The sum of a class is divided by 5")
def _(support_z, support_y, query_z, ways):
    return -squared_distances(query_z, torch.zeros(ways, support_z.shape[1]).index_add(0, support_y, support_z) / 5)


@wrong(exercises.prototype_logits, "The mean of a class is taken over the embedding as well")
def _(support_z, support_y, query_z, ways):
    prototypes = torch.stack([support_z[support_y == way].mean() for way in range(ways)])
    return -squared_distances(query_z, prototypes[:, None])


@wrong(exercises.prototype_logits, "subtracted from the prototypes, but not from the queries")
def _(support_z, support_y, query_z, ways):
    return -squared_distances(query_z, class_means(support_z, support_y, ways) - support_z.mean(dim=0))


@wrong(exercises.prototype_logits, "The labels are used as row numbers")
def _(support_z, support_y, query_z, ways):
    return -squared_distances(query_z, support_z[support_y].reshape(ways, -1, support_z.shape[1]).mean(dim=1))


@wrong(exercises.prototype_logits, "would fail with five. Second: It takes the support rows to be sorted")
def _(support_z, support_y, query_z, ways):
    return -squared_distances(query_z, support_z.reshape(ways, -1, support_z.shape[1]).sum(dim=1))


@wrong(
    exercises.deal_episode, "With 7 characters of 9 drawings each, 4 ways, 3 shots and 1 query, some characters come up"
)
def _(images, ways, shots, queries, generator):
    """The first and the last character half as often, by rounding."""
    chosen = []
    while len(chosen) < ways:
        number = round(torch.rand((), generator=generator).item() * (len(images) - 1))
        if number not in chosen:
            chosen.append(number)
    return deal(images, ways, shots, queries, generator, chosen=torch.tensor(chosen))


@wrong(exercises.deal_episode, "were replaced by the next one")
def _(images, ways, shots, queries, generator):
    """What is taken already is replaced by what comes next."""
    drawings = []
    for _ in range(ways):
        drawn = []
        for _ in range(shots + queries):
            number = torch.randint(images.shape[1], (), generator=generator).item()
            while number in drawn:
                number = (number + 1) % images.shape[1]
            drawn.append(number)
        drawings.append(drawn)
    return deal(images, ways, shots, queries, generator, drawings=torch.tensor(drawings))


# fine_tune


@right(exercises.fine_tune)
def _(support_z, support_y, ways, steps, lr):
    """With an optimizer."""
    weight = torch.zeros(support_z.shape[1], ways, requires_grad=True)
    bias = torch.zeros(ways, requires_grad=True)
    optimizer = torch.optim.SGD([weight, bias], lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(support_z @ weight + bias, support_y).backward()
        optimizer.step()
    return weight, bias


@right(exercises.fine_tune)
def _(support_z, support_y, ways, steps, lr):
    """With a layer of PyTorch, whose weight is the other way round."""
    layer = torch.nn.Linear(support_z.shape[1], ways)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    optimizer = torch.optim.SGD(layer.parameters(), lr=lr)
    for _ in range(steps):
        layer.zero_grad()
        torch.nn.CrossEntropyLoss()(layer(support_z), support_y).backward()
        optimizer.step()
    return layer.weight.detach().T, layer.bias.detach()


@right(exercises.fine_tune)
def _(support_z, support_y, ways, steps, lr):
    """The gradient by hand: probabilities minus one-hot labels."""
    weight, bias = torch.zeros(support_z.shape[1], ways), torch.zeros(ways)
    target = torch.eye(ways)[support_y]
    for _ in range(steps):
        error = ((support_z @ weight + bias).softmax(1) - target) / len(support_z)
        weight, bias = weight - lr * support_z.T @ error, bias - lr * error.sum(0)
    return weight, bias


@right(exercises.fine_tune)
def _(support_z, support_y, ways, steps, lr):
    """The bias as a further row, and a list."""
    z = torch.cat([support_z, torch.ones(len(support_z), 1)], dim=1)
    theta = torch.zeros(z.shape[1], ways, requires_grad=True)
    for _ in range(steps):
        (g,) = torch.autograd.grad(F.cross_entropy(z @ theta, support_y), theta)
        theta = (theta - lr * g).detach().requires_grad_()
    return [theta[:-1], theta[-1]]


@right(exercises.fine_tune)
def _(support_z, support_y, ways, steps, lr):
    """With torch.func."""

    def loss(layer):
        log_p = F.log_softmax(support_z @ layer["w"] + layer["b"], dim=1)
        return F.nll_loss(log_p, support_y)

    layer = {"w": support_z.new_zeros(support_z.shape[1], ways), "b": support_z.new_zeros(ways)}
    for _ in range(steps):
        gradient = torch.func.grad(loss)(layer)
        layer = {name: p - lr * gradient[name] for name, p in layer.items()}
    return layer["w"], layer["b"]


@right(exercises.fine_tune)
def _(support_z, support_y, ways, steps, lr):
    """In NumPy."""
    z, y = support_z.numpy(), support_y.numpy()
    w, b = np.zeros((z.shape[1], ways)), np.zeros(ways)
    for _ in range(steps):
        e = np.exp(z @ w + b)
        p = e / e.sum(1, keepdims=True)
        p[np.arange(len(y)), y] -= 1
        w, b = w - lr * z.T @ p / len(y), b - lr * p.mean(0)
    return torch.from_numpy(w), torch.from_numpy(b)


@right(exercises.fine_tune)
def _(support_z, support_y, ways, steps, lr):
    """By .data and .grad."""
    w, b = (torch.zeros(shape, requires_grad=True) for shape in ((support_z.size(1), ways), (ways,)))
    for _ in range(steps):
        w.grad = b.grad = None
        F.cross_entropy(torch.addmm(b, support_z, w), support_y).backward()
        for p in (w, b):
            p.data.sub_(p.grad, alpha=lr)
    return w.data, b.data


@right(exercises.fine_tune)
def _(support_z, support_y, ways, steps, lr):
    """In double precision, by recursion."""
    z = support_z.double()

    def go(weight, bias, left):
        if left == 0:
            return weight, bias
        weight, bias = weight.requires_grad_(), bias.requires_grad_()
        loss = -(z @ weight + bias).log_softmax(1)[torch.arange(len(z)), support_y].mean()
        a, b = torch.autograd.grad(loss, (weight, bias))
        return go((weight - lr * a).detach(), (bias - lr * b).detach(), left - 1)

    return go(torch.zeros(z.shape[1], ways).double(), torch.zeros(ways).double(), steps)


def trained_layer(loss, *, make=torch.optim.SGD, times=lambda steps: range(steps), clear=True):
    """An answer that trains with some loss of (logits, labels)."""

    def answer(support_z, support_y, ways, steps, lr):
        weight = torch.zeros(support_z.shape[1], ways, requires_grad=True)
        bias = torch.zeros(ways, requires_grad=True)
        optimizer = make([weight, bias], lr=lr)
        for _ in times(steps):
            if clear:
                optimizer.zero_grad()
            loss(support_z @ weight + bias, support_y).backward()
            optimizer.step()
        return weight.detach(), bias.detach()

    return answer


wrong(exercises.fine_tune, "the sum over the support drawings")(
    trained_layer(torch.nn.CrossEntropyLoss(reduction="sum"))
)
wrong(exercises.fine_tune, "applies its own")(trained_layer(lambda a, y: F.cross_entropy(F.softmax(a, dim=1), y)))
wrong(exercises.fine_tune, "squared difference of the logits")(
    trained_layer(lambda a, y: ((a - F.one_hot(y, a.shape[1])) ** 2).mean())
)
wrong(exercises.fine_tune, "squared difference of the probabilities")(
    trained_layer(lambda a, y: ((a.softmax(1) - F.one_hot(y, a.shape[1])) ** 2).mean())
)
wrong(exercises.fine_tune, "binary cross-entropy")(
    trained_layer(lambda a, y: torch.nn.BCEWithLogitsLoss()(a, torch.eye(a.shape[1])[y]))
)
wrong(exercises.fine_tune, "its logarithm is missing")(
    trained_layer(lambda a, y: -a.softmax(1)[torch.arange(len(y)), y].mean())
)
wrong(exercises.fine_tune, "It climbs")(trained_layer(lambda a, y: -F.cross_entropy(a, y)))
wrong(exercises.fine_tune, "those of Adam")(trained_layer(F.cross_entropy, make=torch.optim.Adam))
wrong(exercises.fine_tune, "a momentum of 0.9")(
    trained_layer(F.cross_entropy, make=lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9))
)
wrong(exercises.fine_tune, "gradients add up from step to step")(trained_layer(F.cross_entropy, clear=False))
wrong(exercises.fine_tune, "one step too few")(trained_layer(F.cross_entropy, times=lambda n: range(1, n)))
wrong(exercises.fine_tune, "one step too many")(trained_layer(F.cross_entropy, times=lambda n: range(n + 1)))
wrong(exercises.fine_tune, "a single step")(trained_layer(F.cross_entropy, times=lambda n: range(1)))
wrong(exercises.fine_tune, "Two things are wrong.")(
    trained_layer(torch.nn.CrossEntropyLoss(reduction="sum"), times=lambda n: range(1, n))
)


@wrong(exercises.fine_tune, "The bias stays at zero")
def _(support_z, support_y, ways, steps, lr):
    weight = torch.zeros(support_z.shape[1], ways, requires_grad=True)
    for _ in range(steps):
        (g,) = torch.autograd.grad(F.cross_entropy(support_z @ weight, support_y), weight)
        weight = (weight - lr * g).detach().requires_grad_()
    return weight, torch.zeros(ways)


@wrong(exercises.fine_tune, "a step for each drawing")
def _(support_z, support_y, ways, steps, lr):
    weight, bias = torch.zeros(support_z.shape[1], ways), torch.zeros(ways)
    for _ in range(steps):
        for z, y in zip(support_z, support_y, strict=True):
            error = (z @ weight + bias).softmax(0) - torch.eye(ways)[y]
            weight, bias = weight - lr * torch.outer(z, error), bias - lr * error
    return weight, bias


@wrong(exercises.fine_tune, "scaled to length 1 first")
def _(support_z, support_y, ways, steps, lr):
    return exercises.fine_tune.answer(F.normalize(support_z, dim=1), support_y, ways, steps, lr)


@wrong(exercises.fine_tune, "sorted by class")
def _(support_z, support_y, ways, steps, lr):
    labels = torch.arange(len(support_z)) // (len(support_z) // ways)
    return exercises.fine_tune.answer(support_z, labels, ways, steps, lr)


@wrong(exercises.fine_tune, "The weight is transposed")
def _(support_z, support_y, ways, steps, lr):
    weight, bias = exercises.fine_tune.answer(support_z, support_y, ways, steps, lr)
    return weight.T, bias


@wrong(exercises.fine_tune, "The bias comes first")
def _(support_z, support_y, ways, steps, lr):
    return exercises.fine_tune.answer(support_z, support_y, ways, steps, lr)[::-1]


@wrong(exercises.fine_tune, "Are these the logits?")
def _(support_z, support_y, ways, steps, lr):
    weight, bias = exercises.fine_tune.answer(support_z, support_y, ways, steps, lr)
    return support_z @ weight + bias, bias


@wrong(exercises.fine_tune, "It should return two tensors")
def _(support_z, support_y, ways, steps, lr):
    return exercises.fine_tune.answer(support_z, support_y, ways, steps, lr)[0]


@wrong(exercises.fine_tune, "it gives different results")
def _(support_z, support_y, ways, steps, lr):
    """A layer as PyTorch makes it, with random weights."""
    layer = torch.nn.Linear(support_z.shape[1], ways)
    optimizer = torch.optim.SGD(layer.parameters(), lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(layer(support_z), support_y).backward()
        optimizer.step()
    return layer.weight.T, layer.bias


# train_step

logits_of = solutions.prototype_logits


@right(exercises.train_step)
def _(embed, optimizer, support_x, support_y, query_x, query_y, ways):
    """By split, and as a tensor."""
    support_z, query_z = embed(torch.cat([support_x, query_x])).split([len(support_x), len(query_x)])
    loss = F.cross_entropy(logits_of(support_z, support_y, query_z, ways), query_y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


@right(exercises.train_step)
def _(embed, optimizer, support_x, support_y, query_x, query_y, ways):
    """The queries first, the gradients set to zero, not to None."""
    z = embed(torch.cat((query_x, support_x), dim=0))
    logits = logits_of(z[len(query_x) :], support_y, z[: len(query_x)], ways)
    optimizer.zero_grad(set_to_none=False)
    loss = torch.nn.CrossEntropyLoss()(logits, query_y)
    loss.backward()
    optimizer.step()
    return float(loss)


@right(exercises.train_step)
def _(embed, optimizer, support_x, support_y, query_x, query_y, ways):
    """The loss spelt out."""
    optimizer.zero_grad()
    x = torch.vstack([support_x, query_x])
    z = embed(x)
    rows = torch.arange(len(query_x))
    log_p = logits_of(z[: -len(query_x)], support_y, z[-len(query_x) :], ways).log_softmax(dim=1)
    loss = -log_p[rows, query_y].mean()
    loss.backward()
    optimizer.step()
    return loss.detach()


@right(exercises.train_step)
def _(embed, optimizer, support_x, support_y, query_x, query_y, ways):
    """By a closure, as some optimizers want it."""

    def closure():
        optimizer.zero_grad()
        support_z, query_z = embed(torch.cat([support_x, query_x])).tensor_split([len(support_x)])
        loss = F.nll_loss(F.log_softmax(logits_of(support_z, support_y, query_z, ways), 1), query_y)
        loss.backward()
        return loss

    return optimizer.step(closure).item()


@right(exercises.train_step)
def _(embed, optimizer, support_x, support_y, query_x, query_y, ways):
    """With prototypes of its own."""
    z = embed(torch.cat([support_x, query_x]))
    member = F.one_hot(support_y, ways).float()
    prototypes = member.T @ z[: len(support_y)] / member.sum(0)[:, None]
    loss = F.cross_entropy(-torch.cdist(z[len(support_y) :], prototypes).square(), query_y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


@right(exercises.train_step)
def _(embed, optimizer, support_x, support_y, query_x, query_y, ways):
    """The gradients cleared by hand, and put in by hand."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    z = embed(torch.cat([support_x, query_x]))
    loss = F.cross_entropy(logits_of(z[: len(support_x)], support_y, z[len(support_x) :], ways), query_y)
    for p, g in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        p.grad = g
    optimizer.step()
    return loss.item()


@right(exercises.train_step)
def _(embed, optimizer, support_x, support_y, query_x, query_y, ways):
    """The sum of the queries' losses, divided by their number; cleared after the step as well."""
    optimizer.zero_grad()
    n = len(support_x)
    z = embed(torch.cat([support_x, query_x]))
    loss = F.cross_entropy(logits_of(z[:n], support_y, z[n:], ways), query_y, reduction="sum") / len(query_y)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


@right(exercises.train_step)
def _(embed, optimizer, support_x, support_y, query_x, query_y, ways):
    """The labels of both sets in one, and a mask."""
    z = embed(torch.cat([support_x, query_x]))
    is_query = torch.arange(len(z)) >= len(support_x)
    loss = F.cross_entropy(logits_of(z[~is_query], support_y, z[is_query], ways), query_y)
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    optimizer.step()
    return loss.item()


def step_with(
    *,
    before=lambda optimizer: optimizer.zero_grad(),
    embed_both=lambda embed, s, q: embed(torch.cat([s, q])).split([len(s), len(q)]),
    loss_of=lambda logits, y: F.cross_entropy(logits, y),
    after=lambda optimizer, loss: (loss.backward(), optimizer.step()),
    result=lambda loss: loss.item(),
):
    """An answer with some parts replaced."""

    def answer(embed, optimizer, support_x, support_y, query_x, query_y, ways):
        before(optimizer)
        support_z, query_z = embed_both(embed, support_x, query_x)
        loss = loss_of(logits_of(support_z, support_y, query_z, ways), query_y)
        after(optimizer, loss)
        return result(loss)

    return answer


def pushed_apart(logits, y):
    return F.cross_entropy(-logits, y)


wrong(exercises.train_step, "The old gradients are not cleared")(step_with(before=lambda optimizer: None))
wrong(exercises.train_step, "embedded in two calls")(step_with(embed_both=lambda embed, s, q: (embed(s), embed(q))))
wrong(exercises.train_step, "the farthest prototype wins")(step_with(loss_of=pushed_apart))
wrong(exercises.train_step, "A softmax is applied")(
    step_with(loss_of=lambda logits, y: F.cross_entropy(logits.softmax(dim=1), y))
)
wrong(exercises.train_step, "The distances are not squared")(
    step_with(loss_of=lambda logits, y: F.cross_entropy(-(1e-12 - logits).sqrt(), y))
)
wrong(exercises.train_step, "The loss is the sum over the queries")(
    step_with(loss_of=lambda logits, y: F.cross_entropy(logits, y, reduction="sum"))
)
wrong(exercises.train_step, "one minus the mean probability")(
    step_with(loss_of=lambda logits, y: 1 - logits.softmax(1)[torch.arange(len(y)), y].mean())
)
wrong(exercises.train_step, "the parameters do not change")(step_with(after=lambda optimizer, loss: loss.backward()))
wrong(exercises.train_step, "steps twice")(
    step_with(after=lambda optimizer, loss: (loss.backward(), optimizer.step(), optimizer.step()))
)
wrong(exercises.train_step, "The step climbs")(
    step_with(after=lambda optimizer, loss: ((-loss).backward(), optimizer.step()))
)
wrong(exercises.train_step, "The step comes before backward()")(
    step_with(
        before=lambda optimizer: (optimizer.step(), optimizer.zero_grad()), after=lambda _o, loss: loss.backward()
    )
)
wrong(exercises.train_step, "through the support embeddings")(
    step_with(
        embed_both=lambda embed, s, q: (embed(torch.cat([s, q]))[: len(s)].detach(), embed(torch.cat([s, q]))[len(s) :])
    )
)
wrong(exercises.train_step, "through the query embeddings")(
    step_with(
        embed_both=lambda embed, s, q: (embed(torch.cat([s, q]))[: len(s)], embed(torch.cat([s, q]))[len(s) :].detach())
    )
)
wrong(exercises.train_step, "Two things are wrong.")(step_with(before=lambda optimizer: None, loss_of=pushed_apart))
wrong(exercises.train_step, "The loss should be one number")(
    step_with(loss_of=lambda logits, y: F.cross_entropy(logits, y), result=lambda loss: {"loss": loss})
)
wrong(exercises.train_step, "It stopped with RuntimeError")(
    step_with(embed_both=torch.no_grad()(lambda embed, s, q: embed(torch.cat([s, q])).split([len(s), len(q)])))
)


@wrong(exercises.train_step, "The loss is that of the support drawings")
def _(embed, optimizer, support_x, support_y, query_x, query_y, ways):
    z = embed(torch.cat([support_x, query_x]))[: len(support_x)]
    loss = F.cross_entropy(logits_of(z, support_y, z, ways), support_y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


@wrong(exercises.train_step, "that of support and query drawings together")
def _(embed, optimizer, support_x, support_y, query_x, query_y, ways):
    z = embed(torch.cat([support_x, query_x]))
    y = torch.cat([support_y, query_y])
    loss = F.cross_entropy(logits_of(z[: len(support_x)], support_y, z, ways), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


@wrong(exercises.train_step, "computed again after it")
def _(embed, optimizer, *episode):
    exercises.train_step.answer(embed, optimizer, *episode)
    support_x, support_y, query_x, query_y, ways = episode
    with torch.no_grad():
        z = embed(torch.cat([support_x, query_x]))
        return F.cross_entropy(logits_of(z[: len(support_x)], support_y, z[len(support_x) :], ways), query_y).item()


# paired_difference


@right(exercises.paired_difference)
def _(a, b, student):
    """With a loop."""
    differences = [float(x) - float(y) for x, y in zip(a, b, strict=True)]
    s = statistics.stdev(differences)
    return statistics.fmean(differences), float(student[len(differences) - 1]) * s / math.sqrt(len(differences))


@right(exercises.paired_difference)
def _(a, b, student):
    """In NumPy."""
    d = a.numpy() - b.numpy()
    return d.mean(), student.numpy()[d.size - 1] * d.std(ddof=1) / np.sqrt(d.size)


@right(exercises.paired_difference)
def _(a, b, student):
    """One tensor of two."""
    d = torch.sub(a, b)
    return torch.stack([d.mean(), student[d.numel() - 1] * d.std(unbiased=True) * d.numel() ** -0.5])


@right(exercises.paired_difference)
def _(a, b, student):
    """The mean as the difference of the means, and a list."""
    n = a.shape[0]
    return [a.mean() - b.mean(), student[n - 1] * ((a - b).var() / n).sqrt()]


@right(exercises.paired_difference)
def _(a, b, student):
    """The variance of a difference by variances and covariance."""
    n = len(a)
    covariance = torch.cov(torch.stack([a, b]))
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    return (a - b).sum() / n, student[n - 1] * (variance / n) ** 0.5


@right(exercises.paired_difference)
def _(a, b, student):
    """By std_mean."""
    std, mean = torch.std_mean(a - b)
    return mean, student[len(a) - 1] * std / len(a) ** 0.5


@right(exercises.paired_difference)
def _(a, b, student):
    """The standard error from the deviations."""
    d = a - b
    n = len(d)
    error = (((d - d.mean()) ** 2).sum() / (n * (n - 1))).sqrt()
    return d.mean().item(), (student[n - 1] * error).item()


@right(exercises.paired_difference)
def _(a, b, student):
    """With the deviation that divides by S, mended by hand."""
    d = (a - b).double()
    n = len(d)
    return d.mean(), student[n - 1] * d.std(correction=0) / (n - 1) ** 0.5


wrong(exercises.paired_difference, "wrong sign")(
    lambda a, b, student: exercises.paired_difference.answer(b, a, student)
)
wrong(exercises.paired_difference, "The absolute differences are averaged")(
    lambda a, b, student: ((a - b).abs().mean(), student[len(a) - 1] * (a - b).std() / len(a) ** 0.5)
)
wrong(exercises.paired_difference, "the median difference")(
    lambda a, b, student: ((a - b).median(), student[len(a) - 1] * (a - b).std() / len(a) ** 0.5)
)
wrong(exercises.paired_difference, "the sum of the differences")(
    lambda a, b, student: (sum(a - b), student[len(a) - 1] * (a - b).std() / len(a) ** 0.5)
)
wrong(exercises.paired_difference, "divides by S, not by S - 1")(
    lambda a, b, student: ((a - b).mean(), student[len(a) - 1] * np.std((a - b).numpy()) / len(a) ** 0.5)
)
wrong(exercises.paired_difference, "made of the variance")(
    lambda a, b, student: ((a - b).mean(), student[len(a) - 1] * (a - b).var() / len(a) ** 0.5)
)
wrong(exercises.paired_difference, "adds the variances of both methods")(
    lambda a, b, student: ((a - b).mean(), student[len(a) - 1] * ((a.var() + b.var()) / len(a)) ** 0.5)
)
wrong(exercises.paired_difference, "adds the two standard deviations")(
    lambda a, b, student: ((a - b).mean(), student[len(a) - 1] * (a.std() + b.std()) / len(a) ** 0.5)
)
wrong(exercises.paired_difference, "that of a alone")(
    lambda a, b, student: ((a - b).mean(), student[len(a) - 1] * a.std() / len(a) ** 0.5)
)
wrong(exercises.paired_difference, "The division by √S is missing")(
    lambda a, b, student: ((a - b).mean(), student[len(a) - 1] * (a - b).std())
)
wrong(exercises.paired_difference, "It divides by S, not by its root")(
    lambda a, b, student: ((a - b).mean(), student[len(a) - 1] * (a - b).std() / len(a))
)
wrong(exercises.paired_difference, "divides by √(S - 1)")(
    lambda a, b, student: ((a - b).mean(), student[len(a) - 1] * (a - b).std() / (len(a) - 1) ** 0.5)
)
wrong(exercises.paired_difference, "t for S degrees of freedom")(
    lambda a, b, student: ((a - b).mean(), student[len(a)] * (a - b).std() / len(a) ** 0.5)
)
wrong(exercises.paired_difference, "It takes 1.96")(
    lambda a, b, student: ((a - b).mean(), 1.96 * (a - b).std() / len(a) ** 0.5)
)
wrong(exercises.paired_difference, "this is the standard error")(
    lambda a, b, student: ((a - b).mean(), (a - b).std() / len(a) ** 0.5)
)
wrong(exercises.paired_difference, "whole width")(
    lambda a, b, student: ((a - b).mean(), 2 * student[len(a) - 1] * (a - b).std() / len(a) ** 0.5)
)
wrong(exercises.paired_difference, "The two numbers are exchanged")(
    lambda a, b, student: exercises.paired_difference.answer(a, b, student)[::-1]
)


@wrong(exercises.paired_difference, "the two ends of the interval")
def _(a, b, student):
    middle, half = exercises.paired_difference.answer(a, b, student)
    return middle - half, middle + half


wrong(exercises.paired_difference, "These are percentages")(
    lambda a, b, student: tuple(100 * x for x in exercises.paired_difference.answer(a, b, student))
)
wrong(exercises.paired_difference, "It should return two numbers")(lambda a, b, student: (a - b).mean())
wrong(exercises.paired_difference, "Right with 5 seeds, but wrong with 8 seeds")(
    lambda a, b, student: ((a - b).mean(), 2.776 * (a - b).std() / len(a) ** 0.5)
)
wrong(exercises.paired_difference, "Two things are wrong.")(
    lambda a, b, student: ((b - a).mean(), 1.96 * (a - b).std() / len(a) ** 0.5)
)
