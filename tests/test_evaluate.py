import numpy as np
import pytest
import torch

from metalab.evaluate import Score, evaluate
from metalab.losses import mse
from metalab.tasks import Episode, sine


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def coins(tasks, generator):
    """Two-way tasks whose pictures tell nothing; the labels of the queries are coin flips."""
    labels = torch.randint(2, (tasks, 6), generator=generator)
    pictures = torch.rand(tasks, 6, 1, generator=generator)
    return Episode(pictures[:, :2], torch.tensor([[0, 1]]).expand(tasks, 2), pictures, labels, ways=2)


def always_first(episode):
    return torch.tensor([1.0, 0.0]).expand(*episode.query_y.shape, 2)


def test_mean_and_interval_are_numpys():
    values = torch.rand(37, generator=seeded())
    score = Score.of(values)
    exact = values.numpy().astype(np.float64)
    assert score.mean == pytest.approx(exact.mean(), rel=1e-12)
    assert score.ci95 == pytest.approx(1.96 * exact.std(ddof=1) / np.sqrt(37), rel=1e-12)
    assert score.episodes == 37


@pytest.mark.parametrize("episodes", [0, 1])
def test_too_few_episodes_for_an_interval(episodes):
    says = "values has the shape" if episodes == 0 else "episodes=1 gives no confidence interval: at least 2 are needed"
    with pytest.raises(ValueError, match=says):
        Score.of(torch.ones(episodes))


def test_scores_read_well():
    score = Score(mean=0.98712, ci95=0.00347, episodes=600)
    assert score.percent() == "98.7 ± 0.3 %"
    assert str(score) == "0.99 ± 0.00"


def test_each_episode_is_scored_once():
    drawn, answered = [], []

    def draw(tasks, generator):
        episode = coins(tasks, generator)
        drawn.append(episode.query_y)
        return episode

    def predict(episode):
        answered.append(episode.tasks)
        return always_first(episode)

    score = evaluate(predict, draw, episodes=23, batch=10)
    assert answered == [10, 10, 3]
    shares = (torch.cat(drawn) == 0).double().mean(1).numpy()
    assert score.episodes == len(shares) == 23
    assert score.mean == pytest.approx(shares.mean(), rel=1e-6)
    assert score.ci95 == pytest.approx(1.96 * shares.std(ddof=1) / np.sqrt(23), rel=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"episodes": 0}, "episodes=0 must be a whole number of at least 1"),
        ({"episodes": 1}, "episodes=1 gives no confidence interval: at least 2 are needed"),
        ({"batch": 0}, "batch=0 must be a whole number of at least 1"),
    ],
)
def test_bad_numbers_are_named_before_anything_is_drawn(options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        evaluate(always_first, coins, **options)


def test_same_seed_same_episodes():
    before = torch.random.get_rng_state()

    def seen(seed):
        labels = []
        evaluate(lambda e: labels.append(e.query_y) or always_first(e), coins, episodes=20, batch=8, seed=seed)
        return torch.cat(labels)

    assert torch.equal(seen(1), seen(1))
    assert not torch.equal(seen(1), seen(2))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_another_measure():
    def draw(tasks, generator):
        return sine.sample(tasks, 1, 4, generator)

    score = evaluate(lambda e: torch.zeros_like(e.query_y), draw, episodes=9, batch=9, seed=4, measure=mse)
    targets = draw(9, seeded(4)).query_y
    assert score.mean == pytest.approx(targets.double().square().mean().item(), rel=1e-6)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"sample": lambda tasks, generator: coins(3, generator)}, "sample returned 3 tasks where it was asked for 5"),
        ({"measure": lambda logits, labels: logits}, r"measure returned the shape \[5, 6, 2\]; it must be \[T\]"),
        ({"measure": lambda logits, labels: logits.mean()}, r"measure returned the shape \[\]; it must be \[T\]"),
        ({"predict": lambda episode: always_first(episode)[:, :2]}, r"labels has the shape \[5, 6\]"),
        ({"predict": None}, "predict=None must be a function"),
        ({"sample": 3}, "sample=3 must be a function"),
        ({"device": "gpu"}, "device='gpu' must be"),
        ({"seed": -1}, "seed=-1 must be a whole number"),
    ],
)
def test_what_cannot_be_scored_is_named(arguments, says):
    with pytest.raises((TypeError, ValueError), match=says):
        evaluate(**{"predict": always_first, "sample": coins, "episodes": 10, "batch": 5} | arguments)
