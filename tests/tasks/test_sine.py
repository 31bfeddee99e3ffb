import pytest
import torch
from wrong import NO_GENERATOR, NO_TENSOR, NO_WHOLE_NUMBER, Elsewhere, seeded

from metalab.tasks.sine import Sine, sample


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
        ((0, 1, 1), "tasks=0 must be a whole number of at least 1"),
        ((1, 0, 1), "shots=0 must be a whole number of at least 1"),
        ((1, 1, -2), "queries=-2 must be a whole number of at least 1"),
    ],
)
def test_bad_counts_are_named(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        sample(*arguments, seeded())


@pytest.mark.parametrize("wrong", NO_WHOLE_NUMBER)
def test_counts_of_another_type_are_named(wrong):
    for name in ("tasks", "shots", "queries"):
        with pytest.raises(TypeError, match=f"{name}=.* must be a whole number"):
            sample(**{"tasks": 1, "shots": 1, "queries": 1, name: wrong}, generator=seeded())


@pytest.mark.parametrize("bad", [(1.0, 1.0), (2.0, -2.0), [3, 3]])
def test_bad_support_range_is_named(bad):
    with pytest.raises(ValueError, match=r"support_range=.* must be \(low, high\) with low < high"):
        Sine.draw(1, seeded()).episode(1, 1, seeded(), support_range=bad)


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("bad", "end"), [((0, INF), 1), ((-INF, 0), 0), ((NAN, 1), 0), ((0, NAN), 1), ((0, 1e7), 1), ((-(10**400), 0), 0)]
)
def test_an_interval_has_finite_ends_that_float32_resolves(bad, end):
    with pytest.raises(ValueError, match=rf"support_range\[{end}\]=.* must be a finite number"):
        Sine.draw(1, seeded()).episode(1, 1, seeded(), support_range=bad)


@pytest.mark.parametrize("bad", [None, 1.0, (1.0,), (0, 1, 2), "ab", (True, 2), (0, "1"), (None, 1), torch.zeros(3)])
def test_what_is_no_interval_is_named(bad):
    with pytest.raises(TypeError, match="support_range"):
        Sine.draw(1, seeded()).episode(1, 1, seeded(), support_range=bad)


@pytest.mark.parametrize("wrong", NO_GENERATOR)
def test_what_is_no_generator_is_named(wrong):
    for call in (lambda: sample(1, 1, 1, wrong), lambda: Sine.draw(1, seeded()).episode(1, 1, wrong)):
        with pytest.raises(TypeError, match=r"generator=.* must be a torch.Generator"):
            call()


def test_a_generator_elsewhere_is_named():
    with pytest.raises(ValueError, match="generator is on cuda, and must be on cpu"):
        Sine.draw(1, seeded()).episode(1, 1, Elsewhere())


@pytest.mark.parametrize(
    ("amplitude", "phase", "message"),
    [
        (torch.ones(3), torch.ones(2), "phase has the shape"),
        (torch.ones(3, 1), torch.ones(3, 1), r"amplitude has the shape \[3, 1\]"),
        (torch.ones(0), torch.ones(0), "amplitude has the shape"),
        (torch.tensor(1.0), torch.tensor(1.0), "amplitude has the shape"),
        (torch.ones(3, dtype=torch.int64), torch.ones(3), "amplitude has the dtype torch.int64"),
        (torch.ones(3), torch.ones(3).double(), "phase has the dtype torch.float64"),
    ],
)
def test_waves_that_cannot_be_are_named(amplitude, phase, message):
    with pytest.raises(ValueError, match=message):
        Sine(amplitude, phase)


def test_waves_are_tensors():
    for wrong in NO_TENSOR:
        with pytest.raises(TypeError, match=r"amplitude=.* must be a tensor"):
            Sine(wrong, torch.ones(1))
        with pytest.raises(TypeError, match=r"phase=.* must be a tensor"):
            Sine(torch.ones(1), wrong)
        with pytest.raises(TypeError, match=r"x=.* must be a tensor"):
            Sine.draw(1, seeded())(wrong)


@pytest.mark.parametrize(
    "x", [torch.zeros(5), torch.zeros(1, 5, 1), torch.zeros(3, 5), torch.zeros(3, 5, 2), torch.zeros(3, 1, 1).double()]
)
def test_points_that_do_not_fit_the_waves_are_named(x):
    """Each of them would broadcast without a word."""
    with pytest.raises(ValueError, match="x has the "):
        Sine.draw(3, seeded())(x)


def test_waves_of_another_precision_give_an_episode_of_it():
    waves = Sine(torch.ones(2).double(), torch.ones(2).double())
    episode = waves.episode(3, 4, seeded())
    assert {episode.support_x.dtype, episode.support_y.dtype, episode.query_x.dtype} == {torch.float64}


def test_noise_is_added_to_the_support_alone_and_changes_nothing_else():
    waves = Sine.draw(200, torch.Generator().manual_seed(0))
    plain, noisy = (waves.episode(50, 3, torch.Generator().manual_seed(1), noise=noise) for noise in (0.0, 0.1))
    for name in ("support_x", "query_x", "query_y"):
        assert torch.equal(getattr(plain, name), getattr(noisy, name))
    error = noisy.support_y - plain.support_y
    assert abs(error.mean()) < 5 * 0.1 / 10_000**0.5
    assert abs(error.std() / 0.1 - 1) < 5 / 20_000**0.5
    with pytest.raises(ValueError, match=r"noise=-0\.1 must be a finite number, at least 0"):
        waves.episode(2, 2, torch.Generator(), noise=-0.1)
