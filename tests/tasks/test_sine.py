import pytest
import torch

from metalab.tasks.sine import Sine, sample


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def covers(values, low, high):
    """Whether thousands of values fill low … high and leave it nowhere: uniform ones do."""
    width = high - low
    counts = torch.histc(values.double(), 10, low, high)
    inside = values.min() >= low and values.max() <= high
    return inside and values.min() < low + 0.01 * width and values.max() > high - 0.01 * width and counts.min() > 0


def test_the_papers_family():
    tasks = Sine.draw(5000, seeded())
    assert covers(tasks.amplitude, 0.1, 5.0)
    assert covers(tasks.phase, 0.0, torch.pi)
    assert not torch.allclose(tasks.amplitude / 5, tasks.phase / torch.pi, atol=0.1), "A and φ must be independent"


def test_a_task_is_a_shifted_sine():
    task = Sine(torch.tensor([2.0, 0.5]), torch.tensor([0.0, torch.pi / 2]))
    x = torch.tensor([0.0, torch.pi / 2, torch.pi]).view(1, 3, 1).expand(2, 3, 1)
    expected = [[0.0, 2.0, 0.0], [-0.5, 0.0, 0.5]]  # 2 sin x, and sin(x − π/2)/2
    torch.testing.assert_close(task(x).squeeze(2), torch.tensor(expected), rtol=0, atol=1e-6)


def test_episode_shapes_and_values():
    task = Sine.draw(3, seeded())
    episode = task.episode(4, 6, seeded(1))
    assert episode.support_x.shape == episode.support_y.shape == (3, 4, 1)
    assert episode.query_x.shape == episode.query_y.shape == (3, 6, 1)
    for t in range(3):
        for x, y in ((episode.support_x, episode.support_y), (episode.query_x, episode.query_y)):
            torch.testing.assert_close(y[t], task.amplitude[t] * torch.sin(x[t] - task.phase[t]))


def test_x_fills_the_range():
    episode = Sine.draw(50, seeded()).episode(100, 100, seeded(1))
    assert covers(episode.support_x, -5.0, 5.0)
    assert covers(episode.query_x, -5.0, 5.0)
    assert not torch.equal(episode.support_x, episode.query_x)


def test_support_range_binds_the_support_alone():
    episode = Sine.draw(50, seeded()).episode(100, 100, seeded(1), support_range=(-5.0, 0.0))
    assert covers(episode.support_x, -5.0, 0.0)
    assert covers(episode.query_x, -5.0, 5.0)


def test_sample_draws_fresh_tasks_from_the_generator_alone():
    before = torch.random.get_rng_state()
    generator = seeded(3)
    first, second = sample(2, 3, 4, generator), sample(2, 3, 4, generator)
    again = sample(2, 3, 4, seeded(3))
    assert first.support_x.shape == (2, 3, 1)
    assert first.query_y.shape == (2, 4, 1)
    assert torch.equal(first.query_y, again.query_y)
    assert not torch.equal(first.query_y, second.query_y)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1, 1), "tasks=0 must be at least 1"),
        ((1, 0, 1), "shots=0 must be at least 1"),
        ((1, 1, -2), "queries=-2 must be at least 1"),
    ],
)
def test_bad_counts_are_named(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        sample(*arguments, seeded())


@pytest.mark.parametrize("bad", [(1.0, 1.0), (2.0, -2.0), (float("nan"), 1.0)])
def test_bad_support_range_is_named(bad):
    with pytest.raises(ValueError, match=r"support_range=\(.*\) must be \(low, high\) with low < high"):
        Sine.draw(1, seeded()).episode(1, 1, seeded(), support_range=bad)
