"""Answers to the exercises of the lesson on variants."""

import functools
import math
import statistics

import numpy as np
import torch
from answers import right, wrong

from metalab.lessons.variants_and_evidence import exercises, solutions


def joined(tensors):
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def split(flat, params):
    return [part.view_as(p) for part, p in zip(flat.split([p.numel() for p in params]), params, strict=True)]


def mean_of(adapted):
    return [torch.stack(ends).mean(dim=0) for ends in zip(*adapted, strict=True)]


OF_SHAPES = {}  # what a function that remembers has returned before


# paired_ratio


@right(exercises.paired_ratio)
def _(ours, theirs, t):
    logs = [math.log(a / b) for a, b in zip(ours.tolist(), theirs.tolist(), strict=True)]
    half = t * statistics.stdev(logs) / math.sqrt(len(logs))
    mean = statistics.mean(logs)
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


@right(exercises.paired_ratio)
def _(ours, theirs, t):
    logs = ours.log() - theirs.log()
    mean, error = logs.mean(), logs.std() / len(logs) ** 0.5
    return torch.exp(mean + torch.tensor([0, -1, 1]) * t * error)


@right(exercises.paired_ratio)
def _(ours, theirs, t):
    logs = np.log2(np.asarray(ours) / np.asarray(theirs))
    error = logs.std(ddof=1) / np.sqrt(logs.size)
    return 2 ** (logs.mean() + t * error * np.array([0.0, -1.0, 1.0]))


@right(exercises.paired_ratio)
def _(ours, theirs, t):
    ratio = statistics.geometric_mean((ours / theirs).tolist())
    factor = math.exp(t * torch.log(ours / theirs).std().item() * len(ours) ** -0.5)
    return [ratio, ratio / factor, ratio * factor]


def of_logs(logs, t, spread=None, root=None):
    """The three numbers of some logarithms."""
    half = t * (logs.std() if spread is None else spread) / (len(logs) ** 0.5 if root is None else root)
    return [math.exp(logs.mean()), math.exp(logs.mean() - half), math.exp(logs.mean() + half)]


@wrong(exercises.paired_ratio, "stands on its head")
def _(ours, theirs, t):
    return of_logs(torch.log(theirs / ours), t)


@wrong(exercises.paired_ratio, "The ratios are averaged as they are")
def _(ours, theirs, t):
    ratios = ours / theirs
    half = t * ratios.std() / len(ratios) ** 0.5
    return [ratios.mean(), ratios.mean() - half, ratios.mean() + half]


@wrong(exercises.paired_ratio, "These are differences of the errors")
def _(ours, theirs, t):
    gaps = ours - theirs
    half = t * gaps.std() / len(gaps) ** 0.5
    return [gaps.mean(), gaps.mean() - half, gaps.mean() + half]


@wrong(exercises.paired_ratio, "It adds the variances of both methods")
def _(ours, theirs, t):
    spread = (ours.log().std() ** 2 + theirs.log().std() ** 2) ** 0.5
    return of_logs((ours / theirs).log(), t, spread)


@wrong(exercises.paired_ratio, "divides by S, not by S - 1")
def _(ours, theirs, t):
    logs = np.log(ours.numpy() / theirs.numpy())
    return of_logs(torch.tensor(logs), t, logs.std())


@wrong(exercises.paired_ratio, "made of the variance")
def _(ours, theirs, t):
    logs = (ours / theirs).log()
    return of_logs(logs, t, logs.var())


@wrong(exercises.paired_ratio, "The division by √S is missing")
def _(ours, theirs, t):
    return of_logs((ours / theirs).log(), t, root=1)


@wrong(exercises.paired_ratio, "It divides by S, not by its root")
def _(ours, theirs, t):
    return of_logs((ours / theirs).log(), t, root=len(ours))


@wrong(exercises.paired_ratio, "It divides by √(S - 1)")
def _(ours, theirs, t):
    return of_logs((ours / theirs).log(), t, root=math.sqrt(len(ours) - 1))


@wrong(exercises.paired_ratio, "It takes 1.96")
def _(ours, theirs, t):
    return of_logs((ours / theirs).log(), 1.96)


@wrong(exercises.paired_ratio, "The factor t is missing")
def _(ours, theirs, t):
    return of_logs((ours / theirs).log(), 1)


@wrong(exercises.paired_ratio, "These are logarithms")
def _(ours, theirs, t):
    return [math.log(value) for value in of_logs((ours / theirs).log(), t)]


@wrong(exercises.paired_ratio, "that of the two mean errors")
def _(ours, theirs, t):
    logs = (ours / theirs).log()
    middle = math.log(statistics.mean(ours.tolist()) / statistics.mean(theirs.tolist()))
    return of_logs(logs - logs.mean() + middle, t)


@wrong(exercises.paired_ratio, "First: ")
def _(ours, theirs, t):
    return of_logs(torch.log(theirs / ours), 1.96)


@wrong(exercises.paired_ratio, "The order is wrong")
def _(ours, theirs, t):
    ratio, low, high = solutions.paired_ratio(ours, theirs, t)
    return low, ratio, high


@wrong(exercises.paired_ratio, "The two ends are exchanged")
def _(ours, theirs, t):
    ratio, low, high = solutions.paired_ratio(ours, theirs, t)
    return ratio, high, low


@wrong(exercises.paired_ratio, "The second number is a half width")
def _(ours, theirs, t):
    logs = (ours / theirs).log()
    half = t * logs.std() / len(logs) ** 0.5
    return logs.mean().exp(), half, half


@wrong(exercises.paired_ratio, "It should return three numbers")
def _(ours, theirs, t):
    return solutions.paired_ratio(ours, theirs, t)[0]


@wrong(exercises.paired_ratio, "so that the pairs are broken")
def _(ours, theirs, t):
    return of_logs((ours.sort().values / theirs.sort().values).log(), t)


@wrong(exercises.paired_ratio, "Each of them is wrong by a factor of its own")
def _(ours, theirs, t):
    return [value + 0.01 for value in solutions.paired_ratio(ours, theirs, t)]


@wrong(exercises.paired_ratio, "The ratio was put back by exp, and then the half width")
def _(ours, theirs, t):
    logs = torch.log(ours / theirs)
    ratio, half = logs.mean().exp(), t * logs.std() / len(logs) ** 0.5
    return ratio, ratio - half, ratio + half


@wrong(exercises.paired_ratio, "exp was taken of the half width")
def _(ours, theirs, t):
    logs = torch.log(ours / theirs)
    ratio, half = logs.mean().exp(), (t * logs.std() / len(logs) ** 0.5).exp()
    return ratio, ratio - half, ratio + half


@wrong(exercises.paired_ratio, "The standard deviation is that of the ratios as they are.")
def _(ours, theirs, t):
    ratios = ours / theirs
    ratio, half = statistics.geometric_mean(ratios.tolist()), t * ratios.std() / len(ratios) ** 0.5
    return ratio, ratio - half, ratio + half


@wrong(exercises.paired_ratio, "It divides one logarithm by the other.")
def _(ours, theirs, t):
    return of_logs(torch.log(ours) / torch.log(theirs), t)


# verdict


@right(exercises.verdict)
def _(wide, narrow, margin):
    return not wide[0] <= 1 <= wide[1], 1 / margin < narrow[0] < narrow[1] < margin


@right(exercises.verdict)
def _(wide, narrow, margin):
    """By logarithms, on which a factor of the margin is as far up as down."""
    low, high = (math.log(end) for end in narrow)
    return math.log(wide[0]) * math.log(wide[1]) > 0, max(-low, high) < math.log(margin)


@right(exercises.verdict)
def _(wide, narrow, margin):
    different = (np.array(wide) > 1).all() or (np.array(wide) < 1).all()
    return [different, (torch.tensor(narrow).log().abs() < math.log(margin)).all()]


@wrong(exercises.verdict, "The first value is turned around")
def _(wide, narrow, margin):
    return wide[0] < 1 < wide[1], solutions.verdict(wide, narrow, margin)[1]


@wrong(exercises.verdict, "The first value is taken from the 90 % interval")
def _(wide, narrow, margin):
    return solutions.verdict(narrow, narrow, margin)


@wrong(exercises.verdict, "The second value is taken from the 95 % interval")
def _(wide, narrow, margin):
    return solutions.verdict(wide, wide, margin)


@wrong(exercises.verdict, "only where ours makes more errors")
def _(wide, narrow, margin):
    return wide[0] > 1, solutions.verdict(wide, narrow, margin)[1]


@wrong(exercises.verdict, "only where ours makes fewer errors")
def _(wide, narrow, margin):
    return wide[1] < 1, solutions.verdict(wide, narrow, margin)[1]


@wrong(exercises.verdict, "No interval is both above 1 and below 1")
def _(wide, narrow, margin):
    return wide[0] > 1 and wide[1] < 1, solutions.verdict(wide, narrow, margin)[1]


@wrong(exercises.verdict, "whether the difference is larger than the margin")
def _(wide, narrow, margin):
    return wide[0] > margin or wide[1] < 1 / margin, solutions.verdict(wide, narrow, margin)[1]


@wrong(exercises.verdict, "a difference that was not shown is not shown to be small")
def _(wide, narrow, margin):
    different, _ = solutions.verdict(wide, narrow, margin)
    return different, not different


@wrong(exercises.verdict, "The lower end is not looked at")
def _(wide, narrow, margin):
    return solutions.verdict(wide, narrow, margin)[0], narrow[1] < margin


@wrong(exercises.verdict, "The upper end is not looked at")
def _(wide, narrow, margin):
    return solutions.verdict(wide, narrow, margin)[0], narrow[0] > 1 / margin


@wrong(exercises.verdict, "One end within the margin is enough here")
def _(wide, narrow, margin):
    return solutions.verdict(wide, narrow, margin)[0], narrow[1] < margin or narrow[0] > 1 / margin


@wrong(exercises.verdict, "The lower bound is 2 - margin")
def _(wide, narrow, margin):
    return solutions.verdict(wide, narrow, margin)[0], all(abs(end - 1) < margin - 1 for end in narrow)


@wrong(exercises.verdict, "The margin 1.2 is written into the code")
def _(wide, narrow, margin):
    return solutions.verdict(wide, narrow, 1.2)


@wrong(exercises.verdict, "It also asks that the interval contains 1")
def _(wide, narrow, margin):
    different, equivalent = solutions.verdict(wide, narrow, margin)
    return different, equivalent and narrow[0] < 1 < narrow[1]


@wrong(exercises.verdict, "The two values are exchanged")
def _(wide, narrow, margin):
    return solutions.verdict(wide, narrow, margin)[::-1]


@wrong(exercises.verdict, "should be True or False; yours is the text")
def _(wide, narrow, margin):
    return "different", "equivalent"


@wrong(exercises.verdict, "It should return two truth values")
def _(wide, narrow, margin):
    return solutions.verdict(wide, narrow, margin)[0]


@wrong(exercises.verdict, "Two things are wrong")
def _(wide, narrow, margin):
    return wide[0] > 1, narrow[0] < 1 < narrow[1]


@wrong(exercises.verdict, "It only asks whether 1 is one of the two ends.")
def _(wide, narrow, margin):
    return 1 not in wide, 1 / margin < narrow[0] and narrow[1] < margin


@wrong(exercises.verdict, "Equivalence is denied where a difference was shown.")
def _(wide, narrow, margin):
    different = not wide[0] < 1 < wide[1]
    return different, not different and 1 / margin < narrow[0] and narrow[1] < margin


@wrong(exercises.verdict, "It only asks whether the interval is narrow.")
def _(wide, narrow, margin):
    return not wide[0] < 1 < wide[1], narrow[1] - narrow[0] < margin - 1 / margin


@wrong(exercises.verdict, "the value for 'equivalent' should be False; yours is True. These arguments are")
def _(wide, narrow, margin):
    return not wide[0] < 1 < wide[1], narrow[0] > 0.8 and narrow[1] < margin


# reptile_update


@right(exercises.reptile_update)
def _(params, adapted, outer_lr):
    new = []
    for i, p in enumerate(params):
        change = sum(task[i] - p for task in adapted) / len(adapted)
        new.append(p + outer_lr * change)
    return new


@right(exercises.reptile_update)
def _(params, adapted, outer_lr):
    new = [p.clone() for p in params]
    for task in adapted:
        for p, start, end in zip(new, params, task, strict=True):
            p += outer_lr / len(adapted) * (end - start)
    return tuple(new)


@right(exercises.reptile_update)
def _(params, adapted, outer_lr):
    return [torch.lerp(p, torch.stack([task[i] for task in adapted]).mean(0), outer_lr) for i, p in enumerate(params)]


@right(exercises.reptile_update)
def _(params, adapted, outer_lr):
    return [(1 - outer_lr) * p + outer_lr * m for p, m in zip(params, mean_of(adapted), strict=True)]


@right(exercises.reptile_update)
def _(params, adapted, outer_lr):
    """Descent along the pseudo-gradient."""
    pseudo = [p - m for p, m in zip(params, mean_of(adapted), strict=True)]
    return [p - outer_lr * g for p, g in zip(params, pseudo, strict=True)]


@right(exercises.reptile_update)
def _(params, adapted, outer_lr):
    """With numpy."""
    means = [np.mean([end.numpy() for end in ends], axis=0) for ends in zip(*adapted, strict=True)]
    return [torch.from_numpy(p.numpy() + outer_lr * (m - p.numpy())) for p, m in zip(params, means, strict=True)]


@right(exercises.reptile_update)
def _(params, adapted, outer_lr):
    """In double precision, whatever the arguments have."""
    new = []
    for p, *ends in zip(params, *adapted, strict=True):
        total = torch.zeros(p.shape, dtype=torch.float64)
        for end in ends:
            total += end
        new.append(p + outer_lr * (total / len(ends) - p))
    return new


@right(exercises.reptile_update)
def _(params, adapted, outer_lr):
    """All in one flat vector."""
    theta = joined(params)
    ends = torch.stack([joined(task) for task in adapted])
    weights = torch.full((len(adapted),), outer_lr / len(adapted), dtype=theta.dtype)
    return split(theta + torch.einsum("t,tn->n", weights, ends - theta), params)


@right(exercises.reptile_update)
def _(params, adapted, outer_lr):
    totals = functools.reduce(lambda a, b: [x + y for x, y in zip(a, b, strict=True)], adapted)
    return [p.add(total / len(adapted) - p, alpha=outer_lr) for p, total in zip(params, totals, strict=True)]


@right(exercises.reptile_update)
def _(params, adapted, outer_lr):
    """The mean of the tasks' own new starts."""
    starts = [[p + outer_lr * (end - p) for p, end in zip(params, task, strict=True)] for task in adapted]
    return mean_of(starts)


@right(exercises.reptile_update)
def _(params, adapted, outer_lr):
    with torch.no_grad():
        return list(map(lambda p, *ends: p + outer_lr * (sum(ends) / len(ends) - p), params, *adapted))


@right(exercises.reptile_update)
def _(params, adapted, outer_lr):
    """A running mean."""
    means = [torch.zeros_like(p) for p in params]
    for count, task in enumerate(adapted, start=1):
        means = [m + (end - m) / count for m, end in zip(means, task, strict=True)]
    return [torch.nn.Parameter(p + outer_lr * (m - p)) for p, m in zip(params, means, strict=True)]


@right(exercises.reptile_update)
def _(params, adapted, outer_lr):
    """An optimizer on copies."""
    own = [torch.nn.Parameter(p.clone()) for p in params]
    for p, m in zip(own, mean_of(adapted), strict=True):
        p.grad = p.detach() - m
    torch.optim.SGD(own, lr=outer_lr).step()
    return [p.detach() for p in own]


@right(exercises.reptile_update)
def _(params, adapted, outer_lr):
    new = []
    for p, *ends in zip(params, *adapted, strict=True):
        differences = torch.stack([end - p for end in ends], dim=-1)
        new += [p + torch.tensor(outer_lr) * differences.mean(-1)]
    return new


@right(exercises.reptile_update)
def _(params, adapted, outer_lr):
    rate = torch.tensor(outer_lr)  # a 0-d tensor of single precision does not change the result's dtype
    tasks = range(len(adapted))
    return [p + outer_lr * (sum(adapted[t][i] for t in tasks) / len(tasks) - p) for i, p in enumerate(params) if rate]


@wrong(exercises.reptile_update, "moves away from where the tasks ended")
def _(params, adapted, outer_lr):
    return [p + outer_lr * (p - m) for p, m in zip(params, mean_of(adapted), strict=True)]


@wrong(exercises.reptile_update, "The differences are added up over the tasks, not averaged")
def _(params, adapted, outer_lr):
    return [p + outer_lr * sum(task[i] - p for task in adapted) for i, p in enumerate(params)]


@wrong(exercises.reptile_update, "The differences are added up over the tasks, not averaged")
def _(params, adapted, outer_lr):
    new = [p.clone() for p in params]
    for task in adapted:
        for i, end in enumerate(task):
            new[i] = new[i] + outer_lr * (end - params[i])
    return new


@wrong(exercises.reptile_update, "The ends are added up over the tasks, and the sum takes the place of their mean")
def _(params, adapted, outer_lr):
    return [p + outer_lr * (sum(task[i] for task in adapted) - p) for i, p in enumerate(params)]


@wrong(exercises.reptile_update, "jumps to the mean of the ends")
def _(params, adapted, outer_lr):
    return mean_of(adapted)


@wrong(exercises.reptile_update, "Only the last task counts")
def _(params, adapted, outer_lr):
    for task in adapted:
        new = [p + outer_lr * (end - p) for p, end in zip(params, task, strict=True)]
    return new


@wrong(exercises.reptile_update, "Only the first task counts")
def _(params, adapted, outer_lr):
    for task in adapted:
        return [p + outer_lr * (end - p) for p, end in zip(params, task, strict=True)]


@wrong(exercises.reptile_update, "Only the first task counts")
def _(params, adapted, outer_lr):
    return [p + outer_lr * (end - p) for p, end in zip(params, adapted[0], strict=True)]


@wrong(exercises.reptile_update, "one after another")
def _(params, adapted, outer_lr):
    for task in adapted:
        params = [p + outer_lr * (end - p) for p, end in zip(params, task, strict=True)]
    return params


@wrong(exercises.reptile_update, "one after another")
def _(params, adapted, outer_lr):
    for task in adapted:
        params = [p + outer_lr / len(adapted) * (end - p) for p, end in zip(params, task, strict=True)]
    return params


@wrong(exercises.reptile_update, ", 0.0625, 0.125 in the result")
def _(params, adapted, outer_lr):
    means = adapted[0]
    for task in adapted[1:]:
        means = [(m + end) / 2 for m, end in zip(means, task, strict=True)]
    return [p + outer_lr * (m - p) for p, m in zip(params, means, strict=True)]


@wrong(exercises.reptile_update, "the weights 0, 0.0625, 0.0625, 0.0625 in the result")
def _(params, adapted, outer_lr):
    total = [torch.zeros_like(p) for p in params]
    for task in adapted[1:]:
        total = [t + end - p for t, end, p in zip(total, task, params, strict=True)]
    return [p + outer_lr * t / len(adapted) for p, t in zip(params, total, strict=True)]


@wrong(exercises.reptile_update, "the weights 0.0833, 0.0833, 0.0833, 0 in the result")
def _(params, adapted, outer_lr):
    return solutions.reptile_update(params, adapted[:-1], outer_lr)


@wrong(exercises.reptile_update, "the weights 0.125, 0, 0, 0.125 in the result")
def _(params, adapted, outer_lr):
    return [p + outer_lr * ((a + b) / 2 - p) for p, a, b in zip(params, adapted[0], adapted[-1], strict=True)]


@wrong(exercises.reptile_update, "a part of the mean itself")
def _(params, adapted, outer_lr):
    return [p + outer_lr * m for p, m in zip(params, mean_of(adapted), strict=True)]


@wrong(exercises.reptile_update, "Is a pair of parentheses missing?")
def _(params, adapted, outer_lr):
    return [p + outer_lr * m - p for p, m in zip(params, mean_of(adapted), strict=True)]


@wrong(exercises.reptile_update, "weights are swapped")
def _(params, adapted, outer_lr):
    return [outer_lr * p + (1 - outer_lr) * m for p, m in zip(params, mean_of(adapted), strict=True)]


@wrong(exercises.reptile_update, "weights are swapped")
def _(params, adapted, outer_lr):
    return [torch.lerp(m, p, outer_lr) for p, m in zip(params, mean_of(adapted), strict=True)]


@wrong(exercises.reptile_update, "returns the change alone")
def _(params, adapted, outer_lr):
    return [outer_lr * (m - p) for p, m in zip(params, mean_of(adapted), strict=True)]


@wrong(exercises.reptile_update, "It returns `params` minus the mean of the ends")
def _(params, adapted, outer_lr):
    return [p - m for p, m in zip(params, mean_of(adapted), strict=True)]


@wrong(exercises.reptile_update, "which is the whole way")
def _(params, adapted, outer_lr):
    return [m - p for p, m in zip(params, mean_of(adapted), strict=True)]


@wrong(exercises.reptile_update, "the result is 0.25 times `params` minus 0.25 times the mean of the ends")
def _(params, adapted, outer_lr):
    return [outer_lr * (p - m) for p, m in zip(params, mean_of(adapted), strict=True)]


@wrong(exercises.reptile_update, "the result is 0.75 times `params` plus the mean of the ends")
def _(params, adapted, outer_lr):
    return [(1 - outer_lr) * p + m for p, m in zip(params, mean_of(adapted), strict=True)]


@wrong(exercises.reptile_update, "the result is `params` minus 0.25 times the mean of the ends")
def _(params, adapted, outer_lr):
    return [p - outer_lr * m for p, m in zip(params, mean_of(adapted), strict=True)]


@wrong(exercises.reptile_update, "added up over the tasks, not averaged, and they are subtracted")
def _(params, adapted, outer_lr):
    """Summed, and away from the ends."""
    return [p - outer_lr * sum(task[i] - p for task in adapted) for i, p in enumerate(params)]


@wrong(exercises.reptile_update, "outer_lr comes in twice")
def _(params, adapted, outer_lr):
    changes = [outer_lr * (m - p) for p, m in zip(params, mean_of(adapted), strict=True)]
    return [p + outer_lr * change for p, change in zip(params, changes, strict=True)]


@wrong(exercises.reptile_update, "It divides by the number of tasks twice")
def _(params, adapted, outer_lr):
    return [p + outer_lr * (m - p) / len(adapted) for p, m in zip(params, mean_of(adapted), strict=True)]


@wrong(exercises.reptile_update, "The mean of the ends is divided by the number of tasks once more")
def _(params, adapted, outer_lr):
    return [p + outer_lr * (m / len(adapted) - p) for p, m in zip(params, mean_of(adapted), strict=True)]


@wrong(exercises.reptile_update, "divided by the number of tasks minus 1")
def _(params, adapted, outer_lr):
    return [p + outer_lr * sum(task[i] - p for task in adapted) / (len(adapted) - 1) for i, p in enumerate(params)]


@wrong(exercises.reptile_update, "The start is counted as if it were one more end")
def _(params, adapted, outer_lr):
    means = mean_of([params, *adapted])
    return [p + outer_lr * (m - p) for p, m in zip(params, means, strict=True)]


@wrong(exercises.reptile_update, "divides by the number of tensors")
def _(params, adapted, outer_lr):
    return [p + outer_lr * sum(task[i] - p for task in adapted) / len(params) for i, p in enumerate(params)]


@wrong(exercises.reptile_update, "is divided by 5, however many tasks there are")
def _(params, adapted, outer_lr):
    return [p + outer_lr * sum(task[i] - p for task in adapted) / 5 for i, p in enumerate(params)]


@wrong(exercises.reptile_update, "is divided by 3, however many tasks there are")
def _(params, adapted, outer_lr):
    return [p + outer_lr * (sum(task[i] for task in adapted) / 3 - p) for i, p in enumerate(params)]


@wrong(exercises.reptile_update, "the weights 0.0833, 0.0833, 0.0833, 0 in the result")
def _(params, adapted, outer_lr):
    return solutions.reptile_update(params, adapted[:3], outer_lr)


@wrong(exercises.reptile_update, "The start moves 0.3 of the way to the mean, whatever outer_lr is")
def _(params, adapted, outer_lr):
    return solutions.reptile_update(params, adapted, 0.3)


@wrong(exercises.reptile_update, "The start moves 0.25 of the way to the mean, whatever outer_lr is")
def _(params, adapted, outer_lr):
    return solutions.reptile_update(params, adapted, 0.25)


@wrong(exercises.reptile_update, "The start moves 0.9 times as far as it should")
def _(params, adapted, outer_lr):
    return solutions.reptile_update(params, adapted, 0.9 * outer_lr)


@wrong(exercises.reptile_update, "no step was taken")
def _(params, adapted, outer_lr):
    for p, m in zip(params, mean_of(adapted), strict=True):
        p = p + outer_lr * (m - p)
    return params


@wrong(exercises.reptile_update, "towards the median of the ends")
def _(params, adapted, outer_lr):
    return [
        p + outer_lr * (torch.stack(ends).median(dim=0).values - p)
        for p, ends in zip(params, zip(*adapted, strict=True), strict=True)
    ]


@wrong(exercises.reptile_update, "towards the median of the ends")
def _(params, adapted, outer_lr):
    medians = [torch.from_numpy(np.median(torch.stack(ends), axis=0)) for ends in zip(*adapted, strict=True)]
    return [p + outer_lr * (m - p) for p, m in zip(params, medians, strict=True)]


@wrong(exercises.reptile_update, "The mean is taken over entries of a tensor too")
def _(params, adapted, outer_lr):
    return [
        p + outer_lr * (torch.stack(ends).mean() - p)
        for p, ends in zip(params, zip(*adapted, strict=True), strict=True)
    ]


@wrong(exercises.reptile_update, "The mean is taken over entries of a tensor too")
def _(params, adapted, outer_lr):
    ends = [torch.stack(of_p) for of_p in zip(*adapted, strict=True)]
    return [p + outer_lr * (e.mean(dim=(0, 1)) - p) for p, e in zip(params, ends, strict=True)]


@wrong(exercises.reptile_update, "A tensor moves towards the ends of another one")
def _(params, adapted, outer_lr):
    return [p + outer_lr * (sum(task[0] for task in adapted) / len(adapted) - p) for p in params]


@wrong(exercises.reptile_update, "A tensor moves towards the ends of another one")
def _(params, adapted, outer_lr):
    for mean in mean_of(adapted):
        new = [p + outer_lr * (mean - p) for p in params]
    return new


@wrong(exercises.reptile_update, "The mean is taken over the tensors of one task")
def _(params, adapted, outer_lr):
    return [p + outer_lr * (sum(adapted[i]) / len(params) - p) for i, p in enumerate(params)]


@wrong(exercises.reptile_update, "The mean is taken over all tensors of all tasks")
def _(params, adapted, outer_lr):
    everything = [end for task in adapted for end in task]
    mean = sum(everything) / len(everything)
    return [p + outer_lr * (mean - p) for p in params]


@wrong(exercises.reptile_update, "Only some of the tensors move: result[1] did not")
def _(params, adapted, outer_lr):
    new = list(params)
    for i in range(len(params) - 1):
        new[i] = params[i] + outer_lr * (sum(task[i] for task in adapted) / len(adapted) - params[i])
    return new


@wrong(exercises.reptile_update, "their ends have the weights 0, 0.25, 0, 0 in the result")
def _(params, adapted, outer_lr):
    return [p + outer_lr * (end - p) for p, end in zip(params, adapted[1], strict=True)]


@wrong(exercises.reptile_update, "the result is 0.75 times `params`. It should be")
def _(params, adapted, outer_lr):
    return [(1 - outer_lr) * p for p in params]


@wrong(exercises.reptile_update, "plus 0.3333 times the mean of the ends")
def _(params, adapted, outer_lr):
    return [p + outer_lr * (sum(task[i] for task in adapted) / len(p) - p) for i, p in enumerate(params)]


@wrong(exercises.reptile_update, "yours is a list of 4 that has a list in it")
def _(params, adapted, outer_lr):
    return [[p + outer_lr * (end - p) for p, end in zip(params, task, strict=True)] for task in adapted]


@wrong(exercises.reptile_update, "It changes `params`, or the tasks' ends, in place")
def _(params, adapted, outer_lr):
    adapted.append(params)
    return solutions.reptile_update(params, adapted, outer_lr)


@wrong(exercises.reptile_update, "It changes `params`, or the tasks' ends, in place")
def _(params, adapted, outer_lr):
    for p, m in zip(params, mean_of(adapted), strict=True):
        p += outer_lr * (m - p)
    return params


@wrong(exercises.reptile_update, "It changes `params`, or the tasks' ends, in place")
def _(params, adapted, outer_lr):
    for task in adapted:
        for p, end in zip(params, task, strict=True):
            p.lerp_(end, outer_lr)
    return params


@wrong(exercises.reptile_update, "It changes `params`, or the tasks' ends, in place")
def _(params, adapted, outer_lr):
    totals = adapted[0]
    for task in adapted[1:]:
        for total, end in zip(totals, task, strict=True):
            total += end
    return [p + outer_lr * (total / len(adapted) - p) for p, total in zip(params, totals, strict=True)]


@wrong(exercises.reptile_update, "should have the precision of the arguments")
def _(params, adapted, outer_lr):
    new = []
    for i, p in enumerate(params):
        mean = torch.zeros(p.shape)
        for task in adapted:
            mean += task[i] / len(adapted)
        new.append(p + outer_lr * (mean - p))
    return new


@wrong(exercises.reptile_update, "result[0] has the shape [4, 3, 3]; it should be [3, 3]")
def _(params, adapted, outer_lr):
    return [p + outer_lr * (torch.stack(ends) - p) for p, ends in zip(params, zip(*adapted, strict=True), strict=True)]


@wrong(exercises.reptile_update, "yours has 4, which is too many")
def _(params, adapted, outer_lr):
    return [p + outer_lr * (end - p) for task in adapted for p, end in [(params[0], task[0])]]


@wrong(exercises.reptile_update, "as one list of 3 tensors, like `params`; yours has 2")
def _(params, adapted, outer_lr):
    means = mean_of(adapted)
    return [params[i] + outer_lr * (means[i] - params[i]) for i in range(2)]


@wrong(exercises.reptile_update, "unsupported operand type(s) for -: 'list' and 'Tensor'")
def _(params, adapted, outer_lr):
    return [p + outer_lr * (end - p) for p, end in zip(params, adapted, strict=False)]


@wrong(exercises.reptile_update, "list index out of range, at line")
def _(params, adapted, outer_lr):
    tasks = range(len(adapted))
    return [p + outer_lr * (sum(adapted[i][t] for t in tasks) / len(tasks) - p) for i, p in enumerate(params)]


@wrong(exercises.reptile_update, "but got list")
def _(params, adapted, outer_lr):
    return [p + outer_lr * (m - p) for p, m in zip(params, torch.stack(adapted).mean(0), strict=True)]


@wrong(exercises.reptile_update, "they cannot be stacked")
def _(params, adapted, outer_lr):
    start = torch.stack(params)
    ends = torch.stack([torch.stack(task) for task in adapted])
    return list(start + outer_lr * (ends.mean(0) - start))


@wrong(exercises.reptile_update, "is each sum or mean taken over the right axis?")
def _(params, adapted, outer_lr):
    ends = zip(*adapted, strict=True)
    return [p + outer_lr * (torch.stack(of_p).mean(dim=1) - p) for p, of_p in zip(params, ends, strict=True)]


@wrong(exercises.reptile_update, "in yours there is a list of 3")
def _(params, adapted, outer_lr):
    return [new.tolist() for new in solutions.reptile_update(params, adapted, outer_lr)]


@wrong(exercises.reptile_update, "in yours there is a NumPy array of shape")
def _(params, adapted, outer_lr):
    return [new.numpy() for new in solutions.reptile_update(params, adapted, outer_lr)]


@wrong(exercises.reptile_update, "in yours there is the number")
def _(params, adapted, outer_lr):
    return [new.mean().item() for new in solutions.reptile_update(params, adapted, outer_lr)]


@wrong(exercises.reptile_update, "yours is a generator, which is empty after one loop over it")
def _(params, adapted, outer_lr):
    return (p + outer_lr * (m - p) for p, m in zip(params, mean_of(adapted), strict=True))


@wrong(exercises.reptile_update, "yours is a dict")
def _(params, adapted, outer_lr):
    return {f"w{i}": new for i, new in enumerate(solutions.reptile_update(params, adapted, outer_lr))}


@wrong(exercises.reptile_update, "yours is a tensor of shape [18]")
def _(params, adapted, outer_lr):
    return joined(solutions.reptile_update(params, adapted, outer_lr))


@wrong(exercises.reptile_update, "not finite")
def _(params, adapted, outer_lr):
    return [p + outer_lr * (m - p) / 0 for p, m in zip(params, mean_of(adapted), strict=True)]


@wrong(exercises.reptile_update, "It returns the result of an earlier call")
def _(params, adapted, outer_lr):
    shapes = ("update", *(p.shape for p in params))
    if shapes not in OF_SHAPES:
        OF_SHAPES[shapes] = solutions.reptile_update(params, adapted, outer_lr)
    return OF_SHAPES[shapes]


@wrong(exercises.reptile_update, "divided by the number of tasks minus 1")
def _(params, adapted, outer_lr):
    tasks = len(adapted)
    return [p + outer_lr * (m * tasks / (tasks - 1) - p) for p, m in zip(params, mean_of(adapted), strict=True)]


@wrong(exercises.reptile_update, "The way to the mean is divided by its length")
def _(params, adapted, outer_lr):
    ways = [m - p for p, m in zip(params, mean_of(adapted), strict=True)]
    return [p + outer_lr * way / joined(ways).norm() for p, way in zip(params, ways, strict=True)]


@wrong(exercises.reptile_update, "Only the sign of the difference is used")
def _(params, adapted, outer_lr):
    return [p + outer_lr * (m - p).sign() for p, m in zip(params, mean_of(adapted), strict=True)]


@wrong(exercises.reptile_update, "Large differences are cut down to 1")
def _(params, adapted, outer_lr):
    return [p + outer_lr * (m - p).clamp(-1, 1) for p, m in zip(params, mean_of(adapted), strict=True)]


@wrong(exercises.reptile_update, "towards the largest of the ends")
def _(params, adapted, outer_lr):
    ends = zip(*adapted, strict=True)
    return [p + outer_lr * (torch.stack(of_p).amax(0) - p) for p, of_p in zip(params, ends, strict=True)]


@wrong(exercises.reptile_update, "divided with //")
def _(params, adapted, outer_lr):
    tasks = len(adapted)
    return [p + outer_lr * (sum(task[i] for task in adapted) // tasks - p) for i, p in enumerate(params)]


@wrong(exercises.reptile_update, "The lengths of the differences are averaged")
def _(params, adapted, outer_lr):
    return [p + outer_lr * sum((t[i] - p).norm() for t in adapted) / len(adapted) for i, p in enumerate(params)]


@wrong(exercises.reptile_update, "The sum over the tasks is not set back to zero for each tensor")
def _(params, adapted, outer_lr):
    new, total = [], 0
    for i, p in enumerate(params):
        for task in adapted:
            total = total + task[i]
        new.append(p + outer_lr * (total / len(adapted) - p))
    return new


@wrong(exercises.reptile_update, "moves towards the same number, a mean over everything")
def _(params, adapted, outer_lr):
    means = [sum(end.mean() for end in task) / len(task) for task in adapted]
    return [p + outer_lr * (sum(means) / len(means) - p) for p in params]


@wrong(exercises.reptile_update, "rounded to 3 decimal places")
def _(params, adapted, outer_lr):
    return [p.round(decimals=3) for p in solutions.reptile_update(params, adapted, outer_lr)]


@wrong(exercises.reptile_update, "It returns 8 tensors, as many as all 4 tasks have together")
def _(params, adapted, outer_lr):
    return [p + outer_lr * (end - p) for task in adapted for p, end in zip(params, task, strict=True)]


@wrong(exercises.reptile_update, "so they do not fit into one array")
def _(params, adapted, outer_lr):
    means = np.mean(adapted, axis=0)
    return [p + outer_lr * (torch.tensor(m) - p) for p, m in zip(params, means, strict=True)]


@wrong(exercises.reptile_update, "The arguments come in the order params, adapted, outer_lr")
def _(adapted, params, outer_lr):
    return solutions.reptile_update(params, adapted, outer_lr)


# passes


@right(exercises.passes)
def _(p, level):
    """From the smallest on, with a list of pairs that shrinks."""
    waiting, found = sorted((value, place) for place, value in enumerate(p)), [False] * len(p)
    while waiting and waiting[0][0] < level / len(waiting):
        found[waiting.pop(0)[1]] = True
    return found


@right(exercises.passes)
def _(p, level):
    """By corrected p, which never fall from one comparison to the next."""
    p = np.asarray(p)
    order = p.argsort()
    corrected = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    found = np.zeros(len(p), dtype=bool)
    found[order] = corrected < level
    return found


@right(exercises.passes)
def _(p, level):
    values, order = torch.tensor(p, dtype=torch.float64).sort()
    below = values < level / torch.arange(len(p), 0, -1, dtype=torch.float64)
    return [bool(below[: rank + 1].all()) for rank in order.argsort().tolist()]


def ranked(p, level, limit, stop=True):
    """The truth values of limits by rank."""
    found = [False] * len(p)
    for rank, place in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        if p[place] < limit(rank):
            found[place] = True
        elif stop:
            break
    return found


@right(exercises.passes)
def _(p, level):
    every, passed = list(p), set()
    while p and min(p) < level / len(p):
        passed.add(min(p))
        p.remove(min(p))
    return [one in passed for one in every]


@wrong(exercises.passes, "This is Bonferroni's method")
def _(p, level):
    return [value < level / len(p) for value in p]


@wrong(exercises.passes, "compared with the level itself")
def _(p, level):
    return [value < level for value in p]


@wrong(exercises.passes, "The divisors are in the wrong order")
def _(p, level):
    return ranked(p, level, lambda rank: level / (rank + 1))


@wrong(exercises.passes, "It goes on after the first p that does not pass")
def _(p, level):
    return ranked(p, level, lambda rank: level / (len(p) - rank), stop=False)


@wrong(exercises.passes, "as in the method of Benjamini and Hochberg")
def _(p, level):
    return ranked(p, level, lambda rank: level * (rank + 1) / len(p))


@wrong(exercises.passes, "in the order of the sorted p")
def _(p, level):
    return sorted(solutions.passes(p, level), reverse=True)


@wrong(exercises.passes, "turned around")
def _(p, level):
    return [not passed for passed in solutions.passes(p, level)]


@wrong(exercises.passes, "The level 0.05 is written into the code")
def _(p, level):
    return solutions.passes(p, 0.05)


@wrong(exercises.passes, "The divisor is too large by one")
def _(p, level):
    return ranked(p, level, lambda rank: level / (len(p) - rank + 1))


@wrong(exercises.passes, "The divisor is too small by one")
def _(p, level):
    return ranked(p, level, lambda rank: level / max(1, len(p) - rank - 1))


@wrong(exercises.passes, "It begins with the largest p")
def _(p, level):
    found = [False] * len(p)
    for rank, place in enumerate(sorted(range(len(p)), key=lambda i: -p[i])):
        if p[place] >= level / (len(p) - rank):
            break
        found[place] = True
    return found


@wrong(exercises.passes, "Each value should be True or False")
def _(p, level):
    return [int(passed) for passed in solutions.passes(p, level)]


@wrong(exercises.passes, "It should return a list of 3 truth values")
def _(p, level):
    return sum(solutions.passes(p, level))


@wrong(exercises.passes, "the truth values should be")
def _(p, level):
    return [value < 0.0125 for value in p]


# step_with_rates


@right(exercises.step_with_rates)
def _(theta, gradients, rates):
    new = {}
    for name, p in theta.items():
        new[name] = p.clone()
        new[name] -= gradients[name] * rates[name]
    return new


@right(exercises.step_with_rates)
def _(theta, gradients, rates):
    return {name: torch.addcmul(p, torch.as_tensor(-rates[name]), gradients[name]) for name, p in theta.items()}


@right(exercises.step_with_rates)
def _(theta, gradients, rates):
    """By numpy."""
    return {
        n: torch.from_numpy(np.asarray(p) - np.asarray(rates[n]) * np.asarray(gradients[n])) for n, p in theta.items()
    }


@wrong(exercises.step_with_rates, "It climbs")
def _(theta, gradients, rates):
    return {name: theta[name] + rates[name] * gradients[name] for name in theta}


@wrong(exercises.step_with_rates, "the size of each rate")
def _(theta, gradients, rates):
    return {name: theta[name] - abs(rates[name]) * gradients[name] for name in theta}


@wrong(exercises.step_with_rates, "Rates below 0 are taken as 0")
def _(theta, gradients, rates):
    return {name: theta[name] - torch.as_tensor(rates[name]).relu() * gradients[name] for name in theta}


@wrong(exercises.step_with_rates, "Multiply entry by entry")
def _(theta, gradients, rates):
    return {name: theta[name] - float(torch.as_tensor(rates[name]).mean()) * gradients[name] for name in theta}


@wrong(exercises.step_with_rates, "The rates are not used")
def _(theta, gradients, rates):
    return {name: theta[name] - gradients[name] for name in theta}


@wrong(exercises.step_with_rates, "It returns the change alone")
def _(theta, gradients, rates):
    return {name: -rates[name] * gradients[name] for name in theta}


@wrong(exercises.step_with_rates, "The names should be")
def _(theta, gradients, rates):
    return {"w1": theta["w1"] - rates["w1"] * gradients["w1"]}


@wrong(exercises.step_with_rates, "It should return a dictionary of tensors by name")
def _(theta, gradients, rates):
    return [theta[name] - rates[name] * gradients[name] for name in theta]


@wrong(exercises.step_with_rates, "The rates of the first tensor are used for all of them")
def _(theta, gradients, rates):
    rate = torch.as_tensor(rates["w1"]).double().mean()
    return {name: theta[name] - rate * gradients[name] for name in theta}


@wrong(exercises.step_with_rates, "It multiplies theta, and not the gradient, by the rate")
def _(theta, gradients, rates):
    return {name: theta[name] - rates[name] * theta[name] for name in theta}


@wrong(exercises.step_with_rates, "w1 should be a tensor")
def _(theta, gradients, rates):
    return {name: (theta[name] - rates[name] * gradients[name]).sum(0) for name in theta}
