"""The lessons compute on the GPU that is there: none of their cells mixes devices, from the set-up cell to the last.

They also run without Omniglot. The GPU is `fake_gpu`. Trainings and tests are cut to a few steps and episodes, and
nothing is asserted that only a whole training shows.
"""

import ast
import asyncio
import inspect
import warnings
from dataclasses import replace

import noise
import pytest
import torch
from fake_gpu import NAME, OnGPU, fake_gpu
from test_accepted_answers import ALL, LESSONS, cells_of, exercises_of, shortened, users_of, without_asserts
from torch.utils._pytree import tree_leaves

import metalab.evaluate
from metalab.experiments import sine_over_seeds, timing
from metalab.lessons.kit.curve import Curve
from metalab.lessons.kit.exercise import Exercise
from metalab.lessons.kit.steering import SteeringPanel
from metalab.tasks import Characters, Groups, glyphs, omniglot
from metalab.train import Trainer

SOME = LESSONS if ALL else LESSONS[:1]  # METALAB_TEST_ALL takes the minutes that all of them take
STEPS, EPISODES, DRAWINGS = 12, 4, 20  # the most that is trained on, tested on, and measured

ON_CPU = ("PeakMemory", "medians")  # the cells with these names measure on the CPU, and take long
# The trainers on the CPU: one repeats the reader's own loop, and two call the reader's attention and mask.
BESIDE_THE_READERS = {"engine", "mine", "leaky"}


def like_omniglot(part, characters=None, *, side=28):
    """Noise with the alphabets of a part of Omniglot; in each so many characters, or as many as there are."""
    counts = torch.tensor([characters or count for _first, count in part.alphabets.values()])
    drawn = noise.noise(int(counts.sum()), 20, seed=0, side=side)
    alphabet = torch.arange(len(counts)).repeat_interleave(counts)
    return Characters(drawn.images, alphabet, tuple(part.alphabets), "Omniglot")


@pytest.fixture(scope="module")
def drawn():
    """Characters to train on, 20 in each alphabet, and to test on. The challenge needs all of the latter."""
    return like_omniglot(omniglot.BACKGROUND, 20), like_omniglot(omniglot.EVALUATION)


@pytest.fixture
def short(drawn, monkeypatch):
    """Cut everything short."""

    def at_most(most, function, name):
        """The function, with its argument `name` cut to `most`."""
        signature = inspect.signature(function)

        def cut(*arguments, **options):
            bound = signature.bind(*arguments, **options)
            bound.apply_defaults()
            bound.arguments[name] = min(bound.arguments[name], most)
            return function(*bound.args, **bound.kwargs)

        return cut

    train = SteeringPanel.train

    async def steer(panel, steps, *, script):
        changes = {name: value for values in script.values() for name, value in values.items()}
        return await train(panel, 4, script={2: changes})

    def load(*, side=28):
        return drawn if side == 28 else (drawn[0], like_omniglot(omniglot.EVALUATION, side=side))

    evaluate = at_most(EPISODES, metalab.evaluate.evaluate, "episodes")
    monkeypatch.setattr(omniglot, "load", load)
    monkeypatch.setattr(glyphs, "draw", lambda **_options: drawn[0])
    monkeypatch.setattr(metalab.evaluate, "evaluate", evaluate)
    errors_after = at_most(EPISODES, sine_over_seeds.errors_after, "tasks")
    monkeypatch.setattr(sine_over_seeds, "errors_after", errors_after)
    monkeypatch.setattr(timing, "WARM", 0)
    monkeypatch.setattr(Trainer, "run", at_most(STEPS, Trainer.run, "steps"))
    monkeypatch.setattr(Curve, "__init__", at_most(STEPS, Curve.__init__, "steps"))
    monkeypatch.setattr(SteeringPanel, "train", steer)
    monkeypatch.setattr(Characters, "batch", at_most(DRAWINGS, Characters.batch, "size"))
    monkeypatch.setattr(Groups, "__call__", at_most(DRAWINGS, Groups.__call__, "groups"))


@pytest.mark.parametrize("lesson", SOME)
def test_no_cell_mixes_devices(lesson, short, figures, monkeypatch, capsys):
    handed = []

    def ours(exercise, _attempt):
        def answer(*arguments):
            handed.extend(t for t in tree_leaves(arguments) if isinstance(t, torch.Tensor))
            return exercise.answer(*arguments)

        return answer

    monkeypatch.setattr(Exercise, "or_solution", ours)
    space = {"__name__": "__main__"}
    with fake_gpu() as gpu, warnings.catch_warnings():
        warnings.simplefilter("default")
        for number, source in enumerate(cells_of(lesson), start=1):
            if any(name in source for name in ON_CPU) and not source.startswith("# @title Imports"):
                continue
            tree = shortened(without_asserts(source), STEPS)
            code = compile(tree, f"cell {number}", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            if (waiting := eval(code, space)) is not None:
                asyncio.run(waiting)
    assert f"Device: {NAME}" in capsys.readouterr().out
    assert space["device"] == gpu
    beside = [space[name] for name in BESIDE_THE_READERS & space.keys()]
    trainers = [v for v in space.values() if isinstance(v, Trainer) and v not in beside]
    assert trainers or beside or "Trainer" not in space
    assert all(isinstance(p, OnGPU) for trainer in trainers for p in trainer.params.values())
    exercises = [value for value in vars(exercises_of(lesson)).values() if isinstance(value, Exercise)]
    assert handed or not any(users_of(lesson, exercise) for exercise in exercises)
    assert not any(isinstance(t, OnGPU) for t in handed), "an answer may make tensors, and they are on the CPU"


@pytest.mark.parametrize("lesson", SOME)
def test_every_cell_runs_without_omniglot(lesson, short, drawn, figures, monkeypatch, capsys):
    def load():
        raise omniglot.OmniglotNotFound("Nothing in any of the places that were tried.")

    monkeypatch.setattr(omniglot, "load", load)
    monkeypatch.setattr(glyphs, "draw", lambda **_options: replace(drawn[1], source="glyphs"))
    space = {"__name__": "__main__"}
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        for number, source in enumerate(cells_of(lesson), start=1):
            if any(name in source for name in ON_CPU) and not source.startswith("# @title Imports"):
                continue
            tree = shortened(without_asserts(source), STEPS)
            code = compile(tree, f"cell {number}", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            if (waiting := eval(code, space)) is not None:
                asyncio.run(waiting)
    assert ("(glyphs)" in capsys.readouterr().out) == ("load_characters" in space)
