"""Kernel regression and nearest neighbours, compared with loops and with scikit-learn's."""

import math

import pytest
import torch
from problems import seeded
from sklearn.neighbors import KNeighborsRegressor

from metalab.learners.non_parametric import kernel_regression, nearest_neighbours
from metalab.tasks import sine


def test_kernel_regression_is_the_weighted_mean_that_a_loop_computes():
    episode = sine.sample(2, 4, 3, seeded()).to(torch.float64)
    answers = kernel_regression(episode, 0.7)
    for task in range(2):
        for query in range(3):
            x = episode.query_x[task, query].item()
            weights = [math.exp(-((x - at) ** 2) / (2 * 0.7**2)) for at in episode.support_x[task, :, 0].tolist()]
            ys = episode.support_y[task, :, 0].tolist()
            expected = sum(w * y for w, y in zip(weights, ys, strict=True)) / sum(weights)
            assert answers[task, query, 0].item() == pytest.approx(expected)


def test_far_from_all_points_kernel_regression_takes_the_nearest():
    episode = sine.sample(1, 4, 1, seeded())
    episode.query_x.fill_(1000.0)
    nearest = episode.support_x[0, :, 0].argmax()
    torch.testing.assert_close(kernel_regression(episode, 0.5)[0, 0], episode.support_y[0, nearest])


@pytest.mark.parametrize("count", [1, 3])
def test_nearest_neighbours_are_scikit_learns(count):
    episode = sine.sample(2, 6, 5, seeded())
    answers = nearest_neighbours(episode, count)
    for task in range(2):
        theirs = KNeighborsRegressor(count).fit(episode.support_x[task], episode.support_y[task])
        torch.testing.assert_close(answers[task], torch.from_numpy(theirs.predict(episode.query_x[task])).float())


def test_there_must_be_enough_neighbours():
    with pytest.raises(ValueError, match="count=7 must be a whole number of at least 1 and at most 6"):
        nearest_neighbours(sine.sample(1, 6, 5, seeded()), 7)
