"""Examinations of the answers: of queries, and of pairs."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...arguments import shown
from ..roc import roc
from ._calling import Found, answers, drawn, expect, in_words, made, seed_all, seeded
from ._comparing import SURE, above, changed, copies, differ, loss_of, mean, same_labels, share
from .examination import examination
from .patient import Make


@examination("predict", "task")
def another_support_set(make: Make) -> Found:
    """Answer the queries of 30 tasks after their own support set, and after that of another task.

    Shows: a learner that does not adapt: it answers the same, whatever examples it is given; or one that adapts in the
    wrong direction.

    Cannot show: whether it adapts well. About 15 of 30 tasks fare better after their own support set by luck alone.
    Before training, attention with random weights may go the wrong way without being ill, and an output layer that
    starts at zero, and that no inner step moves, is called ill. On regression tasks a step in the wrong direction may
    go unseen. An error of shapes may mean only that the answers are handed over in another form: two classes need two
    scores for each query, not one, and where the support values have the shape [S], the answers must be [Q].
    """
    patient, generator = made(make), seeded()
    tasks = [drawn(patient, generator) for _ in range(30)]
    losses, same = [], True
    for i, (sx, sy, qx, qy) in enumerate(tasks):
        others = [t[:2] for t in tasks[i + 1 :] + tasks[:i] if sy.is_floating_point() or same_labels(sy, t[1])]
        pair = [answers(patient, *support, qx) for support in ((sx, sy), others[0] if others else tasks[i - 1][:2])]
        if any(found.isnan().any() for found in pair):
            return "open", "Some of its answers are no numbers (nan)."
        same = same and not differ(*pair)
        losses.append([loss_of(found, qy) for found in pair])
    if same and not patient.adapts:
        return "open", "The answers do not depend on the support set, and are not meant to."
    if same:
        return "ill", "The answers do not depend on the support set: with that of another task they are the same."
    own, other = map(mean, zip(*losses, strict=True))
    says = f"the mean query loss is {own:.3g} after the task's own support set, {other:.3g} after another's"
    if (worse := sum(a > b for a, b in losses)) >= 28:  # by luck, in one of two million cases
        return "ill", f"It adapts the wrong way: {says}, and {worse} of 30 tasks fare worse after their own."
    better = sum(a < b for a, b in losses)
    return "well", f"The answers depend on the support set: {says}; {better} of 30 tasks fare better after their own."


@examination("predict", "task")
def shuffled_labels(make: Make) -> Found:
    """Shuffle the support labels of 100 classification tasks: the share of right answers has to fall to chance.

    The names of the classes are shuffled, too. Else, the largest class of an uneven support set would still be right
    more often than others. Where 100 tasks raise a suspicion, up to 1,000 are drawn.

    Shows: answers that are right although the labels of the support set were shuffled: they come from something else,
    such as the order of the queries, the class that is always the right one, or a support set that holds the queries.

    Cannot show: anything for a learner that is at chance with the right labels too, as one is whose support inputs were
    shuffled without their labels; labels that are hidden in the inputs of both parts, if the learner compares inputs;
    and it may miss where few answers, about one in twenty, come from something else.
    """
    patient, generator = made(make), seeded()
    right, shuffled, chances = [], [], []
    enough = 100
    while len(right) < enough:
        sx, sy, qx, qy = drawn(patient, generator)
        if sy.is_floating_point():
            return "open", "These tasks have no labels: it is for classification."
        classes, place = sy.unique(return_inverse=True)
        renamed = classes[torch.randperm(len(classes), generator=generator)][place]
        mixed = renamed[torch.randperm(len(sy), generator=generator)]
        for labels, shares in ((sy, right), (mixed, shuffled)):
            shares.append(share(answers(patient, sx, labels, qx).argmax(1) == qy))
        chances.append(1 / len(classes))
        if len(right) == 100 and 1.5 < above(shuffled, chances) <= SURE:
            enough = 1000
    says = f"{mean(right):.0%} right, and {mean(shuffled):.0%} with shuffled labels (chance {mean(chances):.0%})"
    if above(shuffled, chances) > SURE and not patient.adapts:
        return "open", f"{says}: its answers do not come from the labels, and are not meant to."
    if above(shuffled, chances) > SURE:
        return "ill", f"{says}: its answers come from something other than the labels."
    if not above(right, chances) > 3:
        return "open", f"{says}: it is at chance anyway."
    return "well", f"{says}."


@examination("predict", "task")
def constant_output(make: Make) -> Found:
    """Compare the answers to all queries of 20 tasks with each other, and look for ties between classes.

    Shows: a network that says the same to everything, or so many ties that argmax, which takes the first class,
    decides.

    Cannot show: whether answers that differ are right. An output layer that starts at zero, and that no inner step
    moves, is called ill until training has moved it. Two classes need two scores for each query, or it stops with an
    error.
    """
    patient, generator = made(make), seeded()
    constant, tied, alike, right, fair = [], [], [], [], []  # one number for each task
    for _ in range(20):
        sx, sy, qx, qy = drawn(patient, generator)
        found = answers(patient, sx, sy, qx)
        if found.isnan().any():
            return "ill", "Some of its answers are no numbers (nan)."
        if len(qx) > 1 and (qy != qy[:1]).any():  # queries of one class may get the same answer
            apart = torch.where(found == found[:1], 0.0, (found - found[:1]).abs())
            constant.append(bool((apart <= 1e-6 * found.abs()).all()))
        if not qy.is_floating_point():
            best = found >= found.max(1, keepdim=True).values
            tied.append(share(best.sum(1) > 1))
            alike.append(share(best.all(1)))
            right.append(share(found.argmax(1) == qy))
            fair.append((best[torch.arange(len(qy)), qy] / best.sum(1)).double().mean().item())
    ties = ""
    if tied and mean(tied) > 0.2:
        ties = (
            f"In {mean(tied):.0%} of its answers, several classes have the largest score. By argmax, which takes the "
            f"first, {mean(right):.0%} are right; counted as what a guess among them would get, {mean(fair):.0%}."
        )
        # Two neighbours that vote for two classes are often at odds.
        if mean(alike) > (0.2 if found.shape[1] > 2 else 0.8) or above(right, fair) > SURE:
            return "ill", ties
    says = f"in {sum(constant)} of {len(constant)} tasks, all queries get the same answer"
    if sum(constant) > 0.8 * len(constant):
        return "ill", f"I{says[1:]}."
    if not constant:
        return "open", "These tasks have no two queries with different right answers: give them several."
    if sum(constant) > 1:
        return "open", f"Most tasks' queries get different answers, but {says}: is it right for them?"
    if ties:
        return "open", f"{ties} Is it a vote, in which ties are natural?"
    return "well", "Different queries get different answers, without ties."


@examination("predict", "task")
def alone(make: Make) -> Found:
    """Ask each query of 10 tasks together with the others, alone, and in the opposite order.

    Shows: an answer that depends on which other queries are asked with it, as with batch norm over the query batch, or
    on its place among them.

    Cannot show: whether that helps or hurts. If it is meant, say `transductive=True`, and report it with the results.
    """
    patient, generator = made(make), seeded()
    apart, turned, total = 0, 0, 0  # answers that change when asked alone, or in the opposite order, of all
    for _ in range(10):
        sx, sy, qx, _qy = drawn(patient, generator)
        together = answers(patient, sx, sy, qx)
        if changed(together, answers(patient, sx, sy, qx), 0.01).any():
            return "open", "The same question gets another answer the second time, so that answers cannot be compared."
        back = answers(patient, sx, sy, qx.flip(0)).flip(0)
        turned += int(changed(together, back, 0.01).sum())
        total += len(qx)
        try:
            single = torch.cat([answers(patient, sx, sy, one[None]) for one in qx])
        except Exception as error:
            if not patient.transductive:
                return "ill", f"Asked for the answer to one query alone, it stops with {in_words(error)}"
            apart += 1
        else:
            apart += int(changed(together, single, 0.01).sum())
    if (turned or apart) and changed(together, answers(patient, sx, sy, qx, seed=1), 0.01).any():
        return "open", "Its answers are random: with another seed they are others, so that they cannot be compared."
    if turned:
        return "ill", f"{turned} of {total} answers change when the queries come in the opposite order."
    if total == 10:
        return "open", "These tasks have one query only: give them several."
    if apart and patient.transductive:
        return "open", "Its answers depend on the other queries, and are meant to: it is transductive."
    if apart:
        return "ill", (
            f"{apart} of {total} answers change when a query is asked alone: it sees the other queries of its batch, "
            "and with them how often each class is asked."
        )
    return "well", f"All {total} answers stay the same when each query is asked alone."


@examination("parameters", "predict", "task")
def same_start(make: Make) -> Found:
    """Answer task B after task A, and anew after task C: do the parameters stay, and is B answered alike?

    Shows: adaptation that changes the start itself: tasks then begin where the task before ended.

    Cannot show: what training does: a step has to change the parameters.
    """
    found, moved = [], False
    for seed in (1, 2):
        patient, generator = made(make), seeded()
        b = drawn(patient, generator)
        before, count = copies(patient.tensors), len(patient.named)
        answers(patient, *drawn(patient, seeded(seed))[:3])
        same = [torch.equal(x, y) for x, y in zip(before, patient.tensors, strict=True)]
        if not all(same[:count]):
            return "ill", "After one task was answered, the parameters are others: the next task starts from them."
        moved = moved or not all(same)
        found.append(answers(patient, *b[:3]))
    if differ(*found):
        return "ill", "A task gets another answer when another task was answered before it."
    if moved:
        return "open", (
            "Answering a task changes buffers, such as the running statistics of batch norm, but no other answer. Is "
            "the network in train() on purpose?"
        )
    return "well", "Answering a task leaves the parameters as they were, and changes no other answer."


@examination("distance", "pairs")
def side_of_the_pairs(make: Make) -> Found:
    """Compare the distances of pairs of the same class with those of different classes.

    Shows: a network that says the opposite, because the label 1 means "same" in one place and "different" in another.

    Cannot show: whether its distances are good ones.
    """
    patient = made(make)
    pairs = patient.pairs(seeded())
    right = isinstance(pairs, list | tuple) and len(pairs) == 3 and all(isinstance(part, Tensor) for part in pairs)
    expect(right, "pairs", pairs, "a, b, and same [B], which are tensors")
    a, b, same = pairs[0], pairs[1], pairs[2].flatten().bool()
    few, many = sorted((int(same.sum()), int((~same).sum())))
    if not len(a) == len(b) == len(same) or not few:
        raise TypeError(f"pairs returned {len(a)}, {len(b)} and {len(same)} rows; they must be as many, of both kinds")
    seed_all()
    distance = patient.distance(a, b)
    if not isinstance(distance, Tensor) or distance.numel() != len(same):
        raise TypeError(f"distance returned {shown(distance)} for {len(same)} pairs; it must return a tensor [B]")
    distance = distance.detach().flatten()
    if distance.isnan().any():
        return "ill", "Some of its distances are no numbers (nan)."
    area = roc(-distance, same).auc
    says = f"A pair of the same class is nearer than one of different classes in {area:.0%} of all comparisons"
    error = math.sqrt((len(same) + 1) / (12 * few * many))  # of the area, for distances without any order
    if 0.5 - area > SURE * error:
        return "ill", f"{says}: it says the opposite."
    return "well", f"{says} (50 % would be chance)."
