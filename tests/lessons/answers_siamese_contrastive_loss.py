"""Answers to the exercises of the Siamese lesson."""

import random

import torch
import torch.nn.functional as F
from answers import right, wrong

from metalab.lessons.siamese_contrastive_loss import exercises, solutions

# contrastive_loss


@right(exercises.contrastive_loss)
def _(distance, same, margin):
    y = same.float()
    return y * distance**2 + (1 - y) * torch.relu(margin - distance) ** 2


@right(exercises.contrastive_loss)
def _(distance, same, margin):
    loss = torch.zeros_like(distance)
    loss[same] = distance[same].square()
    loss[~same] = F.relu(margin - distance[~same]).pow(2)
    return loss


@right(exercises.contrastive_loss)
def _(distance, same, margin):
    losses = []
    for d, alike in zip(distance, same.tolist(), strict=True):
        losses.append(d * d if alike else torch.maximum(torch.tensor(0.0), margin - d) ** 2)
    return torch.stack(losses)


@right(exercises.contrastive_loss)
def _(distance, same, margin):
    y = same.int()
    return distance**2 * y + (distance < margin) * (margin - distance) ** 2 * (y == 0)


@wrong(exercises.contrastive_loss, "convention is flipped")
def _(distance, same, margin):
    y = same.float()
    return (1 - y) * distance**2 + y * (margin - distance).clamp(min=0) ** 2


@wrong(exercises.contrastive_loss, "as Hadsell, Chopra & LeCun (2006) print it")
def _(distance, same, margin):
    y = same.float()
    return (1 - y) * 0.5 * distance**2 + y * 0.5 * F.relu(margin - distance) ** 2


@wrong(exercises.contrastive_loss, "Right but for a factor ½")
def _(distance, same, margin):
    y = same.float()
    return 0.5 * (y * distance**2 + (1 - y) * (margin - distance).clamp(min=0) ** 2)


@wrong(exercises.contrastive_loss, "The hinge is missing")
def _(distance, same, margin):
    return torch.where(same, distance**2, (margin - distance) ** 2)


@wrong(exercises.contrastive_loss, "The hinge is missing")
def _(distance, same, margin):
    return torch.where(same, distance**2, ((margin - distance) ** 2).clamp(min=0))


@wrong(exercises.contrastive_loss, "Nothing is squared")
def _(distance, same, margin):
    return torch.where(same, distance, F.relu(margin - distance))


@wrong(exercises.contrastive_loss, "distance of a pair of one character is not squared")
def _(distance, same, margin):
    y = same.float()
    return y * distance + (1 - y) * (margin - distance).clamp(min=0) ** 2


@wrong(exercises.contrastive_loss, "What lacks to the margin is not squared")
def _(distance, same, margin):
    y = same.float()
    return y * distance**2 + (1 - y) * (margin - distance).clamp(min=0)


@wrong(exercises.contrastive_loss, "max(0, m² - d²) in place of")
def _(distance, same, margin):
    return torch.where(same, distance**2, (margin**2 - distance**2).clamp(min=0))


@wrong(exercises.contrastive_loss, "max(0, m - d²) in place of")
def _(distance, same, margin):
    squared = distance**2
    return torch.where(same, squared, (margin - squared).clamp(min=0))


@wrong(exercises.contrastive_loss, "max(0, m - d²)² in place of")
def _(distance, same, margin):
    squared = distance**2
    return torch.where(same, squared, (margin - squared).clamp(min=0) ** 2)


@wrong(exercises.contrastive_loss, "hinge is turned around")
def _(distance, same, margin):
    return torch.where(same, distance**2, F.relu(distance - margin) ** 2)


@wrong(exercises.contrastive_loss, "hinge is turned around")
def _(distance, same, margin):
    return torch.where(same, distance**2, (margin - distance).clamp(max=0) ** 2)


@wrong(exercises.contrastive_loss, "hinge is on the wrong term")
def _(distance, same, margin):
    y = same.float()
    return y * F.relu(distance - margin) ** 2 + (1 - y) * (distance - margin) ** 2


@wrong(exercises.contrastive_loss, "hinge on both terms")
def _(distance, same, margin):
    gap = torch.where(same, distance - margin, margin - distance)
    return gap.clamp(min=0) ** 2


@wrong(exercises.contrastive_loss, "second term is subtracted")
def _(distance, same, margin):
    y = same.float()
    return y * distance**2 - (1 - y) * F.relu(margin - distance) ** 2


@wrong(exercises.contrastive_loss, "`~same` was taken of whole numbers")
def _(distance, same, margin):
    y = same.int()
    return y * distance**2 + ~y * F.relu(margin - distance) ** 2


@wrong(exercises.contrastive_loss, "Only pairs of one character count")
def _(distance, same, margin):
    return same * distance**2


@wrong(exercises.contrastive_loss, "Only pairs of two characters count")
def _(distance, same, margin):
    return ~same * F.relu(margin - distance) ** 2


@wrong(exercises.contrastive_loss, "The margin is always 1")
def _(distance, same, margin):
    return torch.where(same, distance**2, F.relu(1 - distance) ** 2)


@wrong(exercises.contrastive_loss, "one number for the whole batch")
def _(distance, same, margin):
    return torch.where(same, distance**2, F.relu(margin - distance) ** 2).mean()


@wrong(exercises.contrastive_loss, "one number for the whole batch")
def _(distance, same, margin):
    return distance[same].square().sum() + F.relu(margin - distance[~same]).square().sum()


@wrong(exercises.contrastive_loss, "of which torch takes no differences")
def _(distance, same, margin):
    return same * distance**2 + (1 - same) * F.relu(margin - distance) ** 2


@wrong(exercises.contrastive_loss, "cut off from the distances")
def _(distance, same, margin):
    loss = [d**2 if y else max(0, margin - d) ** 2 for d, y in zip(distance.tolist(), same.tolist(), strict=True)]
    return torch.tensor(loss)


@wrong(exercises.contrastive_loss, "the slope of the loss[3] should be -3; yours is 0")
def _(distance, same, margin):
    return torch.where(same, distance**2, F.relu(margin - distance.detach()) ** 2)


@wrong(exercises.contrastive_loss, "tensor with the loss of each pair, [B]; yours is a list of 8")
def _(distance, same, margin):
    return list(solutions.contrastive_loss(distance, same, margin))


@wrong(exercises.contrastive_loss, "the loss has the shape [8, 8]; it should be [8]")
def _(distance, same, margin):
    return solutions.contrastive_loss(distance, same[:, None], margin)


@wrong(exercises.contrastive_loss, "not a mistake we know")
def _(distance, same, margin):
    return 1.1 * solutions.contrastive_loss(distance, same, margin)


@wrong(exercises.contrastive_loss, "changes the distances or labels")
def _(distance, same, margin):
    distance.data.clamp_(max=margin)
    return solutions.contrastive_loss(distance, same, margin)


# draw_pairs


@right(exercises.draw_pairs)
def _(images, count, generator):
    """All at once; both kinds from the same anchors; with channels."""
    characters, drawings = images.shape[:2]
    chance = torch.rand(count, characters, generator=generator).topk(2).indices
    drawing = torch.rand(count, drawings, generator=generator).topk(2).indices
    same = torch.zeros(count, dtype=torch.bool)
    same[torch.randperm(count, generator=generator)[: count // 2]] = True
    other = torch.where(same, chance[:, 0], chance[:, 1])
    return images[chance[:, 0], drawing[:, 0]][:, None], images[other, drawing[:, 1]][:, None], same


@right(exercises.draw_pairs)
def _(images, count, generator):
    """Python's random module, seeded from the generator; characters in order; pixels scaled; first one kind."""
    dice = random.Random(torch.randint(2**31, (), generator=generator).item())
    pairs = []
    for _ in range(count // 2):
        character = dice.randrange(len(images))
        pairs.append([images[character, d] / 255 for d in dice.sample(range(images.shape[1]), 2)])
    for _ in range(count - count // 2):
        pair = sorted(dice.sample(range(len(images)), 2))
        pairs.append([images[character, dice.randrange(images.shape[1])] / 255 for character in pair])
    first, second = zip(*pairs, strict=True)
    return [torch.stack(first), torch.stack(second), torch.tensor([True] * (count // 2) + [False] * (count // 2))]


@right(exercises.draw_pairs)
def _(images, count, generator):
    """Shifted by a random step that is never the whole circle."""
    characters, drawings = images.shape[:2]

    def draw(n):
        return torch.randint(n, (count,), generator=generator)

    same = torch.arange(count) >= count // 2
    a, i = draw(characters), draw(drawings)
    b = torch.where(same, a, (a + 1 + draw(characters - 1)) % characters)
    j = torch.where(same, (i + 1 + draw(drawings - 1)) % drawings, draw(drawings))
    return images[a, i], images[b, j], same


def pairs_of(images, count, generator, *, a=None, b=None, i=None, j=None, same=None):
    """A right answer, of which the wrong ones below bend one part: characters a and b, drawings i and j."""
    characters, drawings = images.shape[:2]
    same = torch.arange(count) % 2 == 0 if same is None else same
    two = torch.rand(count, characters, generator=generator).topk(2).indices
    a = two[:, 0] if a is None else a
    b = torch.where(same, a, two[:, 1]) if b is None else b
    two = torch.rand(count, drawings, generator=generator).topk(2).indices
    return images[a, two[:, 0] if i is None else i], images[b, two[:, 1] if j is None else j], same


def numbers(n, count, generator):
    return torch.randint(n, (count,), generator=generator)


@wrong(exercises.draw_pairs, "one drawing twice")
def _(images, count, generator):
    return pairs_of(images, count, generator, j=numbers(images.shape[1], count, generator))


@wrong(exercises.draw_pairs, 'A "different" pair can show the same character')
def _(images, count, generator):
    same = torch.arange(count) % 2 == 0
    a, b = numbers(len(images), count, generator), numbers(len(images), count, generator)
    return pairs_of(images, count, generator, a=a, b=torch.where(same, a, b), same=same)


@wrong(exercises.draw_pairs, "label True show two characters")
def _(images, count, generator):
    same = torch.arange(count) % 3 == 0
    return *pairs_of(images, count, generator, same=same)[:2], same | (torch.arange(count) % 3 == 1)


@wrong(exercises.draw_pairs, "labels are the wrong way round")
def _(images, count, generator):
    first, second, same = pairs_of(images, count, generator)
    return first, second, ~same


@wrong(exercises.draw_pairs, "out of step")
def _(images, count, generator):
    first, second, same = pairs_of(images, count, generator)
    order = torch.randperm(count, generator=generator)
    return first[order], second[order], same


@wrong(exercises.draw_pairs, "two drawings taken at random rarely are")
def _(images, count, generator):
    a, b = numbers(len(images), count, generator), numbers(len(images), count, generator)
    return pairs_of(images, count, generator, a=a, b=b, same=a == b)


@wrong(exercises.draw_pairs, "as if coins were tossed")
def _(images, count, generator):
    return pairs_of(images, count, generator, same=torch.rand(count, generator=generator) < 0.5)


@wrong(exercises.draw_pairs, "80% of the pairs are of one character")
def _(images, count, generator):
    return pairs_of(images, count, generator, same=torch.arange(count) % 5 > 0)


@wrong(exercises.draw_pairs, "All pairs are of one character")
def _(images, count, generator):
    return pairs_of(images, count, generator, same=torch.ones(count, dtype=torch.bool))


@wrong(exercises.draw_pairs, "All pairs are of two characters")
def _(images, count, generator):
    return pairs_of(images, count, generator, same=torch.zeros(count, dtype=torch.bool))


@wrong(exercises.draw_pairs, "from somewhere else than the generator")
def _(images, count, generator):
    return pairs_of(images, count, None)


@wrong(exercises.draw_pairs, "from somewhere else than the generator")
def _(images, count, generator):
    return pairs_of(images, count, generator, j=torch.randint(1, images.shape[1], (count,)), i=torch.tensor(0))


@wrong(exercises.draw_pairs, "Every batch is the same one")
def _(images, count, generator):
    return pairs_of(images, count, torch.Generator().manual_seed(0))


@wrong(exercises.draw_pairs, "all pairs of one character are of the same one")
def _(images, count, generator):
    a = torch.randint(len(images), (1,), generator=generator).expand(count)
    same = torch.arange(count) % 2 == 0
    other = (a + torch.randint(1, len(images), (count,), generator=generator)) % len(images)
    return pairs_of(images, count, generator, a=a, b=torch.where(same, a, other), same=same)


@wrong(exercises.draw_pairs, "Only 11 of the 12 characters ever come up in pairs of one character")
def _(images, count, generator):
    return pairs_of(images[:-1], count, generator)


@wrong(exercises.draw_pairs, "Only 4 of the 12 characters ever come up in pairs of two characters")
def _(images, count, generator):
    same = torch.arange(count) % 2 == 0
    a = torch.where(same, numbers(len(images), count, generator), numbers(2, count, generator))
    return pairs_of(images, count, generator, a=a, b=torch.where(same, a, 2 + numbers(2, count, generator)), same=same)


@wrong(exercises.draw_pairs, "Only 10 of the 20 drawings of a character ever come up in pairs of one character")
def _(images, count, generator):
    same = torch.arange(count) % 2 == 0
    half = images.shape[1] // 2
    two = torch.rand(count, half, generator=generator).topk(2).indices + torch.where(same, 0, half)[:, None]
    return pairs_of(images, count, generator, i=two[:, 0], j=two[:, 1], same=same)


@wrong(exercises.draw_pairs, "Only 1 of the 20 drawings of a character ever come up in pairs of two characters")
def _(images, count, generator):
    same = torch.arange(count) % 2 == 0
    two = torch.rand(count, images.shape[1], generator=generator).topk(2).indices * same[:, None]
    return pairs_of(images, count, generator, i=two[:, 0], j=two[:, 1], same=same)


@wrong(exercises.draw_pairs, "is by the same hand")
def _(images, count, generator):
    same = torch.arange(count) % 2 == 0
    two = torch.rand(count, images.shape[1], generator=generator).topk(2).indices
    return pairs_of(images, count, generator, i=two[:, 0], j=torch.where(same, two[:, 1], two[:, 0]), same=same)


@wrong(exercises.draw_pairs, "Only neighbours make a pair: drawing k goes with drawing k + 1")
def _(images, count, generator):
    i = numbers(images.shape[1] - 1, count, generator)
    return pairs_of(images, count, generator, i=i, j=i + 1)


@wrong(exercises.draw_pairs, "Only neighbours make a pair: character k goes with character k + 1")
def _(images, count, generator):
    same = torch.arange(count) % 2 == 0
    a = numbers(len(images), count, generator)
    return pairs_of(images, count, generator, a=a, b=torch.where(same, a, a - 1), same=same)


@wrong(exercises.draw_pairs, "Of all 190 combinations of drawings come up in positive pairs only 19.")
def _(images, count, generator):
    i = torch.zeros(count, dtype=torch.int64)
    return pairs_of(images, count, generator, i=i, j=1 + numbers(images.shape[1] - 1, count, generator))


@wrong(exercises.draw_pairs, "Of all 190 combinations of drawings come up in positive pairs only 100.")
def _(images, count, generator):
    i, j = numbers(10, count, generator), 10 + numbers(10, count, generator)  # one half against the other
    return pairs_of(images, count, generator, i=i, j=j)


@wrong(exercises.draw_pairs, "their pixels are mixed up")
def _(images, count, generator):
    first, second, same = pairs_of(images, count, generator)
    return first.permute(1, 2, 0).reshape(first.shape), second, same


@wrong(exercises.draw_pairs, "first should hold 30 drawings of 28 × 28; yours is a tensor of shape [15, 28, 28]")
def _(images, count, generator):
    return pairs_of(images, count // 2, generator)


@wrong(exercises.draw_pairs, "same should hold 30 labels; yours is a tensor of shape [30, 2]")
def _(images, count, generator):
    first, second, same = pairs_of(images, count, generator)
    return first, second, F.one_hot(same.long(), 2)


@wrong(exercises.draw_pairs, "same has the dtype torch.float32")
def _(images, count, generator):
    first, second, same = pairs_of(images, count, generator)
    return first, second, same.float()


@wrong(exercises.draw_pairs, "first should be one tensor, as a network wants it; yours is a list of 30")
def _(images, count, generator):
    first, second, same = pairs_of(images, count, generator)
    return list(first), list(second), same


@wrong(exercises.draw_pairs, "should return first, second, same; yours is a tuple of 2")
def _(images, count, generator):
    return pairs_of(images, count, generator)[:2]


@wrong(exercises.draw_pairs, "changes `images` in place")
def _(images, count, generator):
    images /= 255
    return pairs_of(images, count, generator)


# one_shot_answers


@right(exercises.one_shot_answers)
def _(support_z, query_z):
    squared = ((query_z[:, None] - support_z[None]) ** 2).sum(dim=-1)
    nearest = squared == squared.amin(dim=1)[:, None]
    return nearest / nearest.sum(1, keepdim=True)


@right(exercises.one_shot_answers)
def _(support_z, query_z):
    distances = torch.cdist(query_z, support_z)
    shares = torch.zeros_like(distances)
    for row, share in zip(distances.tolist(), shares, strict=True):
        winners = [n for n, d in enumerate(row) if d == min(row)]
        share[winners] = 1 / len(winners)
    return shares


@right(exercises.one_shot_answers)
def _(support_z, query_z):
    rows = []
    for z in query_z:
        d = torch.linalg.vector_norm(support_z - z, dim=1)
        tie = torch.isclose(d, d.min()).double()
        rows.append(tie / tie.sum())
    return torch.stack(rows)


def lengths(support_z, query_z):
    return (query_z[:, None] - support_z).norm(dim=-1)


def split(nearest):
    return nearest / nearest.sum(dim=1, keepdim=True)


def expanded(support_z, query_z):
    """Squared distances the way that saves memory, and loses digits."""
    return (query_z**2).sum(1, keepdim=True) + (support_z**2).sum(1) - 2 * query_z @ support_z.T


@wrong(exercises.one_shot_answers, "farthest support")
def _(support_z, query_z):
    d = lengths(support_z, query_z)
    return split(d == d.amax(dim=1, keepdim=True))


@wrong(exercises.one_shot_answers, "A tie goes to the first class")
def _(support_z, query_z):
    return F.one_hot(lengths(support_z, query_z).argmin(dim=1), len(support_z))


@wrong(exercises.one_shot_answers, "Of several nearest classes one gets everything")
def _(support_z, query_z):
    last = len(support_z) - 1 - lengths(support_z, query_z).flip(1).argmin(dim=1)
    return F.one_hot(last, len(support_z)).float()


@wrong(exercises.one_shot_answers, "Of several nearest classes one gets everything")
def _(support_z, query_z):
    d = lengths(support_z, query_z)
    chosen = split(d == d.amin(dim=1, keepdim=True)).multinomial(1).squeeze(1)
    return F.one_hot(chosen, len(support_z)).float()


@wrong(exercises.one_shot_answers, "Of several nearest classes one gets everything")
def _(support_z, query_z):
    d = F.pairwise_distance(query_z[:, None], support_z)
    return split(d == d.amin(dim=1, keepdim=True))


@wrong(exercises.one_shot_answers, "probabilities, as from a softmax")
def _(support_z, query_z):
    return (-lengths(support_z, query_z)).softmax(dim=1)


@wrong(exercises.one_shot_answers, "probabilities, as from a softmax")
def _(support_z, query_z):
    return F.softmax(-0.1 * lengths(support_z, query_z) ** 2, dim=1)


@wrong(exercises.one_shot_answers, "dot product")
def _(support_z, query_z):
    return F.one_hot((query_z @ support_z.T).argmax(dim=1), len(support_z))


@wrong(exercises.one_shot_answers, "by the cosine")
def _(support_z, query_z):
    likeness = F.cosine_similarity(query_z[:, None], support_z, dim=2)
    return split(torch.isclose(likeness, likeness.amax(dim=1, keepdim=True)))


@wrong(exercises.one_shot_answers, "L1 distance")
def _(support_z, query_z):
    d = torch.cdist(query_z, support_z, p=1)
    return split(d == d.amin(dim=1, keepdim=True))


@wrong(exercises.one_shot_answers, "each support chooses its nearest query")
def _(support_z, query_z):
    d = lengths(support_z, query_z)
    nearest = (d == d.min(dim=0).values).float()
    return nearest / nearest.sum(dim=0)


@wrong(exercises.one_shot_answers, "Each of several nearest classes gets a whole 1")
def _(support_z, query_z):
    d = lengths(support_z, query_z)
    return d == d.min(dim=1, keepdim=True).values


@wrong(exercises.one_shot_answers, "In a tie nobody gets anything")
def _(support_z, query_z):
    d = lengths(support_z, query_z)
    nearest = d == d.amin(dim=1, keepdim=True)
    return nearest.float() * (nearest.sum(dim=1, keepdim=True) < 2)


@wrong(exercises.one_shot_answers, "These are the distances")
def _(support_z, query_z):
    return torch.cdist(query_z, support_z)


@wrong(exercises.one_shot_answers, "These are the distances")
def _(support_z, query_z):
    return -((query_z[:, None] - support_z) ** 2).sum(dim=2)


@wrong(exercises.one_shot_answers, "transposed")
def _(support_z, query_z):
    return solutions.one_shot_answers(support_z, query_z).T


@wrong(exercises.one_shot_answers, "one number for each query, as argmin does")
def _(support_z, query_z):
    return lengths(support_z, query_z).argmin(dim=1)


@wrong(exercises.one_shot_answers, "but nan where they lie close together")
def _(support_z, query_z):
    d = expanded(support_z, query_z).sqrt()
    return split(d == d.amin(dim=1, keepdim=True))


@wrong(exercises.one_shot_answers, "loses the distance to rounding")
def _(support_z, query_z):
    d = expanded(support_z, query_z).clamp(min=0).sqrt()
    return split(d == d.amin(dim=1, keepdim=True))


@wrong(exercises.one_shot_answers, "loses the distance to rounding")
def _(support_z, query_z):
    d = lengths(support_z, query_z)
    return split(d < d.amin(dim=1, keepdim=True) + 0.1)


@wrong(exercises.one_shot_answers, "one tensor of shares [Q, N]; yours is a list of 8")
def _(support_z, query_z):
    return solutions.one_shot_answers(support_z, query_z).tolist()


@wrong(exercises.one_shot_answers, "the share has the shape [8, 1]; it should be [8, 5]")
def _(support_z, query_z):
    return lengths(support_z, query_z).amin(dim=1, keepdim=True)


@wrong(exercises.one_shot_answers, "not a mistake we know")
def _(support_z, query_z):
    return 2 * solutions.one_shot_answers(support_z, query_z)


@wrong(exercises.one_shot_answers, "changes the embeddings")
def _(support_z, query_z):
    query_z -= support_z.mean(dim=0)
    support_z -= support_z.mean(dim=0)
    return solutions.one_shot_answers(support_z, query_z)
