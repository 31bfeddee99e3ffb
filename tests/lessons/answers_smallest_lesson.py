"""Answers to the exercise of the smallest lesson."""

import statistics

import torch
from answers import right, wrong

from metalab.lessons.smallest_lesson.exercises import mean_loss

right(mean_loss)(torch.mean)
right(mean_loss)(lambda losses: sum(losses) / len(losses))
right(mean_loss)(lambda losses: statistics.fmean(losses.tolist()))

wrong(mean_loss, "the sum")(sum)
wrong(mean_loss, "the first task")(lambda losses: next(iter(losses)))
wrong(mean_loss, "the last task")(lambda losses: losses.tolist().pop())
wrong(mean_loss, "the largest")(max)
wrong(mean_loss, "the smallest")(min)
wrong(mean_loss, "the median")(lambda losses: statistics.median(losses.tolist()))
wrong(mean_loss, "The mean is 0.5 times what should be there")(lambda losses: 0.5 * losses.mean())
wrong(mean_loss, "minus the mean")(lambda losses: sum(-losses) / len(losses))
wrong(mean_loss, "as if the divisor were the number of tasks minus 1")(lambda losses: sum(losses) / (len(losses) - 1))
wrong(mean_loss, "root mean square")(lambda losses: losses.norm() / len(losses) ** 0.5)
wrong(mean_loss, "a number that belongs to the arguments")(lambda losses: sum(losses) / 5)
wrong(mean_loss, "should be one number")(lambda losses: losses.cumsum(0) / len(losses))
