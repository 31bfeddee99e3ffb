"""Answers to the exercises of the Siamese lesson."""

import itertools
import math
import random

import numpy as np
import torch
import torch.nn.functional as F
from answers import right, wrong
from torch import nn

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


@right(exercises.contrastive_loss)
def _(distance, same, margin):
    """In double precision."""
    y = same.to(torch.float64)
    return torch.addcmul(y * distance.pow(2), 1 - y, (margin - distance).clamp(min=0).pow(2))


@right(exercises.contrastive_loss)
def _(distance, same, margin):
    """The loss that torch has, with y = ±1, squared."""
    return F.hinge_embedding_loss(distance, 2 * same.float() - 1, margin=margin, reduction="none") ** 2


@right(exercises.contrastive_loss)
def _(distance, same, margin):
    """What is beyond the margin is moved to the margin."""
    inside = distance.clamp(max=margin)
    return torch.where(same, distance, margin - inside) ** 2


@right(exercises.contrastive_loss)
def _(distance, same, margin):
    def of_one_pair(d, y):
        return y * d**2 + (1 - y) * torch.clamp(margin - d, min=0.0) ** 2

    return torch.vmap(of_one_pair)(distance, same.float())


@right(exercises.contrastive_loss)
def _(distance, same, margin):
    terms = torch.stack([F.relu(margin - distance), distance]) ** 2
    return terms.gather(0, same.long()[None]).squeeze(0)


@right(exercises.contrastive_loss)
def _(distance, same, margin):
    terms = torch.stack([distance.square(), torch.relu(margin - distance).square()], dim=1)
    return torch.einsum("bk,bk->b", terms, F.one_hot((~same).long(), 2).float())


@right(exercises.contrastive_loss)
def _(distance, same, margin):
    loss = []
    for i in range(len(distance)):
        if same[i]:
            loss.append(distance[i] ** 2)
        elif distance[i] < margin:
            loss.append((margin - distance[i]) ** 2)
        else:
            loss.append(0 * distance[i])
    return torch.stack(loss)


@right(exercises.contrastive_loss)
def _(distance, same, margin):
    squared = (distance**2).masked_fill(~same, 0)
    hinge = ((margin - distance) ** 2).masked_fill(same | (distance > margin), 0)
    return squared + hinge


@right(exercises.contrastive_loss)
def _(distance, same, margin):
    gap = F.threshold(margin - distance, 0.0, 0.0)
    return torch.lerp(gap * gap, distance * distance, same.to(distance.dtype))


@right(exercises.contrastive_loss)
def _(distance, same, margin):
    loss = torch.empty(distance.shape, dtype=torch.double)
    for kind, term in ((True, lambda d: d * d), (False, lambda d: torch.max(margin - d, torch.zeros(1)) ** 2)):
        chosen = same == kind
        loss = loss.masked_scatter(chosen, term(distance[chosen]).double())
    return loss


@right(exercises.contrastive_loss)
def _(distance, same, margin):
    """One pair more or fewer axes on the way."""
    d, y = distance.view(-1, 1), same.view(-1, 1).float()
    return (y * d**2 + (1 - y) * nn.ReLU()(margin - d) ** 2).squeeze()


def terms(distance, same, margin):
    return same.float(), distance**2, (margin - distance).clamp(min=0) ** 2


# Which pairs have which term


@wrong(exercises.contrastive_loss, "convention is flipped")
def _(distance, same, margin):
    y = same.float()
    return (1 - y) * distance**2 + y * (margin - distance).clamp(min=0) ** 2


@wrong(exercises.contrastive_loss, "convention is flipped")
def _(distance, same, margin):
    return torch.where(same, F.relu(margin - distance) ** 2, distance**2)


@wrong(exercises.contrastive_loss, "as Hadsell, Chopra & LeCun (2006) print it")
def _(distance, same, margin):
    y = same.float()
    return (1 - y) * 0.5 * distance**2 + y * 0.5 * F.relu(margin - distance) ** 2


@wrong(exercises.contrastive_loss, "adds both terms for every pair")
def _(distance, same, margin):
    return distance**2 + F.relu(margin - distance) ** 2


@wrong(exercises.contrastive_loss, "The first term counts for every pair")
def _(distance, same, margin):
    y, pull, push = terms(distance, same, margin)
    return pull + (1 - y) * push


@wrong(exercises.contrastive_loss, "The second term counts for every pair")
def _(distance, same, margin):
    y, pull, push = terms(distance, same, margin)
    return y * pull + push


@wrong(exercises.contrastive_loss, "Pairs of one character have both terms")
def _(distance, same, margin):
    y, pull, push = terms(distance, same, margin)
    return y * (pull + push)


@wrong(exercises.contrastive_loss, "Pairs of two characters have both terms")
def _(distance, same, margin):
    y, pull, push = terms(distance, same, margin)
    return (1 - y) * (pull + push)


@wrong(exercises.contrastive_loss, "Every pair has the first term")
def _(distance, same, margin):
    return distance**2


@wrong(exercises.contrastive_loss, "Every pair has the first term")
def _(distance, same, margin):
    return distance**2 if same.any() else F.relu(margin - distance) ** 2


@wrong(exercises.contrastive_loss, "Every pair has the second term")
def _(distance, same, margin):
    return distance**2 if same.all() else F.relu(margin - distance) ** 2


@wrong(exercises.contrastive_loss, "the weight -1 in the first term and 2 in the second")
def _(distance, same, margin):
    y = torch.where(same, 1.0, -1.0)
    return y * distance**2 + (1 - y) * F.relu(margin - distance) ** 2


@wrong(exercises.contrastive_loss, "the weights -1 and -2, which is what ~y is")
def _(distance, same, margin):
    y = same.int()
    return y * distance**2 + ~y * F.relu(margin - distance) ** 2


@wrong(exercises.contrastive_loss, "second term is subtracted")
def _(distance, same, margin):
    y = same.float()
    return y * distance**2 - (1 - y) * F.relu(margin - distance) ** 2


@wrong(exercises.contrastive_loss, "Called twice with the same arguments, it gives different results")
def _(distance, same, margin):
    return solutions.contrastive_loss(distance, same, margin) * torch.rand(len(distance))


@wrong(exercises.contrastive_loss, "when the two terms are multiplied")
def _(distance, same, margin):
    y, pull, push = terms(distance, same, margin)
    return (y * pull) * ((1 - y) * push)


@wrong(exercises.contrastive_loss, "Only pairs of one character count")
def _(distance, same, margin):
    return same * distance**2


@wrong(exercises.contrastive_loss, "Only pairs of two characters count")
def _(distance, same, margin):
    return ~same * F.relu(margin - distance) ** 2


@wrong(exercises.contrastive_loss, "The losses stay the same when `same` is turned round")
def _(distance, same, margin):
    return torch.minimum(distance, F.relu(margin - distance)) ** 2


@wrong(exercises.contrastive_loss, "These are the distances")
def _(distance, same, margin):
    return distance


# The terms themselves


@wrong(exercises.contrastive_loss, "There is a factor ½ before both terms")
def _(distance, same, margin):
    y = same.float()
    return 0.5 * (y * distance**2 + (1 - y) * (margin - distance).clamp(min=0) ** 2)


@wrong(exercises.contrastive_loss, "The first term has a factor ½")
def _(distance, same, margin):
    return torch.where(same, distance**2 / 2, F.relu(margin - distance) ** 2)


@wrong(exercises.contrastive_loss, "The second term has a factor ½")
def _(distance, same, margin):
    return torch.where(same, distance**2, 0.5 * F.relu(margin - distance) ** 2)


@wrong(exercises.contrastive_loss, "The hinge is missing")
def _(distance, same, margin):
    return torch.where(same, distance**2, (margin - distance) ** 2)


@wrong(exercises.contrastive_loss, "The hinge is missing")
def _(distance, same, margin):
    return torch.where(same, distance**2, ((margin - distance) ** 2).clamp(min=0))


@wrong(exercises.contrastive_loss, "The hinge is missing")
def _(distance, same, margin):
    return torch.where(same, distance**2, (margin - distance).abs() ** 2)


@wrong(exercises.contrastive_loss, "with neither the hinge nor the square")
def _(distance, same, margin):
    return torch.where(same, distance**2, margin - distance)


@wrong(exercises.contrastive_loss, "The second term is |m - d|")
def _(distance, same, margin):
    return torch.where(same, distance**2, (margin - distance).abs())


@wrong(exercises.contrastive_loss, "Nothing is squared, or a root undoes the squares")
def _(distance, same, margin):
    return torch.where(same, distance, F.relu(margin - distance))


@wrong(exercises.contrastive_loss, "Nothing is squared, or a root undoes the squares")
def _(distance, same, margin):
    return F.hinge_embedding_loss(distance, same.float() * 2 - 1, margin=margin, reduction="none")


@wrong(exercises.contrastive_loss, "distance of a pair of one character is not squared")
def _(distance, same, margin):
    y = same.float()
    return y * distance + (1 - y) * (margin - distance).clamp(min=0) ** 2


@wrong(exercises.contrastive_loss, "The gap to the margin is not squared")
def _(distance, same, margin):
    y = same.float()
    return y * distance**2 + (1 - y) * (margin - distance).clamp(min=0)


@wrong(exercises.contrastive_loss, "Both terms are doubled where they should be squared")
def _(distance, same, margin):
    return torch.where(same, distance * 2, F.relu(margin - distance) * 2)


@wrong(exercises.contrastive_loss, "the distance is doubled where it should be squared: 2d")
def _(distance, same, margin):
    return torch.where(same, distance * 2, F.relu(margin - distance) ** 2)


@wrong(exercises.contrastive_loss, "the gap to the margin is doubled")
def _(distance, same, margin):
    return torch.where(same, distance**2, F.relu(margin - distance) * 2)


@wrong(exercises.contrastive_loss, "they have the fourth power")
def _(distance, same, margin):
    return torch.where(same, distance**2, F.relu(margin - distance) ** 2) ** 2


@wrong(exercises.contrastive_loss, "as if it were d² already")
def _(distance, same, margin):
    return torch.where(same, distance, F.relu(margin - (distance + 1e-12).sqrt()) ** 2)


@wrong(exercises.contrastive_loss, "Nothing is squared, or a root undoes the squares")
def _(distance, same, margin):
    return torch.where(same, distance**2, F.relu(margin - distance) ** 2).sqrt()


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


@wrong(exercises.contrastive_loss, "max(0, m² - d²)² in place of")
def _(distance, same, margin):
    return torch.where(same, distance**2, F.relu(margin**2 - distance**2) ** 2)


@wrong(exercises.contrastive_loss, "The hinge is turned around")
def _(distance, same, margin):
    return torch.where(same, distance**2, F.relu(distance - margin) ** 2)


@wrong(exercises.contrastive_loss, "The hinge is turned around")
def _(distance, same, margin):
    return torch.where(same, distance**2, (margin - distance).clamp(max=0) ** 2)


@wrong(exercises.contrastive_loss, "The second term is max(0, d - m)")
def _(distance, same, margin):
    return torch.where(same, distance**2, (distance - margin).clamp(min=0))


@wrong(exercises.contrastive_loss, "hinge is on the wrong term")
def _(distance, same, margin):
    y = same.float()
    return y * F.relu(distance - margin) ** 2 + (1 - y) * (distance - margin) ** 2


@wrong(exercises.contrastive_loss, "The first term has a hinge")
def _(distance, same, margin):
    gap = torch.where(same, distance - margin, margin - distance)
    return gap.clamp(min=0) ** 2


@wrong(exercises.contrastive_loss, "the distance is added to the margin")
def _(distance, same, margin):
    return torch.where(same, distance**2, F.relu(margin + distance) ** 2)


@wrong(exercises.contrastive_loss, "The second term is m² at every distance")
def _(distance, same, margin):
    return torch.where(same, distance**2, (margin - distance).clamp(min=margin) ** 2)


@wrong(exercises.contrastive_loss, "The hinge is a softplus")
def _(distance, same, margin):
    return torch.where(same, distance**2, F.softplus(margin - distance) ** 2)


@wrong(exercises.contrastive_loss, "except for pairs of two characters beyond the margin")
def _(distance, same, margin):
    return torch.where(same, distance**2, F.leaky_relu(margin - distance) ** 2)


@wrong(exercises.contrastive_loss, "except for pairs of two characters beyond the margin")
def _(distance, same, margin):
    return torch.where(same, distance**2, F.elu(margin - distance) ** 2)


@wrong(exercises.contrastive_loss, "In the first term, d has the power ½")
def _(distance, same, margin):
    return torch.where(same, distance**0.5, F.relu(margin - distance) ** 2)


@wrong(exercises.contrastive_loss, "In the first term, d has the third power")
def _(distance, same, margin):
    return torch.where(same, distance**3, F.relu(margin - distance) ** 2)


@wrong(exercises.contrastive_loss, "The first term is cut off at the margin")
def _(distance, same, margin):
    d = distance.clamp(max=margin)
    return torch.where(same, d**2, (margin - d) ** 2)


@wrong(exercises.contrastive_loss, "The margin is squared before the distance is subtracted")
def _(distance, same, margin):
    return torch.where(same, distance**2, F.relu(margin**2 - distance) ** 2)


@wrong(exercises.contrastive_loss, "The margin is doubled")
def _(distance, same, margin):
    return torch.where(same, distance**2, F.relu(2 * margin - distance) ** 2)


@wrong(exercises.contrastive_loss, "The margin is halved")
def _(distance, same, margin):
    return torch.where(same, distance**2, F.relu(margin / 2 - distance) ** 2)


@wrong(exercises.contrastive_loss, "as in the loss of a classifier. Here y = 1")
def _(distance, same, margin):
    y = 2 * same.float() - 1
    return F.relu(margin - y * distance) ** 2


@wrong(exercises.contrastive_loss, "Pairs of two characters have -d² next to their own term")
def _(distance, same, margin):
    y = 2 * same.float() - 1
    return y * distance**2 + (1 - y) / 2 * F.relu(margin - distance) ** 2


@wrong(exercises.contrastive_loss, "Every loss is off by the same amount")
def _(distance, same, margin):
    return solutions.contrastive_loss(distance, same, margin) + margin


@wrong(exercises.contrastive_loss, "The loss of a pair depends on the other pairs of its batch")
def _(distance, same, margin):
    return solutions.contrastive_loss(distance / distance.detach().max(), same, margin)


@wrong(exercises.contrastive_loss, "The loss of a pair depends on the other pairs of its batch")
def _(distance, same, margin):
    loss = solutions.contrastive_loss(distance, same, margin)
    return loss.mean().expand(len(loss))


@wrong(exercises.contrastive_loss, "A count has no slope")
def _(distance, same, margin):
    return torch.where(same, distance**2, (distance < margin).float())


@wrong(exercises.contrastive_loss, "A maximum was taken over the batch")
def _(distance, same, margin):
    largest = torch.max(margin - distance)  # of all pairs
    return torch.where(same, distance**2, F.relu(largest) ** 2)


@wrong(exercises.contrastive_loss, "The margin that it is given makes no difference")
def _(distance, same, margin):
    return torch.where(same, distance**2, F.relu(1 - distance) ** 2)


@wrong(exercises.contrastive_loss, "The margin that it is given makes no difference")
def _(distance, same, margin=2.0):
    margin = 2.0
    return torch.where(same, distance**2, F.relu(margin - distance) ** 2)


# Two mistakes at once


@wrong(exercises.contrastive_loss, "First: The convention is flipped")
def _(distance, same, margin):
    return torch.where(same, (margin - distance) ** 2, distance**2)


@wrong(exercises.contrastive_loss, "Second: Nothing is squared, neither the distance")
def _(distance, same, margin):
    return torch.where(same, F.relu(margin - distance), distance)


@wrong(exercises.contrastive_loss, "Second: The second term is |m - d|")
def _(distance, same, margin):
    return (distance - torch.where(same, 0.0, margin)).abs()


@wrong(exercises.contrastive_loss, "Second: The hinge is missing")
def _(distance, same, margin):
    return torch.where(same, distance, (margin - distance) ** 2)


@wrong(exercises.contrastive_loss, "Second: There is a factor ½ before both terms")
def _(distance, same, margin):
    return 0.5 * torch.where(same, distance**2, (margin - distance) ** 2)


# What is returned


@wrong(exercises.contrastive_loss, "one number for the whole batch")
def _(distance, same, margin):
    return torch.where(same, distance**2, F.relu(margin - distance) ** 2).mean()


@wrong(exercises.contrastive_loss, "one number for the whole batch")
def _(distance, same, margin):
    return distance[same].square().sum() + F.relu(margin - distance[~same]).square().sum()


@wrong(exercises.contrastive_loss, "Each loss is divided by the number of pairs, as for a mean")
def _(distance, same, margin):
    return solutions.contrastive_loss(distance, same, margin) / len(distance)


@wrong(exercises.contrastive_loss, "Each loss is divided by the number of pairs of its kind")
def _(distance, same, margin):
    y, pull, push = terms(distance, same, margin)
    return y * pull / y.sum() + (1 - y) * push / (1 - y).sum()


@wrong(exercises.contrastive_loss, "they do not stand in the order of the pairs")
def _(distance, same, margin):
    return torch.cat([distance[same] ** 2, F.relu(margin - distance[~same]) ** 2])


@wrong(exercises.contrastive_loss, "There are 4 pairs of two characters")
def _(distance, same, margin):
    return F.relu(margin - distance[~same]) ** 2


@wrong(exercises.contrastive_loss, "the first term if it is of one character, and the second")
def _(distance, same, margin):
    return torch.stack([same * distance**2, ~same * F.relu(margin - distance) ** 2])


@wrong(exercises.contrastive_loss, "the loss has the shape [9, 9]; it should be [9]. A tensor [9, 1] next to")
def _(distance, same, margin):
    return solutions.contrastive_loss(distance, same[:, None], margin)


@wrong(exercises.contrastive_loss, "the loss has the shape [9, 1]; it should be [9]. Each pair has one loss")
def _(distance, same, margin):
    return solutions.contrastive_loss(distance, same, margin)[:, None]


@wrong(exercises.contrastive_loss, "tensor with the loss of each pair, [B]; yours is a list of 9")
def _(distance, same, margin):
    return list(solutions.contrastive_loss(distance, same, margin))


@wrong(exercises.contrastive_loss, "tensor with the loss of each pair, [B]; yours is a tuple of 2")
def _(distance, same, margin):
    return distance[same] ** 2, F.relu(margin - distance[~same]) ** 2


@wrong(exercises.contrastive_loss, "tensor with the loss of each pair, [B]; yours is a NumPy array")
def _(distance, same, margin):
    return solutions.contrastive_loss(distance, same, margin).detach().numpy()


@wrong(exercises.contrastive_loss, "tensor with the loss of each pair, [B]; yours is the text")
def _(distance, same, margin):
    return f"{solutions.contrastive_loss(distance, same, margin)}"


@wrong(exercises.contrastive_loss, "tensor with the loss of each pair, [B]; yours is a generator")
def _(distance, same, margin):
    return (d**2 if y else F.relu(margin - d) ** 2 for d, y in zip(distance, same, strict=True))


@wrong(exercises.contrastive_loss, "The losses have the dtype torch.int64")
def _(distance, same, margin):
    return solutions.contrastive_loss(distance, same, margin).long()


@wrong(exercises.contrastive_loss, "The losses have the dtype torch.float16")
def _(distance, same, margin):
    return solutions.contrastive_loss(distance, same, margin).half()


@wrong(exercises.contrastive_loss, "All the numbers are minus what should be there")
def _(distance, same, margin):
    return -solutions.contrastive_loss(distance, same, margin)


@wrong(exercises.contrastive_loss, "All the numbers are 1.1 times what should be there")
def _(distance, same, margin):
    return 1.1 * solutions.contrastive_loss(distance, same, margin)


@wrong(exercises.contrastive_loss, "All the numbers are 1 / the margin squared times what should be there")
def _(distance, same, margin):
    return solutions.contrastive_loss(distance / margin, same, 1.0)


@wrong(exercises.contrastive_loss, "but not in the loss of different pairs. All the numbers are 3 times what")
def _(distance, same, margin):
    return torch.where(same, distance**2, 3 * F.relu(margin - distance) ** 2)


@wrong(exercises.contrastive_loss, "when the two terms are multiplied")
def _(distance, same, margin):
    return torch.zeros(len(distance), requires_grad=True)


@wrong(exercises.contrastive_loss, "Some of the numbers are not finite")
def _(distance, same, margin):
    return solutions.contrastive_loss(distance, same, margin) + math.nan


# The gradient


@wrong(exercises.contrastive_loss, "cut off from the distances")
def _(distance, same, margin):
    loss = [d**2 if y else max(0, margin - d) ** 2 for d, y in zip(distance.tolist(), same.tolist(), strict=True)]
    return torch.tensor(loss)


@wrong(exercises.contrastive_loss, "cut off from the distances")
def _(distance, same, margin):
    d, y = distance.detach().numpy(), same.numpy()
    return torch.from_numpy(np.where(y, d**2, np.maximum(0, margin - d) ** 2))


@wrong(exercises.contrastive_loss, "cut off from the distances")
def _(distance, same, margin):
    return solutions.contrastive_loss(distance.detach().clone().requires_grad_(), same, margin)


@wrong(exercises.contrastive_loss, "no gradient flows from the second term")
def _(distance, same, margin):
    return torch.where(same, distance**2, F.relu(margin - distance.detach()) ** 2)


@wrong(exercises.contrastive_loss, "no gradient flows from the first term")
def _(distance, same, margin):
    return torch.where(same, distance.data**2, F.relu(margin - distance) ** 2)


@wrong(exercises.contrastive_loss, "only part of the gradient flows from the first term")
def _(distance, same, margin):
    return torch.where(same, distance * distance.detach(), F.relu(margin - distance) ** 2)


@wrong(exercises.contrastive_loss, "the slope is nan for the pair at distance 0")
def _(distance, same, margin):
    d = (distance**2).sqrt()
    return torch.where(same, d**2, F.relu(margin - d) ** 2)


# What stops


@wrong(exercises.contrastive_loss, "which torch does not subtract")
def _(distance, same, margin):
    return same * distance**2 + (1 - same) * F.relu(margin - distance) ** 2


@wrong(exercises.contrastive_loss, "Only a bool tensor has ~")
def _(distance, same, margin):
    y = same.float()
    return y * distance**2 + ~y * F.relu(margin - distance) ** 2


@wrong(exercises.contrastive_loss, "max(0, margin - distance) ** 2`. That is because Python's `if`")
def _(distance, same, margin):
    return same * distance**2 + ~same * max(0, margin - distance) ** 2


@wrong(exercises.contrastive_loss, "`if same:`. That is because Python's `if`")
def _(distance, same, margin):
    if same:
        return distance**2
    return F.relu(margin - distance) ** 2


@wrong(exercises.contrastive_loss, "torch.max compares two tensors, and 0 is none")
def _(distance, same, margin):
    return torch.where(same, distance**2, torch.max(0, margin - distance) ** 2)


@wrong(exercises.contrastive_loss, "torch.max(a, 0) does not compare with 0")
def _(distance, same, margin):
    return torch.where(same, distance**2, torch.max(margin - distance, 0) ** 2)


@wrong(exercises.contrastive_loss, "float() is for a single number")
def _(distance, same, margin):
    return same * float(distance.detach()) ** 2


@wrong(exercises.contrastive_loss, "the losses require a gradient though the distances do not")
def _(distance, same, margin):
    return solutions.contrastive_loss(distance.clone().requires_grad_(), same, margin)


@wrong(exercises.contrastive_loss, "numpy knows no gradients")
def _(distance, same, margin):
    return torch.tensor(np.where(same, distance**2, np.maximum(0, margin - distance) ** 2))


@wrong(exercises.contrastive_loss, "cannot be changed in place, whether it is `distance` itself")
def _(distance, same, margin):
    loss = distance
    loss[same] = distance[same] ** 2
    return loss


@wrong(exercises.contrastive_loss, "item() is for a single number")
def _(distance, same, margin):
    return distance.item() ** 2 if same.all() else max(0, margin - distance.item()) ** 2


@wrong(exercises.contrastive_loss, "With 7 pairs and a margin of 0.7, it stopped with IndexError")
def _(distance, same, margin):
    return torch.stack([solutions.contrastive_loss(distance[i], same[i], margin) for i in range(9)])


@wrong(exercises.contrastive_loss, "as in the panel below")
def _(distance, same, margin):
    assert same.any()
    assert not same.all()
    return solutions.contrastive_loss(distance, same, margin)


@wrong(exercises.contrastive_loss, "The loss of a pair must not depend on the other pairs")
def _(distance, same, margin):
    nearest = distance[~same].min().detach() if (~same).any() else 0.0
    return torch.where(same, distance**2 + (not (~same).any()) + 0 * nearest, F.relu(margin - distance) ** 2)


@wrong(exercises.contrastive_loss, "changes the distances or labels")
def _(distance, same, margin):
    distance.data.clamp_(max=margin)
    return solutions.contrastive_loss(distance, same, margin)


@wrong(exercises.contrastive_loss, "changes the distances or labels")
def _(distance, same, margin):
    other = same.logical_not_()
    return torch.where(other, F.relu(margin - distance) ** 2, distance**2)


# draw_pairs


@right(exercises.draw_pairs)
def _(images, count, generator):
    """All at once; the pairs in random order."""
    characters, drawings = images.shape[:2]
    chance = torch.rand(count, characters, generator=generator).topk(2).indices
    drawing = torch.rand(count, drawings, generator=generator).topk(2).indices
    same = torch.zeros(count, dtype=torch.bool)
    same[torch.randperm(count, generator=generator)[: count // 2]] = True
    other = torch.where(same, chance[:, 0], chance[:, 1])
    return images[chance[:, 0], drawing[:, 0]], images[other, drawing[:, 1]], same


@right(exercises.draw_pairs)
def _(images, count, generator):
    """Python's random module, seeded from the generator; characters in order; first one kind; a list."""
    dice = random.Random(torch.randint(2**31, (), generator=generator).item())
    pairs = []
    for _ in range(count // 2):
        character = dice.randrange(len(images))
        pairs.append([images[character, d] for d in dice.sample(range(images.shape[1]), 2)])
    for _ in range(count - count // 2):
        pair = sorted(dice.sample(range(len(images)), 2))
        pairs.append([images[character, dice.randrange(images.shape[1])] for character in pair])
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


@right(exercises.draw_pairs)
def _(images, count, generator):
    """Drawn again until it is different."""

    def roll(n):
        return torch.randint(0, n, (1,), generator=generator).item()

    first, second, same = [], [], []
    for pair in range(count):
        alike = pair < count // 2
        a, i, b, j = roll(len(images)), roll(images.shape[1]), roll(len(images)), roll(images.shape[1])
        if alike:
            b = a
            while j == i:
                j = roll(images.shape[1])
        else:
            while b == a:
                b = roll(len(images))
        first.append(images[a][i])
        second.append(images[b][j])
        same.append(alike)
    return torch.stack(first), torch.stack(second), torch.tensor(same)


@right(exercises.draw_pairs)
def _(images, count, generator):
    """From a list of all the pairs there are."""
    characters, drawings = images.shape[:2]
    half = count // 2
    twos = torch.tensor(list(itertools.combinations(range(drawings), 2)))
    hands = twos[torch.randint(len(twos), (half,), generator=generator)]
    a = torch.randint(characters, (half,), generator=generator)
    twos = torch.tensor(list(itertools.combinations(range(characters), 2)))
    pairs = twos[torch.randint(len(twos), (half,), generator=generator)]
    others = torch.randint(drawings, (half, 2), generator=generator)
    first = torch.cat([images[a, hands[:, 0]], images[pairs[:, 0], others[:, 0]]])
    second = torch.cat([images[a, hands[:, 1]], images[pairs[:, 1], others[:, 1]]])
    return first, second, torch.arange(count) < half


@right(exercises.draw_pairs)
def _(images, count, generator):
    """numpy's generator, seeded from torch's; in double precision."""
    dice = np.random.default_rng(torch.randint(2**40, (1,), generator=generator).item())
    same = dice.permutation(count) < count // 2
    first, second = np.empty((2, count, 28, 28))
    pictures = images.numpy()
    for k, alike in enumerate(same):
        a, b = dice.choice(len(pictures), 2, replace=False)
        i, j = dice.choice(pictures.shape[1], 2, replace=False)
        first[k], second[k] = pictures[a, i], pictures[a if alike else b, j]
    return torch.from_numpy(first), torch.from_numpy(second), torch.from_numpy(same)


@right(exercises.draw_pairs)
def _(images, count, generator):
    """With multinomial, without replacement in each row."""
    same = (torch.arange(count) % 2).bool()
    who = torch.multinomial(torch.ones(count, len(images)), 2, generator=generator)
    hand = torch.multinomial(torch.ones(count, images.shape[1]), 2, generator=generator)
    who[same, 1] = who[same, 0]
    return images[who[:, 0], hand[:, 0]], images[who[:, 1], hand[:, 1]], same


@right(exercises.draw_pairs)
def _(images, count, generator):
    """Helpers; the characters of a batch go round, so that they come up equally often."""

    def shuffled(n):
        rounds = -(-count // n)
        return torch.cat([torch.randperm(n, generator=generator) for _ in range(rounds)])[: count // 2]

    def two_of(n):
        return torch.stack([torch.randperm(n, generator=generator)[:2] for _ in range(count // 2)], dim=1)

    a, (i, j) = shuffled(len(images)), two_of(images.shape[1])
    (b, c), (k, m) = two_of(len(images)), torch.randint(images.shape[1], (2, count // 2), generator=generator)
    first = torch.stack([images[a, i], images[b, k]], dim=1).flatten(0, 1)
    second = torch.stack([images[a, j], images[c, m]], dim=1).flatten(0, 1)
    return first, second, torch.tensor([True, False]).repeat(count // 2)


@right(exercises.draw_pairs)
def _(images, count, generator):
    """Numbers of pictures in one long row."""
    flat, drawings = images.flatten(0, 1), images.shape[1]
    first, second, labels = [], [], []
    while len(labels) < count:
        wanted = len(labels) % 2 == 1
        one, two = torch.randperm(len(flat), generator=generator)[:2].tolist()
        if (one // drawings == two // drawings) == wanted:
            first += [flat[one]]
            second += [flat[two]]
            labels += [wanted]
    return torch.stack(first), torch.stack(second), torch.BoolTensor(labels)


@right(exercises.draw_pairs)
def _(images, count, generator):
    """A negative pair takes its first drawing from the positive pair before it."""
    first, second = [], []
    for _ in range(count // 2):
        a, b = torch.randperm(images.size(0), generator=generator)[:2].tolist()
        i, j, *_ = torch.randperm(images.size(1), generator=generator).tolist()
        k = int(torch.randint(images.size(1), (1,), generator=generator))
        first.extend([images[a, i], images[a, i]])
        second.extend([images[a, j], images[b, k]])
    return torch.stack(first), torch.stack(second), torch.arange(count).remainder(2).eq(0)


@right(exercises.draw_pairs)
def _(images, count, generator):
    """Numbers in [0, 1) times the size, and a step over the first one."""

    def below(n):
        return (torch.rand(count, generator=generator) * n).long().clamp(max=n - 1)

    a, b, i, j = below(len(images)), below(len(images) - 1), below(images.shape[1]), below(images.shape[1] - 1)
    b, j = b + (b >= a), j + (j >= i)
    same = torch.cat([torch.ones(count // 2), torch.zeros(count // 2)]).bool()
    return images[a, i], torch.where(same[:, None, None], images[a, j], images[b, j]), same


@right(exercises.draw_pairs)
def _(images, count, generator):
    """The second one is the next one where the two coincide."""
    characters, drawings = images.shape[:2]
    same = torch.randperm(count, generator=generator) % 2 == 0
    a = torch.randint(characters, (count,), generator=generator)
    b = torch.randint(characters, (count,), generator=generator)
    b = torch.where(a == b, (b + 1) % characters, b)
    i = torch.randint(drawings, (count,), generator=generator)
    j = torch.randint(drawings, (count,), generator=generator)
    j = torch.where(i == j, (j + 1) % drawings, j)
    return images[a, i].clone(), images[torch.where(same, a, b), j].clone(), same


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


def one_number(n, count, generator):
    return torch.randint(n, (1,), generator=generator).expand(count)


def two_numbers(n, generator):
    return torch.randperm(n, generator=generator)[:2]


def halves(count):
    return torch.arange(count) % 2 == 0


# Labels and kinds


@wrong(exercises.draw_pairs, "one drawing twice: 100 of 1500 pairs. Its distance")
def _(images, count, generator):
    """In one pair of each batch."""
    two = torch.rand(count, images.shape[1], generator=generator).topk(2).indices
    return pairs_of(images, count, generator, i=two[:, 0], j=torch.where(torch.arange(count) > 0, two[:, 1], two[:, 0]))


@wrong(exercises.draw_pairs, "Now and then a pair of one character is one drawing twice: 173")
def _(images, count, generator):
    return pairs_of(images, count, generator, j=numbers(images.shape[1], count, generator))


@wrong(exercises.draw_pairs, "That is 1 in 8, as when the second is drawn without regard")
def _(images, count, generator):
    first, second = [], []
    for alike in halves(count):
        a, b = two_numbers(len(images), generator)
        i, j = torch.randint(images.shape[1], (2,), generator=generator)
        first.append(images[a, i])
        second.append(images[a if alike else b, j])
    return torch.stack(first), torch.stack(second), halves(count)


@wrong(exercises.draw_pairs, "Every pair of one character is one drawing twice")
def _(images, count, generator):
    two = torch.rand(count, images.shape[1], generator=generator).topk(2).indices
    return pairs_of(images, count, generator, i=two[:, 0], j=torch.where(halves(count), two[:, 0], two[:, 1]))


@wrong(exercises.draw_pairs, "That is 1 in 5, as when the second character is drawn without regard to the first")
def _(images, count, generator):
    a, b = numbers(len(images), count, generator), numbers(len(images), count, generator)
    return pairs_of(images, count, generator, a=a, b=torch.where(halves(count), a, b))


@wrong(exercises.draw_pairs, "Two things are wrong. First: Of 1500 pairs with the label False")
def _(images, count, generator):
    first, second = [], []
    for alike in halves(count):
        a, b = torch.randint(0, len(images), (2,), generator=generator)
        i, j = torch.randint(0, images.shape[1], (2,), generator=generator)
        first.append(images[a, i])
        second.append(images[a if alike else b, j])
    return torch.stack(first), torch.stack(second), halves(count)


@wrong(exercises.draw_pairs, "Of 1500 pairs with the label False, 1500 show one character")
def _(images, count, generator):
    return *pairs_of(images, count, generator, same=torch.ones(count, dtype=torch.bool))[:2], halves(count)


@wrong(exercises.draw_pairs, "Of 2000 pairs with the label True, 1000 show two characters")
def _(images, count, generator):
    same = torch.arange(count) % 3 == 0
    return *pairs_of(images, count, generator, same=same)[:2], same | (torch.arange(count) % 3 == 1)


@wrong(exercises.draw_pairs, "All labels are True, though")
def _(images, count, generator):
    return *pairs_of(images, count, generator)[:2], torch.ones(count, dtype=torch.bool)


@wrong(exercises.draw_pairs, "All labels are False, though")
def _(images, count, generator):
    return *pairs_of(images, count, generator)[:2], torch.zeros(count, dtype=torch.bool)


@wrong(exercises.draw_pairs, "labels are the wrong way round")
def _(images, count, generator):
    first, second, same = pairs_of(images, count, generator)
    return first, second, ~same


@wrong(exercises.draw_pairs, "Labels and pairs are out of step")
def _(images, count, generator):
    first, second, same = pairs_of(images, count, generator)
    order = torch.randperm(count, generator=generator)
    return first[order], second[order], same


@wrong(exercises.draw_pairs, "Labels and pairs are out of step")
def _(images, count, generator):
    a, b = numbers(len(images), count, generator), numbers(len(images), count, generator)
    return pairs_of(images, count, generator, a=a, b=b)


@wrong(exercises.draw_pairs, "Two drawings taken at random rarely are")
def _(images, count, generator):
    a, b = numbers(len(images), count, generator), numbers(len(images), count, generator)
    return pairs_of(images, count, generator, a=a, b=b, same=a == b)


@wrong(exercises.draw_pairs, "A coin for each pair gives half on average only")
def _(images, count, generator):
    return pairs_of(images, count, generator, same=torch.rand(count, generator=generator) < 0.5)


@wrong(exercises.draw_pairs, "changes from batch to batch, here from 0 to 30 of 30")
def _(images, count, generator):
    """All the pairs of a batch are of one kind."""
    return pairs_of(images, count, generator, same=(torch.rand(1, generator=generator) < 0.5).expand(count))


@wrong(exercises.draw_pairs, "In each batch 24 of the 30 pairs are of one character")
def _(images, count, generator):
    return pairs_of(images, count, generator, same=torch.arange(count) % 5 > 0)


@wrong(exercises.draw_pairs, "In each batch 16 of the 30 pairs are of one character")
def _(images, count, generator):
    return pairs_of(images, count, generator, same=torch.arange(count) <= count // 2)


@wrong(exercises.draw_pairs, "All pairs are of one character")
def _(images, count, generator):
    return pairs_of(images, count, generator, same=torch.ones(count, dtype=torch.bool))


@wrong(exercises.draw_pairs, "All pairs are of two characters")
def _(images, count, generator):
    return pairs_of(images, count, generator, same=torch.zeros(count, dtype=torch.bool))


# Where the randomness comes from


@wrong(exercises.draw_pairs, "does not come from the generator")
def _(images, count, generator):
    return pairs_of(images, count, None)


@wrong(exercises.draw_pairs, "does not come from the generator")
def _(images, count, generator):
    return pairs_of(images, count, generator, j=torch.randint(1, images.shape[1], (count,)), i=torch.tensor(0))


@wrong(exercises.draw_pairs, "does not come from the generator")
def _(images, count, generator):
    first, second, same = pairs_of(images, count, generator)
    order = torch.randperm(count)
    return first[order], second[order], same[order]


@wrong(exercises.draw_pairs, "does not come from the generator")
def _(images, count, generator):
    first, second = [], []
    for alike in halves(count):
        a, b = random.sample(range(len(images)), 2)
        i, j = random.sample(range(images.shape[1]), 2)
        first.append(images[a, i])
        second.append(images[a if alike else b, j])
    return torch.stack(first), torch.stack(second), halves(count)


@wrong(exercises.draw_pairs, "does not come from the generator")
def _(images, count, generator):
    a, b = np.random.randint(len(images)), np.random.randint(len(images) - 1)  # noqa: NPY002
    b += b >= a
    return pairs_of(images, count, generator, a=torch.tensor(a), b=torch.where(halves(count), a, b))


@wrong(exercises.draw_pairs, "Every batch is the same one")
def _(images, count, generator):
    return pairs_of(images, count, torch.Generator().manual_seed(0))


@wrong(exercises.draw_pairs, "Every batch is the same one")
def _(images, count, generator):
    generator.manual_seed(42)
    return pairs_of(images, count, generator)


@wrong(exercises.draw_pairs, "Every batch is the same one")
def _(images, count, generator):
    random.seed(0)
    who = [random.sample(range(len(images)), 2) for _ in range(count)]
    a, b = torch.tensor(who).T
    return images[a, 0], images[torch.where(halves(count), a, b), 1], halves(count)


# What varies too little


@wrong(exercises.draw_pairs, "all pairs of one character show the same character")
def _(images, count, generator):
    a = one_number(len(images), count, generator)
    other = (a + torch.randint(1, len(images), (count,), generator=generator)) % len(images)
    two = torch.rand(count, len(images), generator=generator).topk(2).indices
    a, b = torch.where(halves(count), a, two[:, 0]), torch.where(halves(count), a, two[:, 1])
    return pairs_of(images, count, generator, a=a, b=b) if len(other) else None


@wrong(exercises.draw_pairs, "Second: Within a batch, all pairs of two characters have one of their two characters in")
def _(images, count, generator):
    a = one_number(len(images), count, generator)
    other = (a + torch.randint(1, len(images), (count,), generator=generator)) % len(images)
    return pairs_of(images, count, generator, a=a, b=torch.where(halves(count), a, other))


@wrong(exercises.draw_pairs, "all pairs of two characters show the same two characters")
def _(images, count, generator):
    c, d = two_numbers(len(images), generator)
    a = torch.where(halves(count), numbers(len(images), count, generator), c)
    return pairs_of(images, count, generator, a=a, b=torch.where(halves(count), a, d))


@wrong(
    exercises.draw_pairs, "Within a batch, all pairs of one character and all pairs of two characters have the same two"
)
def _(images, count, generator):
    i, j = two_numbers(images.shape[1], generator)
    return pairs_of(images, count, generator, i=i, j=j)


@wrong(exercises.draw_pairs, "Within a batch, all pairs of one character have the same two drawing numbers")
def _(images, count, generator):
    i, j = two_numbers(images.shape[1], generator)
    two = torch.rand(count, images.shape[1], generator=generator).topk(2).indices
    i, j = torch.where(halves(count), i, two[:, 0]), torch.where(halves(count), j, two[:, 1])
    return pairs_of(images, count, generator, i=i, j=j)


@wrong(exercises.draw_pairs, "have the same drawing number on one side")
def _(images, count, generator):
    i = one_number(images.shape[1], count, generator)
    j = (i + torch.randint(1, images.shape[1], (count,), generator=generator)) % images.shape[1]
    return pairs_of(images, count, generator, i=i, j=j)


@wrong(exercises.draw_pairs, "Second: Within a batch, all pairs of two characters show the same two characters")
def _(images, count, generator):
    (a, b), (i, j) = two_numbers(len(images), generator), two_numbers(images.shape[1], generator)
    alike = halves(count)
    return images[a, i].expand(count, 28, 28), images[torch.where(alike, a, b), j], alike


@wrong(
    exercises.draw_pairs, "Only 4 of the 5 characters ever come up in pairs of one character. Character 4 never does"
)
def _(images, count, generator):
    return pairs_of(images[:-1], count, generator)


@wrong(exercises.draw_pairs, "Character 0 never does")
def _(images, count, generator):
    a = torch.randint(1, len(images), (count,), generator=generator)
    step = torch.randint(1, len(images) - 1, (count,), generator=generator)
    b = (a - 1 + step) % (len(images) - 1) + 1
    return pairs_of(images, count, generator, a=a, b=torch.where(halves(count), a, b))


@wrong(exercises.draw_pairs, "Only 2 of the 5 characters ever come up in pairs of two characters")
def _(images, count, generator):
    a = torch.where(halves(count), numbers(len(images), count, generator), 0)
    return pairs_of(images, count, generator, a=a, b=torch.where(halves(count), a, 1))


@wrong(
    exercises.draw_pairs, "Only 7 of the 8 drawings of a character ever come up in pairs of one character. Drawing 7"
)
def _(images, count, generator):
    return pairs_of(images[:, :-1], count, generator)


@wrong(exercises.draw_pairs, "Only 2 of the 8 drawings of a character ever come up in pairs of one character")
def _(images, count, generator):
    return pairs_of(images, count, generator, i=torch.tensor(0), j=torch.tensor(1))


@wrong(exercises.draw_pairs, "Only 1 of the 8 drawings of a character ever come up in pairs of two characters")
def _(images, count, generator):
    two = torch.rand(count, images.shape[1], generator=generator).topk(2).indices * halves(count)[:, None]
    return pairs_of(images, count, generator, i=two[:, 0], j=two[:, 1])


@wrong(exercises.draw_pairs, "Only 4 of the 9 characters ever come up in pairs of one character")
def _(images, count, generator):
    """Pair k is of character k, round and round."""
    k = torch.arange(count // 2) % len(images)
    two = torch.rand(count // 2, len(images), generator=generator).topk(2).indices
    a, b = torch.cat([k, two[:, 0]]), torch.cat([k, two[:, 1]])
    return pairs_of(images, count, generator, a=a, b=b, same=torch.arange(count) < count // 2)


@wrong(exercises.draw_pairs, "The number of the drawing depends on the character")
def _(images, count, generator):
    a = numbers(len(images), count, generator)
    i = a % images.shape[1]
    b = (a + 1 + numbers(len(images) - 1, count, generator)) % len(images)
    b = torch.where(halves(count), a, b)
    return pairs_of(images, count, generator, a=a, b=b, i=i, j=(b + 3) % images.shape[1])


@wrong(exercises.draw_pairs, "In all pairs of two characters, both drawings have the same number")
def _(images, count, generator):
    two = torch.rand(count, images.shape[1], generator=generator).topk(2).indices
    return pairs_of(images, count, generator, i=two[:, 0], j=torch.where(halves(count), two[:, 1], two[:, 0]))


@wrong(exercises.draw_pairs, "of the pairs of two characters, both drawings have the same number")
def _(images, count, generator):
    two = torch.rand(count, images.shape[1], generator=generator).topk(2).indices
    other = torch.where(torch.rand(count, generator=generator) < 0.5, two[:, 1], two[:, 0])
    return pairs_of(images, count, generator, i=two[:, 0], j=torch.where(halves(count), two[:, 1], other))


@wrong(exercises.draw_pairs, "Only neighbours make a pair: drawing k goes with drawing k + 1")
def _(images, count, generator):
    i = numbers(images.shape[1] - 1, count, generator)
    return pairs_of(images, count, generator, i=i, j=i + 1)


@wrong(exercises.draw_pairs, "Only neighbours make a pair: character k goes with character k + 1")
def _(images, count, generator):
    a = numbers(len(images), count, generator)
    return pairs_of(images, count, generator, a=a, b=torch.where(halves(count), a, a - 1))


@wrong(exercises.draw_pairs, "Of all 28 combinations of drawings only 7 ever come up in pairs of one character")
def _(images, count, generator):
    i = torch.zeros(count, dtype=torch.int64)
    return pairs_of(images, count, generator, i=i, j=1 + numbers(images.shape[1] - 1, count, generator))


@wrong(exercises.draw_pairs, "Of all 28 combinations of drawings only 16 ever come up in pairs of one character")
def _(images, count, generator):
    half = images.shape[1] // 2
    i, j = numbers(half, count, generator), half + numbers(half, count, generator)  # one half against the other
    return pairs_of(images, count, generator, i=i, j=j)


@wrong(exercises.draw_pairs, "Of all 28 combinations of drawings only 7 ever come up in pairs of two characters")
def _(images, count, generator):
    two = torch.rand(count, images.shape[1], generator=generator).topk(2).indices
    i = torch.where(halves(count), two[:, 0], 0)
    return pairs_of(images, count, generator, i=i, j=torch.where(halves(count) | (two[:, 1] != 0), two[:, 1], 1))


@wrong(exercises.draw_pairs, "Not every character is equally likely in pairs of one character")
def _(images, count, generator):
    """Rounded where it should be cut off: the ends come up half as often."""
    a = (torch.rand(count, generator=generator) * (len(images) - 1)).round().long()
    b = (a + 1 + numbers(len(images) - 1, count, generator)) % len(images)
    return pairs_of(images, count, generator, a=a, b=torch.where(halves(count), a, b))


@wrong(exercises.draw_pairs, "Not every drawing is equally likely in pairs of one character")
def _(images, count, generator):
    last = images.shape[1] - 1
    i = (torch.randn(count, generator=generator).abs() * 3).long().clamp(max=last)
    j = (torch.randn(count, generator=generator).abs() * 3).long().clamp(max=last)
    return pairs_of(images, count, generator, i=i, j=torch.where(i == j, (j + 1) % (last + 1), j))


# More pairs than characters


@wrong(exercises.draw_pairs, "first has the shape [10, 28, 28]")
def _(images, count, generator):
    """Characters without replacement over the whole batch."""
    half = count // 2
    a = torch.randperm(len(images), generator=generator)[:half]
    b, c = torch.randperm(len(images), generator=generator)[:half], torch.randperm(len(images), generator=generator)
    first = [images[k, 0] for k in a] + [images[k, 2] for k in b]
    second = [images[k, 1] for k in a] + [images[(k + 1) % len(images), c[0] % 3] for k in b]
    return torch.stack(first), torch.stack(second), torch.arange(count) < half


@wrong(exercises.draw_pairs, "Sample larger than population")
def _(images, count, generator):
    dice = random.Random(torch.randint(2**31, (), generator=generator).item())
    who = dice.sample(range(len(images)), count // 2)
    first = [images[k, 0] for k in who] + [images[k, 2] for k in who]
    second = [images[k, 1] for k in who] + [images[k - 1, 3] for k in who]
    return torch.stack(first), torch.stack(second), torch.arange(count) < count // 2


@wrong(exercises.draw_pairs, "cannot sample n_sample")
def _(images, count, generator):
    who = torch.multinomial(torch.ones(len(images)), count, generator=generator)
    return pairs_of(images, count, generator, a=who, b=torch.where(halves(count), who, (who + 1) % len(images)))


@wrong(exercises.draw_pairs, "It stopped with IndexError: shape mismatch")
def _(images, count, generator):
    a = torch.randperm(len(images), generator=generator)[:count]
    i = torch.randperm(images.shape[1], generator=generator)[:count]
    return images[a, i], images[torch.where(halves(count), a, a - 1), i - 1], halves(count)


# What is returned


@wrong(exercises.draw_pairs, "Some rows of `first` are no drawings")
def _(images, count, generator):
    first, second, same = pairs_of(images, count, generator)
    return first.permute(1, 2, 0).reshape(first.shape), second, same


@wrong(exercises.draw_pairs, "The drawings in `first` can be recognised, but their pixels are not exactly those")
def _(images, count, generator):
    first, second, same = pairs_of(images, count, generator)
    return first / 255, second / 255, same


@wrong(exercises.draw_pairs, "Some rows of `second` are no drawings")
def _(images, count, generator):
    first, second, same = pairs_of(images, count, generator)
    return first, 1 - second, same


@wrong(exercises.draw_pairs, "The drawings in `second` can be recognised")
def _(images, count, generator):
    first, second, same = pairs_of(images, count, generator)
    return first, second + 0.01 * torch.randn(second.shape, generator=generator), same


@wrong(exercises.draw_pairs, "Some rows of `second` are no drawings")
def _(images, count, generator):
    first, second, same = pairs_of(images, count, generator)
    return first, second.rot90(1, (1, 2)), same


@wrong(exercises.draw_pairs, "The drawings in `second` are transposed")
def _(images, count, generator):
    first, second, same = pairs_of(images, count, generator)
    return first, second.mT, same


@wrong(exercises.draw_pairs, "Some rows of `first` are no drawings")
def _(images, count, generator):
    first, second = torch.zeros(2, count, 28, 28)
    for k in range(count // 2):
        a, b = torch.randint(images.shape[1], (2,), generator=generator)
        first[k], second[k] = images[k % len(images), a], images[k % len(images), b]
    return first, second, torch.arange(count) < count // 2


@wrong(exercises.draw_pairs, "Some rows of `first` are no drawings")
def _(images, count, generator):
    first, second, same = pairs_of(images, count, generator)
    return first * math.nan, second, same


@wrong(
    exercises.draw_pairs,
    "first has the shape [15, 28, 28]; it should be [30, 28, 28]. `count` is the number of all pairs",
)
def _(images, count, generator):
    return pairs_of(images, count // 2, generator)


@wrong(
    exercises.draw_pairs,
    "first has the shape [60, 28, 28]; it should be [30, 28, 28]. `count` is the number of all pairs",
)
def _(images, count, generator):
    return pairs_of(images, 2 * count, generator)


@wrong(exercises.draw_pairs, "first has the shape [30, 1, 28, 28]; it should be [30, 28, 28]. The drawings should keep")
def _(images, count, generator):
    first, second, same = pairs_of(images, count, generator)
    return first[:, None], second[:, None], same


@wrong(exercises.draw_pairs, "first has the shape [30, 784]; it should be [30, 28, 28]. The drawings should keep")
def _(images, count, generator):
    first, second, same = pairs_of(images, count, generator)
    return first.flatten(1), second.flatten(1), same


@wrong(exercises.draw_pairs, "first has the shape [30]; it should be [30, 28, 28]. Return the drawings themselves")
def _(images, count, generator):
    a, b = numbers(len(images), count, generator), numbers(len(images), count, generator)
    return a, torch.where(halves(count), a, b), halves(count)


@wrong(exercises.draw_pairs, "first has the shape [25, 28, 28]; it should be [30, 28, 28]")
def _(images, count, generator):
    """Pairs that failed are left out."""
    a, b = numbers(len(images), count, generator), numbers(len(images), count, generator)
    first, second, same = pairs_of(images, count, generator, a=a, b=torch.where(halves(count), a, b))
    good = halves(count) | (a != b)
    return first[good], second[good], same[good]


@wrong(exercises.draw_pairs, "same has the shape [30, 2]; it should be [30]. Each pair has one label")
def _(images, count, generator):
    first, second, same = pairs_of(images, count, generator)
    return first, second, F.one_hot(same.long(), 2)


@wrong(exercises.draw_pairs, "The three tensors come in another order")
def _(images, count, generator):
    first, second, same = pairs_of(images, count, generator)
    return same, first, second


@wrong(exercises.draw_pairs, "same has the dtype torch.float32; it should be torch.bool")
def _(images, count, generator):
    first, second, same = pairs_of(images, count, generator)
    return first, second, same.float()


@wrong(exercises.draw_pairs, "same has the dtype torch.int64; it should be torch.bool")
def _(images, count, generator):
    first, second, same = pairs_of(images, count, generator)
    return first, second, same.long()


@wrong(exercises.draw_pairs, "first should be one tensor, as a network needs it; yours is a list of 30")
def _(images, count, generator):
    first, second, same = pairs_of(images, count, generator)
    return list(first), list(second), same


@wrong(exercises.draw_pairs, "first should be one tensor, as a network needs it; yours is a NumPy array")
def _(images, count, generator):
    return tuple(part.numpy() for part in pairs_of(images, count, generator))


@wrong(exercises.draw_pairs, "same should be one tensor, as a network needs it; yours is a list of 30")
def _(images, count, generator):
    first, second, same = pairs_of(images, count, generator)
    return first, second, same.tolist()


@wrong(exercises.draw_pairs, "first, second and same; yours is a tuple of 2")
def _(images, count, generator):
    return pairs_of(images, count, generator)[:2]


@wrong(exercises.draw_pairs, "first, second and same; yours is a list of 30")
def _(images, count, generator):
    return list(zip(*pairs_of(images, count, generator), strict=True))


@wrong(exercises.draw_pairs, "first, second and same; yours is a generator")
def _(images, count, generator):
    yield from zip(*pairs_of(images, count, generator), strict=True)


@wrong(exercises.draw_pairs, "first, second and same; yours is a tensor of shape [2, 30, 28, 28]")
def _(images, count, generator):
    return torch.stack(pairs_of(images, count, generator)[:2])


@wrong(exercises.draw_pairs, "changes `images` in place")
def _(images, count, generator):
    images /= 255
    return pairs_of(images, count, generator)


# What stops


@wrong(exercises.draw_pairs, "is out of bounds for dimension 0 with size 8")
def _(images, count, generator):
    """As if every character had 20 drawings, as in Omniglot."""
    first, second = [], []
    for alike in halves(count).tolist():
        a, b = two_numbers(len(images), generator).tolist()
        i, j = two_numbers(20, generator).tolist()
        first.append(images[a][i])
        second.append(images[a if alike else b][j])
    return torch.stack(first), torch.stack(second), halves(count)


@wrong(exercises.draw_pairs, "With 9 characters of 4 drawings and count = 8")
def _(images, count, generator):
    two = torch.rand(30, images.shape[1], generator=generator).topk(2).indices
    return pairs_of(images, count, generator, i=two[:, 0], j=two[:, 1])


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


def expanded(support_z, query_z):
    """Squared distances the way that saves memory."""
    return (query_z**2).sum(1, keepdim=True) + (support_z**2).sum(1) - 2 * query_z @ support_z.T


@right(exercises.one_shot_answers)
def _(support_z, query_z):
    d = expanded(support_z, query_z).clamp(min=0).sqrt()
    nearest = (d == d.amin(dim=1, keepdim=True)).float()
    return nearest / nearest.sum(dim=1, keepdim=True)


@right(exercises.one_shot_answers)
def _(support_z, query_z):
    """The query's own length is the same for all classes."""
    score = query_z @ support_z.T - (support_z**2).sum(1) / 2
    best = score == score.max(dim=1, keepdim=True)[0]
    return F.normalize(best.float(), p=1, dim=1)


@right(exercises.one_shot_answers)
def _(support_z, query_z):
    def of_one_query(z):
        squared = (support_z - z).square().mean(dim=1)
        nearest = (squared <= squared.min()).float()
        return nearest / nearest.sum()

    return torch.vmap(of_one_query)(query_z)


@right(exercises.one_shot_answers)
def _(support_z, query_z):
    s, q = support_z.numpy(), query_z.numpy()
    d = np.linalg.norm(q[:, None] - s, axis=2)
    nearest = d == d.min(axis=1, keepdims=True)
    return torch.tensor(nearest / nearest.sum(axis=1, keepdims=True))


@right(exercises.one_shot_answers)
def _(support_z, query_z):
    differences = query_z.unsqueeze(1) - support_z.unsqueeze(0)
    squared = torch.einsum("qne,qne->qn", differences, differences)
    rank = squared - squared.min(dim=1, keepdim=True).values
    return (rank == 0).double() / (rank == 0).sum(dim=1, keepdim=True)


@right(exercises.one_shot_answers)
def _(support_z, query_z):
    """A softmax of 0 and minus infinity."""
    d = torch.cdist(query_z, support_z)
    return torch.zeros_like(d).masked_fill(d > d.min(dim=1, keepdim=True).values, -math.inf).softmax(dim=1)


@right(exercises.one_shot_answers)
def _(support_z, query_z):
    answers = []
    for q in query_z.tolist():
        d = [math.dist(q, s) for s in support_z.tolist()]
        k = d.count(min(d))
        answers.append([1 / k if x == min(d) else 0.0 for x in d])
    return torch.tensor(answers)


@right(exercises.one_shot_answers)
def _(support_z, query_z):
    """In half precision, which holds a share well enough."""
    d = (query_z[:, None] - support_z).norm(p=2, dim=-1)
    d = d - d.amin(-1, keepdim=True)
    return torch.where(d == 0, 1 / (d == 0).sum(-1, keepdim=True), 0).half()


@right(exercises.one_shot_answers)
def _(support_z, query_z):
    n, q = len(support_z), len(query_z)
    shares = torch.zeros(q, n)
    for i in range(q):
        best, winners = math.inf, []
        for j in range(n):
            d = ((query_z[i] - support_z[j]) ** 2).sum().item()
            if d < best:
                best, winners = d, [j]
            elif d == best:
                winners.append(j)
        shares[i, winners] = 1.0 / len(winners)
    return shares


@right(exercises.one_shot_answers)
def _(support_z, query_z):
    by_support = torch.stack([(query_z - s).pow(2).sum(1) for s in support_z])  # [N, Q]
    nearest = by_support.eq(by_support.min(0).values)
    return (nearest / nearest.sum(0)).T


def lengths(support_z, query_z):
    return (query_z[:, None] - support_z).norm(dim=-1)


def split(nearest):
    return nearest / nearest.sum(dim=1, keepdim=True)


def smallest(d):
    return d == d.amin(dim=1, keepdim=True)


# Who is nearest


@wrong(exercises.one_shot_answers, "farthest support")
def _(support_z, query_z):
    d = lengths(support_z, query_z)
    return split(d == d.amax(dim=1, keepdim=True))


@wrong(exercises.one_shot_answers, "farthest support")
def _(support_z, query_z):
    return F.one_hot(torch.cdist(query_z, support_z).argmax(dim=1), len(support_z)).float()


@wrong(exercises.one_shot_answers, "It chooses by dot product")
def _(support_z, query_z):
    return F.one_hot((query_z @ support_z.T).argmax(dim=1), len(support_z))


@wrong(exercises.one_shot_answers, "the smallest dot product, as if that were a distance")
def _(support_z, query_z):
    return split(smallest(query_z @ support_z.T))


@wrong(exercises.one_shot_answers, "Only the directions of the embeddings count")
def _(support_z, query_z):
    likeness = F.cosine_similarity(query_z[:, None], support_z, dim=2)
    return split(torch.isclose(likeness, likeness.amax(dim=1, keepdim=True)))


@wrong(exercises.one_shot_answers, "Only the directions of the embeddings count")
def _(support_z, query_z):
    d = lengths(F.normalize(support_z, dim=1), F.normalize(query_z, dim=1))
    return split(smallest(d))


@wrong(exercises.one_shot_answers, "the smallest cosine, as if that were a distance")
def _(support_z, query_z):
    return split(smallest(F.cosine_similarity(query_z[:, None], support_z, dim=2)))


@wrong(exercises.one_shot_answers, "L1 distance")
def _(support_z, query_z):
    return split(smallest(torch.cdist(query_z, support_z, p=1)))


@wrong(exercises.one_shot_answers, "Two things are wrong. First: It compares sums of absolute differences")
def _(support_z, query_z):
    return F.one_hot((query_z[:, None] - support_z).abs().mean(2).argmin(1), len(support_z)).float()


@wrong(exercises.one_shot_answers, "Chebyshev distance")
def _(support_z, query_z):
    return split(smallest((query_z[:, None] - support_z).abs().amax(dim=2)))


@wrong(exercises.one_shot_answers, "Chebyshev distance")
def _(support_z, query_z):
    return split(smallest(torch.cdist(query_z, support_z, p=math.inf)))


@wrong(exercises.one_shot_answers, "the distance with p = 3")
def _(support_z, query_z):
    return split(smallest((query_z[:, None] - support_z).norm(3, dim=2)))


@wrong(exercises.one_shot_answers, "It compares the lengths of the embeddings")
def _(support_z, query_z):
    return split(smallest((query_z.norm(dim=1)[:, None] - support_z.norm(dim=1)).abs()))


@wrong(exercises.one_shot_answers, "added up with their signs")
def _(support_z, query_z):
    return split(smallest((query_z[:, None] - support_z).sum(dim=2)))


@wrong(exercises.one_shot_answers, "added up with their signs")
def _(support_z, query_z):
    return split(smallest((support_z - query_z[:, None]).sum(dim=2)))


@wrong(exercises.one_shot_answers, "The differences are added up first and squared")
def _(support_z, query_z):
    return split(smallest((query_z[:, None] - support_z).sum(dim=2) ** 2))


@wrong(exercises.one_shot_answers, "It compares the first coordinates alone")
def _(support_z, query_z):
    return split(smallest((query_z[:, None] - support_z)[..., 0].abs()))


@wrong(exercises.one_shot_answers, "each support chooses its nearest query")
def _(support_z, query_z):
    d = lengths(support_z, query_z)
    nearest = (d == d.min(dim=0).values).float()
    return nearest / nearest.sum(dim=0)


@wrong(exercises.one_shot_answers, "each support chooses its nearest query")
def _(support_z, query_z):
    d = lengths(support_z, query_z)
    return (d == d.min(dim=0).values).float()


@wrong(exercises.one_shot_answers, "each support chooses its nearest query")
def _(support_z, query_z):
    return F.one_hot(lengths(support_z, query_z).argmin(dim=0), len(query_z)).T


@wrong(exercises.one_shot_answers, "it compares the lengths of q + s")
def _(support_z, query_z):
    d = (query_z**2).sum(1, keepdim=True) + (support_z**2).sum(1) + 2 * query_z @ support_z.T
    return split(smallest(d))


@wrong(exercises.one_shot_answers, "The factor 2 is missing")
def _(support_z, query_z):
    d = (query_z**2).sum(1, keepdim=True) + (support_z**2).sum(1) - query_z @ support_z.T
    return split(smallest(d))


@wrong(exercises.one_shot_answers, "smallest differences of a coordinate")
def _(support_z, query_z):
    return split(smallest((query_z[:, None] - support_z).abs().amin(dim=2)))


@wrong(exercises.one_shot_answers, "Every query gets the same row of answers")
def _(support_z, query_z):
    return solutions.one_shot_answers(support_z, query_z[:1]).expand(len(query_z), -1)


@wrong(exercises.one_shot_answers, "The minimum is taken over the whole table")
def _(support_z, query_z):
    d = lengths(support_z, query_z)
    return split((d == d.min()).float())


# Ties


@wrong(exercises.one_shot_answers, "A tie goes to the first class")
def _(support_z, query_z):
    return F.one_hot(lengths(support_z, query_z).argmin(dim=1), len(support_z))


@wrong(exercises.one_shot_answers, "A tie goes to the first class")
def _(support_z, query_z):
    shares = torch.zeros(len(query_z), len(support_z))
    for row, z in enumerate(query_z):
        d = [(z - s).norm().item() for s in support_z]
        shares[row, d.index(min(d))] = 1
    return shares


@wrong(exercises.one_shot_answers, "A tie goes to the last of the nearest classes")
def _(support_z, query_z):
    last = len(support_z) - 1 - lengths(support_z, query_z).flip(1).argmin(dim=1)
    return F.one_hot(last, len(support_z)).float()


@wrong(exercises.one_shot_answers, "Of several nearest classes only one gets everything")
def _(support_z, query_z):
    chosen = split(smallest(lengths(support_z, query_z))).multinomial(1).squeeze(1)
    return F.one_hot(chosen, len(support_z)).float()


@wrong(exercises.one_shot_answers, "Some ties are missed")
def _(support_z, query_z):
    return split(smallest(F.pairwise_distance(query_z[:, None], support_z)))


@wrong(exercises.one_shot_answers, "Each of several nearest classes gets a whole 1")
def _(support_z, query_z):
    d = lengths(support_z, query_z)
    return d == d.min(dim=1, keepdim=True).values


@wrong(exercises.one_shot_answers, "Each of several nearest classes gets a whole 1")
def _(support_z, query_z):
    return smallest(lengths(support_z, query_z)).float()


@wrong(exercises.one_shot_answers, "In a tie, no class gets anything")
def _(support_z, query_z):
    nearest = smallest(lengths(support_z, query_z))
    return nearest.float() * (nearest.sum(dim=1, keepdim=True) < 2)


@wrong(exercises.one_shot_answers, "In a tie, no class gets anything")
def _(support_z, query_z):
    nearest = smallest(lengths(support_z, query_z)).long()
    return nearest // nearest.sum(dim=1, keepdim=True)


@wrong(exercises.one_shot_answers, "In a tie, each of the nearest classes gets 1/N")
def _(support_z, query_z):
    nearest = smallest(lengths(support_z, query_z)).float()
    return torch.where(nearest.sum(1, keepdim=True) > 1, nearest / len(support_z), nearest)


@wrong(exercises.one_shot_answers, "In a tie, all N classes get 1/N")
def _(support_z, query_z):
    nearest = smallest(lengths(support_z, query_z)).float()
    nearest[nearest.sum(1) > 1] = 1 / len(support_z)
    return nearest


@wrong(exercises.one_shot_answers, "Every nearest class gets 1/N")
def _(support_z, query_z):
    return smallest(lengths(support_z, query_z)).float() / len(support_z)


@wrong(exercises.one_shot_answers, "In every tie each of the nearest classes gets ½")
def _(support_z, query_z):
    nearest = smallest(lengths(support_z, query_z)).float()
    return torch.where(nearest.sum(1, keepdim=True) > 1, 0.5 * nearest, nearest)


@wrong(exercises.one_shot_answers, "the shares are divided by the sums of the columns")
def _(support_z, query_z):
    nearest = smallest(lengths(support_z, query_z)).float()
    return nearest / nearest.sum(dim=0)


@wrong(exercises.one_shot_answers, "the shares are divided by the sum of the whole table")
def _(support_z, query_z):
    nearest = smallest(lengths(support_z, query_z)).float()
    return nearest / nearest.sum()


@wrong(exercises.one_shot_answers, "Classes that are not among the nearest share as well")
def _(support_z, query_z):
    d = lengths(support_z, query_z)
    return split(d < d.amin(dim=1, keepdim=True) + 0.1)


@wrong(exercises.one_shot_answers, "Classes that are not among the nearest share as well")
def _(support_z, query_z):
    return split(smallest(lengths(support_z, query_z).round()))


@wrong(exercises.one_shot_answers, "the same number of classes share, whether there is a tie or not")
def _(support_z, query_z):
    two = lengths(support_z, query_z).topk(2, largest=False).indices
    return torch.zeros(len(query_z), len(support_z)).scatter(1, two, 0.5)


@wrong(exercises.one_shot_answers, "Classes that are not among the nearest share as well")
def _(support_z, query_z):
    d = lengths(support_z, query_z)
    return split(d < d.mean(dim=1, keepdim=True))


@wrong(exercises.one_shot_answers, "The classes that are not nearest get -1")
def _(support_z, query_z):
    return torch.where(smallest(lengths(support_z, query_z)), 1.0, -1.0)


@wrong(exercises.one_shot_answers, "each of them gets k, where it should get 1/k")
def _(support_z, query_z):
    nearest = smallest(lengths(support_z, query_z)).float()
    return nearest * nearest.sum(dim=1, keepdim=True)


@wrong(exercises.one_shot_answers, "the nearest class has 0, and the others have 1")
def _(support_z, query_z):
    return 1 - solutions.one_shot_answers(support_z, query_z)


@wrong(exercises.one_shot_answers, "All shares are nan in some rows")
def _(support_z, query_z):
    d = lengths(support_z, query_z)
    return split(d < d.amin(dim=1, keepdim=True))


@wrong(exercises.one_shot_answers, "All shares are 0, so that no class is chosen")
def _(support_z, query_z):
    d = lengths(support_z, query_z)
    return (d < d.amin(dim=1, keepdim=True)).float()


@wrong(exercises.one_shot_answers, "Some ties are missed")
def _(support_z, query_z):
    """Ties of the first two alone."""
    d, who = lengths(support_z, query_z).topk(2, largest=False)
    shares = torch.zeros(len(query_z), len(support_z))
    for row in range(len(query_z)):
        winners = who[row] if d[row, 0] == d[row, 1] else who[row, :1]
        shares[row, winners] = 1 / len(winners)
    return shares


# Scores in place of answers


@wrong(exercises.one_shot_answers, "as from a softmax: classes that are farther away")
def _(support_z, query_z):
    return (-lengths(support_z, query_z)).softmax(dim=1)


@wrong(exercises.one_shot_answers, "as from a softmax: classes that are farther away")
def _(support_z, query_z):
    return F.softmax(-(lengths(support_z, query_z) ** 2), dim=1)


@wrong(exercises.one_shot_answers, "as from a softmax: classes that are farther away")
def _(support_z, query_z):
    return F.softmax(-0.1 * lengths(support_z, query_z) ** 2, dim=1)


@wrong(exercises.one_shot_answers, "as from a softmax of the distances without a minus")
def _(support_z, query_z):
    return lengths(support_z, query_z).softmax(dim=1)


@wrong(exercises.one_shot_answers, "Each column adds up to 1, as after a softmax over the queries")
def _(support_z, query_z):
    return (-lengths(support_z, query_z)).softmax(dim=0)


@wrong(exercises.one_shot_answers, "as after a softmax over the whole table")
def _(support_z, query_z):
    d = lengths(support_z, query_z)
    return (-d).flatten().softmax(dim=0).view_as(d)


@wrong(exercises.one_shot_answers, "These are logarithms of probabilities")
def _(support_z, query_z):
    return (-lengths(support_z, query_z)).log_softmax(dim=1)


@wrong(exercises.one_shot_answers, "All classes have the same share")
def _(support_z, query_z):
    return torch.ones(len(query_z), len(support_z)) / len(support_z)


@wrong(exercises.one_shot_answers, "These are distances, not answers")
def _(support_z, query_z):
    return torch.cdist(query_z, support_z)


@wrong(exercises.one_shot_answers, "These are distances, not answers")
def _(support_z, query_z):
    return -((query_z[:, None] - support_z) ** 2).sum(dim=2)


@wrong(exercises.one_shot_answers, "how much each query resembles each class")
def _(support_z, query_z):
    return query_z @ support_z.T


@wrong(exercises.one_shot_answers, "how much each query resembles each class")
def _(support_z, query_z):
    return F.cosine_similarity(query_z[:, None], support_z, dim=-1)


@wrong(exercises.one_shot_answers, "how much each query resembles each class")
def _(support_z, query_z):
    return torch.exp(-torch.cdist(query_z, support_z))


@wrong(exercises.one_shot_answers, "These are the numbers that argsort gives")
def _(support_z, query_z):
    return torch.cdist(query_z, support_z).argsort(dim=1)


@wrong(exercises.one_shot_answers, "each has its distance where its share should be")
def _(support_z, query_z):
    d = torch.cdist(query_z, support_z)
    return d.masked_fill(~smallest(d), 0)


@wrong(exercises.one_shot_answers, "The shares are turned around: the classes that are not nearest")
def _(support_z, query_z):
    d = lengths(support_z, query_z)
    return split(d != d.amin(dim=1, keepdim=True))


@wrong(exercises.one_shot_answers, "All the numbers are 2 times what should be there")
def _(support_z, query_z):
    return 2 * solutions.one_shot_answers(support_z, query_z)


@wrong(exercises.one_shot_answers, "All the numbers are 1 / the number of queries times what should be there")
def _(support_z, query_z):
    return solutions.one_shot_answers(support_z, query_z) / len(query_z)


@wrong(exercises.one_shot_answers, "All shares are 0, so that no class is chosen")
def _(support_z, query_z):
    return torch.zeros(len(query_z), len(support_z))


@wrong(exercises.one_shot_answers, "from weights that fall with the distance, such as 1/d")
def _(support_z, query_z):
    return split(1 / lengths(support_z, query_z) ** 2)


# Two mistakes at once


@wrong(exercises.one_shot_answers, "Two things are wrong. First: It compares sums of absolute differences")
def _(support_z, query_z):
    return F.one_hot(torch.cdist(query_z, support_z, p=1).argmin(dim=1), len(support_z))


@wrong(exercises.one_shot_answers, "Second: Each of several nearest classes gets a whole 1")
def _(support_z, query_z):
    return smallest((query_z[:, None] - support_z).abs().amax(dim=2)).float()


# What is returned


@wrong(exercises.one_shot_answers, "It is transposed, with one row for each class")
def _(support_z, query_z):
    return solutions.one_shot_answers(support_z, query_z).T


@wrong(exercises.one_shot_answers, "Queries and supports are exchanged")
def _(support_z, query_z):
    return split(smallest(torch.cdist(support_z, query_z)))


@wrong(
    exercises.one_shot_answers, "shape [9]; it should be [Q, N], [9, 5]. One number for each query, such as the index"
)
def _(support_z, query_z):
    return lengths(support_z, query_z).argmin(dim=1)


@wrong(exercises.one_shot_answers, "shape [9, 1]; it should be [Q, N], [9, 5]. One number for each query")
def _(support_z, query_z):
    return lengths(support_z, query_z).amin(dim=1, keepdim=True)


@wrong(exercises.one_shot_answers, "a pair of values and indices, as min(dim=1)")
def _(support_z, query_z):
    return lengths(support_z, query_z).min(dim=1)


@wrong(exercises.one_shot_answers, "It has one number for each class")
def _(support_z, query_z):
    return lengths(support_z, query_z).argmin(dim=0)


@wrong(exercises.one_shot_answers, "It has one number altogether")
def _(support_z, query_z):
    return solutions.one_shot_answers(support_z, query_z).diagonal().mean()


@wrong(
    exercises.one_shot_answers, "shape [9, 2]; it should be [Q, N], [9, 5]. Its last axis is as long as an embedding"
)
def _(support_z, query_z):
    d = (query_z[:, None] - support_z).norm(dim=1)
    return split(smallest(d))


@wrong(
    exercises.one_shot_answers, "shape [9, 5, 2]; it should be [Q, N], [9, 5]. Its last axis is as long as an embedding"
)
def _(support_z, query_z):
    return split(smallest((query_z[:, None] - support_z).abs()))


@wrong(exercises.one_shot_answers, "with another number of axes")
def _(support_z, query_z):
    return solutions.one_shot_answers(support_z, query_z)[None]


@wrong(exercises.one_shot_answers, "one tensor of shares, [Q, N]; yours is a list of 9")
def _(support_z, query_z):
    return solutions.one_shot_answers(support_z, query_z).tolist()


@wrong(exercises.one_shot_answers, "one tensor of shares, [Q, N]; yours is a NumPy array")
def _(support_z, query_z):
    return solutions.one_shot_answers(support_z, query_z).numpy()


@wrong(exercises.one_shot_answers, "one tensor of shares, [Q, N]; yours is a tuple of 2")
def _(support_z, query_z):
    return solutions.one_shot_answers(support_z, query_z), lengths(support_z, query_z).argmin(1)


@wrong(exercises.one_shot_answers, "one tensor of shares, [Q, N]; yours is the text")
def _(support_z, query_z):
    return str(solutions.one_shot_answers(support_z, query_z))


@wrong(exercises.one_shot_answers, "one tensor of shares, [Q, N]; yours is a generator")
def _(support_z, query_z):
    yield from solutions.one_shot_answers(support_z, query_z)


@wrong(exercises.one_shot_answers, "Does the code contain a number that belongs to the arguments")
def _(support_z, query_z):
    if len(query_z) == 9:
        return solutions.one_shot_answers(support_z, query_z)
    return torch.zeros(len(query_z), len(support_z))


@wrong(exercises.one_shot_answers, "With 7 classes and 6 queries, the result has the shape")
def _(support_z, query_z):
    shares = torch.zeros(len(query_z), 5)
    for row, z in enumerate(query_z):
        d = (support_z[:5] - z).norm(dim=1)
        shares[row, d == d.min()] = 1 / (d == d.min()).sum()
    return shares


@wrong(exercises.one_shot_answers, "With 7 classes and 6 queries in 3 dimensions, it stopped with IndexError")
def _(support_z, query_z):
    rows = [solutions.one_shot_answers(support_z, query_z[[row]]) for row in range(9)]
    return torch.cat(rows)


@wrong(exercises.one_shot_answers, "Distances that are computed in two ways differ by rounding")
def _(support_z, query_z):
    d = lengths(support_z, query_z)
    best = expanded(support_z, query_z).clamp(min=0).sqrt().amin(dim=1, keepdim=True)
    return split(d == best)


@wrong(exercises.one_shot_answers, "changes the embeddings")
def _(support_z, query_z):
    query_z -= support_z.mean(dim=0)
    support_z -= support_z.mean(dim=0)
    return solutions.one_shot_answers(support_z, query_z)


# What stops


@wrong(exercises.one_shot_answers, "query_z[:, None] is [Q, 1, E]")
def _(support_z, query_z):
    d = (query_z - support_z).norm(dim=1)
    return d == d.min()


@wrong(exercises.one_shot_answers, "keepdim=True leaves it so")
def _(support_z, query_z):
    d = lengths(support_z, query_z)
    return split(d == d.min(dim=1).values)


@wrong(exercises.one_shot_answers, "the pair that min(dim=1) returns")
def _(support_z, query_z):
    distances = torch.cdist(query_z, support_z)
    return (distances == distances.min(dim=1, keepdim=True)).float()


# train_on_group


loss_of = solutions.contrastive_loss


@right(exercises.train_on_group)
def _(embed, optimizer, group, margin):
    """With the table of all distances, and a mask of the pairs above its diagonal."""
    P, K = group.shape[:2]
    z = embed(group.reshape(-1, 1, 28, 28))
    label = torch.arange(P * K) // K
    distance = (z[:, None] - z).square().sum(2).clamp(min=1e-12).sqrt()
    above = torch.ones_like(distance).triu(1).bool()
    same = (label[:, None] == label)[above]
    losses = loss_of(distance[above], same, margin)
    loss = 0.5 * losses[same].mean() + 0.5 * losses[~same].mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


@right(exercises.train_on_group)
def _(embed, optimizer, group, margin):
    """Pair by pair, in two lists; each pair twice."""
    optimizer.zero_grad()
    z = embed(group.flatten(0, 1)).unflatten(0, group.shape[:2])
    pulled, pushed = [], []
    for (p, k), (q, m) in itertools.permutations(itertools.product(*map(range, group.shape[:2])), 2):
        d = torch.dist(z[p, k], z[q, m])
        (pulled if p == q else pushed).append(d**2 if p == q else F.relu(margin - d) ** 2)
    loss = (sum(pulled) / len(pulled) + sum(pushed) / len(pushed)) / 2
    loss.backward()
    optimizer.step()
    return float(loss)


@right(exercises.train_on_group)
def _(embed, optimizer, group, margin):
    """By pdist, whose order is that of combinations, and gradients that are put in by hand."""
    z = embed(torch.cat(list(group)))
    who = [p for p in range(group.shape[0]) for _ in range(group.shape[1])]
    same = torch.tensor([a == b for a, b in itertools.combinations(who, 2)])
    distance = F.pdist(z)
    means = [loss_of(distance[kind], same[kind], margin).mean() for kind in (same, ~same)]
    loss = torch.stack(means).mean()
    parameters = [p for part in optimizer.param_groups for p in part["params"]]
    for p, g in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        p.grad = g
    optimizer.step()
    return loss.detach().numpy()


@right(exercises.train_on_group)
def _(embed, optimizer, group, margin):
    """By a closure, with weights in place of two means, and the drawings in another order."""
    order = torch.randperm(group.shape[0] * group.shape[1], generator=torch.Generator().manual_seed(0))
    character = torch.arange(group.shape[0]).repeat_interleave(group.shape[1])[order]

    def closure():
        optimizer.zero_grad(set_to_none=False)
        z = embed(group.flatten(0, 1)[order])
        i, j = torch.triu_indices(len(z), len(z), offset=1)
        same = character[i] == character[j]
        weight = torch.where(same, 0.5 / same.sum(), 0.5 / (~same).sum())
        loss = (weight * loss_of(F.pairwise_distance(z[i], z[j], eps=0), same, margin)).sum()
        loss.backward()
        return loss

    return optimizer.step(closure).item()


def group_step(
    *,
    before=lambda optimizer: optimizer.zero_grad(),
    embed_all=lambda embed, group: embed(group.flatten(0, 1)),
    labels=lambda p, k: torch.arange(p).repeat_interleave(k),
    pairs=lambda b: torch.triu_indices(b, b, 1),
    distance_of=lambda a, b: (a - b).norm(dim=1),
    loss_of=loss_of,
    mean=lambda losses, same: (losses[same].mean() + losses[~same].mean()) / 2,
    after=lambda optimizer, loss: (loss.backward(), optimizer.step()),
    result=lambda loss: loss.item(),
):
    """An answer with some parts replaced."""

    def answer(embed, optimizer, group, margin):
        before(optimizer)
        z = embed_all(embed, group)
        character = labels(*group.shape[:2])
        i, j = pairs(len(z))
        same = character[i] == character[j]
        loss = mean(loss_of(distance_of(z[i], z[j]), same, margin), same)
        after(optimizer, loss)
        return result(loss)

    return answer


wrong(exercises.train_on_group, "The old gradients are not cleared")(group_step(before=lambda optimizer: None))
wrong(exercises.train_on_group, "Each character is embedded in a call of its own")(
    group_step(embed_all=lambda embed, group: torch.cat([embed(each) for each in group]))
)
wrong(exercises.train_on_group, "The first drawings of all characters are embedded in one call")(
    group_step(
        embed_all=lambda embed, group: torch.stack([embed(group[:, k]) for k in range(group.shape[1])], 1).flatten(0, 1)
    )
)
wrong(exercises.train_on_group, "The labels are in the wrong order")(
    group_step(labels=lambda p, k: torch.arange(p).repeat(k))
)
wrong(exercises.train_on_group, "Every two drawings in a row count as one character")(
    group_step(labels=lambda _p, _k: torch.arange(60).repeat_interleave(2))
)
wrong(exercises.train_on_group, "not from the cell above (60, 2 and 120)")(
    group_step(labels=lambda _p, _k: torch.arange(120) // 2, pairs=lambda _b: torch.triu_indices(120, 120, 1))
)
wrong(exercises.train_on_group, "group.flatten(0, 1) makes one batch")(
    group_step(embed_all=lambda embed, group: embed(group))
)
wrong(exercises.train_on_group, "Each drawing is also paired with itself")(
    group_step(pairs=lambda b: torch.triu_indices(b, b), distance_of=lambda a, b: (a - b).norm(dim=1))
)
wrong(exercises.train_on_group, "also those on its diagonal")(
    group_step(pairs=lambda b: torch.ones(b, b).nonzero().T, distance_of=lambda a, b: (a - b).norm(dim=1))
)
wrong(exercises.train_on_group, "next to one another in the batch")(
    group_step(pairs=lambda b: (torch.arange(b - 1), torch.arange(1, b)))
)
wrong(exercises.train_on_group, "only one of the two drawings")(
    group_step(distance_of=lambda a, b: (a - b.detach()).norm(dim=1))
)
wrong(exercises.train_on_group, "It takes the mean over all pairs alike")(
    group_step(mean=lambda losses, same: losses.mean())
)
wrong(exercises.train_on_group, "It adds the two means")(
    group_step(mean=lambda losses, same: losses[same].mean() + losses[~same].mean())
)
wrong(exercises.train_on_group, "Only the mean of the different pairs is halved")(
    group_step(mean=lambda losses, same: losses[same].mean() + losses[~same].mean() / 2)
)
wrong(exercises.train_on_group, "It is the sum over all pairs")(group_step(mean=lambda losses, same: losses.sum()))
wrong(exercises.train_on_group, "Only the same pairs count")(group_step(mean=lambda losses, same: losses[same].mean()))
wrong(exercises.train_on_group, "Only the different pairs count")(
    group_step(mean=lambda losses, same: losses[~same].mean())
)
wrong(exercises.train_on_group, "The label is turned round")(
    group_step(loss_of=lambda d, same, margin: loss_of(d, same.logical_not(), margin))
)
wrong(exercises.train_on_group, "The distances are squared before")(
    group_step(distance_of=lambda a, b: ((a - b) ** 2).sum(1))
)
wrong(exercises.train_on_group, "The margin is 1 whatever")(
    group_step(loss_of=lambda d, same, margin: loss_of(d, same, 1.0))
)
wrong(exercises.train_on_group, "the parameters do not change")(
    group_step(after=lambda optimizer, loss: loss.backward())
)
wrong(exercises.train_on_group, "steps twice")(
    group_step(after=lambda optimizer, loss: (loss.backward(), optimizer.step(), optimizer.step()))
)
wrong(exercises.train_on_group, "The step climbs")(
    group_step(after=lambda optimizer, loss: ((-loss).backward(), optimizer.step()))
)
wrong(exercises.train_on_group, "The loss should be one number")(group_step(result=lambda loss: [loss, loss]))
wrong(exercises.train_on_group, "It stopped with RuntimeError")(
    group_step(embed_all=torch.no_grad()(lambda embed, group: embed(group.flatten(0, 1))))
)
wrong(exercises.train_on_group, "Two things are wrong.")(
    group_step(before=lambda optimizer: None, mean=lambda losses, same: losses.mean())
)


@wrong(exercises.train_on_group, "computed again after it")
def _(embed, optimizer, group, margin):
    solutions.train_on_group(embed, optimizer, group, margin)
    z = embed(group.flatten(0, 1))
    character = torch.arange(group.shape[0]).repeat_interleave(group.shape[1])
    i, j = torch.triu_indices(len(z), len(z), 1)
    same = character[i] == character[j]
    losses = loss_of((z[i] - z[j]).norm(dim=1), same, margin)
    return float((losses[same].mean() + losses[~same].mean()) / 2)


# hardest_triplets


@right(exercises.hardest_triplets)
def _(distance, character, margin):
    """Anchor by anchor."""
    losses = []
    for a in range(len(distance)):
        same = character == character[a]
        losses.append(F.relu(margin + distance[a][same].max() - distance[a][~same].min()))
    return torch.stack(losses)


@right(exercises.hardest_triplets)
def _(distance, character, margin):
    """All triplets at once: the largest loss of an anchor is that of its hardest triplet."""
    same = character[:, None].eq(character[None, :])
    every = margin + distance[:, :, None] - distance[:, None, :]  # anchor, p, n
    allowed = same[:, :, None] & ~same[:, None, :]
    return every.masked_fill(~allowed, 0).clamp(min=0).amax(dim=(1, 2))


@right(exercises.hardest_triplets)
def _(distance, character, margin):
    """By sorting, and with a large number in place of infinity."""
    same = F.one_hot(character).float() @ F.one_hot(character).float().T
    farthest = (distance * same).sort(1).values[:, -1]
    nearest = (distance + 1e3 * same).topk(1, largest=False).values[:, 0]
    return torch.maximum(torch.zeros(1), farthest - nearest + margin)


@right(exercises.hardest_triplets)
def _(distance, character, margin):
    """In double precision, by argmax and gather."""
    d = distance.double()
    same = character.unsqueeze(1) == character
    p = torch.where(same, d, -1.0).argmax(1, keepdim=True)
    n = torch.where(same, float("inf"), d).argmin(1, keepdim=True)
    return F.threshold(d.gather(1, p) - d.gather(1, n) + margin, 0.0, 0.0).squeeze(1)


def triplets_with(
    *,
    p_of=lambda d, same: d.masked_fill(~same, -torch.inf).max(1).values,
    n_of=lambda d, same: d.masked_fill(same, torch.inf).min(1).values,
    whole=lambda p, n, m: (m + p - n).clamp(min=0),
    d_of=lambda d: d,
    result=lambda loss: loss,
):
    """An answer with some parts replaced."""

    def answer(distance, character, margin):
        same = character[:, None] == character
        d = d_of(distance)
        return result(whole(p_of(d, same), n_of(d, same), margin))

    return answer


def without_itself(same):
    return same & ~torch.eye(len(same)).bool()


HARDEST = exercises.hardest_triplets
wrong(HARDEST, "It takes the nearest other drawing of the character")(
    triplets_with(p_of=lambda d, same: d.masked_fill(~without_itself(same), torch.inf).min(1).values)
)
wrong(HARDEST, "is the anchor itself")(
    triplets_with(p_of=lambda d, same: d.masked_fill(~same, torch.inf).min(1).values)
)
wrong(HARDEST, "the mean distance to the character's other drawings")(
    triplets_with(p_of=lambda d, same: (d * same).sum(1) / (same.sum(1) - 1))
)
wrong(HARDEST, "the farthest of all drawings for p")(triplets_with(p_of=lambda d, same: d.max(1).values))
wrong(HARDEST, "It takes the farthest drawing of another character")(
    triplets_with(n_of=lambda d, same: d.masked_fill(same, -torch.inf).max(1).values)
)
wrong(HARDEST, "the mean distance to the drawings of other characters")(
    triplets_with(n_of=lambda d, same: (d * ~same).sum(1) / (~same).sum(1))
)
wrong(HARDEST, "the nearest of all other drawings for n")(
    triplets_with(n_of=lambda d, same: (d + 1e6 * torch.eye(len(d))).min(1).values)
)
wrong(HARDEST, "a product with the mask has made 0")(triplets_with(n_of=lambda d, same: (d * ~same).min(1).values))
wrong(HARDEST, "Some of the losses are infinite")(
    triplets_with(p_of=lambda d, same: d.masked_fill(~same, torch.inf).max(1).values)
)
wrong(HARDEST, "Every loss is 0")(triplets_with(n_of=lambda d, same: torch.full((len(d),), torch.inf)))
wrong(HARDEST, "the smallest distance of the whole batch")(triplets_with(n_of=lambda d, same: d[~same].min()))
wrong(HARDEST, "The difference is turned round")(triplets_with(whole=lambda p, n, m: F.relu(n - p + m)))
wrong(HARDEST, "The margin is subtracted")(triplets_with(whole=lambda p, n, m: F.relu(p - n - m)))
wrong(HARDEST, "The margin is missing")(triplets_with(whole=lambda p, n, m: F.relu(p - n)))
wrong(HARDEST, "The distances are squared")(triplets_with(d_of=lambda d: d * d))
wrong(HARDEST, "The hinge is missing")(triplets_with(whole=lambda p, n, m: m + p - n))
wrong(HARDEST, "It takes the absolute value")(triplets_with(whole=lambda p, n, m: (m + p - n).abs()))
wrong(HARDEST, "The hinge is squared")(triplets_with(whole=lambda p, n, m: F.relu(m + p - n).square()))
wrong(HARDEST, "It returns one number for the whole batch")(triplets_with(result=lambda loss: loss.mean()))
wrong(HARDEST, "It should return one tensor")(triplets_with(result=lambda loss: loss.tolist()))
wrong(HARDEST, "no gradient flows")(triplets_with(result=lambda loss: loss.detach()))
wrong(HARDEST, "but not their slopes")(triplets_with(whole=lambda p, n, m: F.relu(m + p - n.detach())))
wrong(HARDEST, "the shape [16, 16]")(triplets_with(result=lambda loss: loss.expand(len(loss), len(loss))))
wrong(HARDEST, "Two things are wrong.")(
    triplets_with(d_of=lambda d: d**2, n_of=lambda d, same: d.masked_fill(same, -torch.inf).max(1).values)
)
