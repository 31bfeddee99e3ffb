"""Examinations of the data: of tasks, and of splits."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from ..diagnosis import Task
from ._calling import Found, drawn, made, seeded
from ._comparing import same_labels
from .examination import examination
from .patient import Make


@examination("task")
def support_and_queries(make: Make) -> Found:
    """Draw 50 tasks, and compare support sets and queries with each other.

    Shows: tasks that give their answers away: a query that is also a support example, a single class, a right class
    that always has the same label, a number in each input that says its label; and tasks that are no tasks, because a
    query's class has no example.

    Cannot show: whether training and test share classes; queries that are nearly a support example, such as the same
    drawing with noise or a pixel further to the left; labels that are hidden in several numbers of an input together;
    and support inputs that were shuffled without their labels.
    """
    patient, generator = made(make), seeded()
    tasks = [drawn(patient, generator) for _ in range(50)]
    total = sum(len(qx) for _, _, qx, _ in tasks)
    labelled = not tasks[0][1].is_floating_point()
    shared = sum(int(_same(qx, sx).any(1).sum()) for sx, _, qx, _ in tasks)
    says = f"{shared} of {total} queries are also in the support set of their task"
    if shared and not patient.contains_support:
        if any(_repeats(sx, sy if labelled else None) for sx, sy, _, _ in tasks):
            return "open", f"{says}. Support sets repeat an input, too: are there only few different ones?"
        return "ill", f"{says}. If that is meant, as for neural processes, say contains_support=True."
    # A fixed grid of x is fine where the values differ.
    if all(torch.equal(tasks[0][0], t[0]) and torch.equal(tasks[0][1], t[1]) for t in tasks):
        return "ill", "All 50 tasks have the same support set."
    if labelled:
        if one := sum(len(sy.unique()) < 2 for _, sy, _, _ in tasks):
            return "ill", f"In {one} of 50 tasks all examples have the same label: there is nothing to tell apart."
        if lost := sum(int((~torch.isin(qy, sy.long())).sum()) for _, sy, _, qy in tasks):
            return "ill", f"{lost} of {total} queries are of a class that has no example in the support set."
        if len({int(y) for _, _, _, qy in tasks for y in qy}) == 1:
            return "ill", f"The right label is always {int(tasks[0][3][0])}: whoever says so is always right."
        if place := _says_the_label(tasks):
            return "ill", f"Number {place} of an input says its label, in all 50 tasks in the same way."
    if shared:
        return "open", f"{says}, and are meant to."
    return "well", f"None of {total} queries is in its support set{', and all of their classes are' * labelled}."


def _says_the_label(tasks: list[Task]) -> int | None:
    """Return the place, counted from 1, of a number that hardly varies among the support inputs of each label.

    Tasks with other labels or other sizes are not compared: a label has to occur in all of them.
    """
    if any(t[0].shape[1:] != tasks[0][0].shape[1:] or not same_labels(t[1], tasks[0][1]) for t in tasks):
        return None
    x, y = (torch.cat([t[part].double() for t in tasks]) for part in (0, 1))
    x = x.reshape(len(x), -1)
    x = x - x.mean(0)
    means = torch.stack([x[y == label].mean(0) for label in y.unique()])
    within = (x - means[y.unique(return_inverse=True)[1]]).square().sum(0)
    [places] = torch.where(within < 0.01 * x.square().sum(0))
    return int(places[0]) + 1 if len(places) else None


def _same(a: Tensor, b: Tensor) -> Tensor:
    """Tell which inputs of a [A, ...] and of b [B, ...] are the same, up to their shape: [A, B]."""
    return (a.reshape(len(a), 1, -1) == b.reshape(1, len(b), -1)).all(2)


def _repeats(x: Tensor, labels: Tensor | None) -> bool:
    """Tell whether an input occurs twice in x [S, ...]: with different labels, if there are any."""
    again = _same(x, x).fill_diagonal_(False)
    return bool((again if labels is None else again & (labels[:, None] != labels)).any())


@examination("splits")
def classes_across_splits(make: Make) -> Found:
    """Compare the characters and alphabets of every two splits, and count the characters in each class.

    Shows: classes that training and test share, alphabets that they share although new ones were meant, and classes
    that are no characters but whole alphabets.

    Cannot show: whether the drawings are what their labels say.
    """
    patient = made(make)
    inside = {name: {c for members in classes.values() for c in members} for name, classes in patient.splits.items()}
    for name, classes in patient.splits.items():
        for label, members in classes.items():
            if len(set(members)) > 1:
                return "ill", (
                    f"In {name}, the class {label} holds {len(set(members))} characters, as {members[0][1]} and "
                    f"{members[1][1]} of {members[0][0]}: to know the class is not to know the character."
                )
    for one, other in combinations(inside, 2):
        share = f"The splits {one} and {other} share"
        if both := inside[one] & inside[other]:
            return "ill", f"{share} {_count(both, 'character')}: {' '.join(reversed(min(both)))}."
        alphabets = {a for a, _ in inside[one]} & {a for a, _ in inside[other]}
        if alphabets and patient.new_alphabets:
            return "ill", f"{share} {_count(alphabets, 'alphabet')}: {min(alphabets)}."
    sizes = ", ".join(f"{name} {len(members)}" for name, members in inside.items())
    what = "an alphabet" if patient.new_alphabets else "a character"
    return "well", f"No two splits share {what}, and each class is one character ({sizes})."


def _count(things: set, what: str) -> str:
    return f"one {what}" if len(things) == 1 else f"{len(things)} {what}s, among them"
