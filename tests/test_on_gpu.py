"""What computes on a GPU: everything stays there, a recorded meta-step could be one, and the numbers are the CPU's.

The GPU is `fake_gpu`, which is tested first.
"""

import noise
import pytest
import torch
from fake_gpu import OnGPU, WrongDevice, fake_gpu

from metalab import checkpoint
from metalab.evaluate import evaluate
from metalab.experiments.recipes import RECIPES
from metalab.experiments.settings import Settings
from metalab.learners import MAML, FineTuning
from metalab.losses import mse
from metalab.nets import MLP, Conv4
from metalab.tasks import Groups, as_pairs, distort, sine
from metalab.train import Trainer

CHARACTERS = noise.noise(24, 12, seed=0)


@pytest.fixture
def gpu():
    with fake_gpu() as device:
        yield device


def seeded(device="cpu", seed=0):
    return torch.Generator(device).manual_seed(seed)


def trained_on(step, device):
    """Whatever a recorded step does: the metrics of a training whose learner does it."""

    class Learner:
        def init(self, generator):
            return {"w": torch.zeros(2, device=generator.device)}

        def meta_gradient(self, params, batch):
            return {"w": params["w"] + 1}, {"loss": step(params["w"])}

    return Trainer(Learner(), lambda g: None, device=device).step()


def test_what_stays_on_the_gpu_may_be_done(gpu):
    x = torch.arange(4.0, device=gpu)
    assert isinstance(x, OnGPU)
    assert x.device.type == "cuda"
    assert (x + torch.tensor(1.0) + 1).tolist() == [2, 3, 4, 5]
    assert x[[3, 1]].tolist() == [3, 1]
    assert torch.rand(3, generator=seeded(gpu), device=gpu).device == x.device
    assert not isinstance(x.cpu(), OnGPU)
    assert isinstance(x.cpu().to(gpu), OnGPU)
    x[1:3] += 1
    assert x.tolist() == [0, 2, 3, 3]
    assert trained_on(lambda w: w.sum(), gpu).metrics == {"loss": 0}


@pytest.mark.parametrize(
    "mix",
    [
        lambda x: x + torch.zeros(4),
        lambda x: torch.stack([x, torch.zeros(4)]),
        lambda x: torch.zeros(4).add_(x),
        lambda x: torch.zeros(4)[x.long()],
        lambda x: torch.where(torch.ones(4, dtype=torch.bool), x, 0.0),
        lambda x: torch.rand(4, generator=torch.Generator(), device=x.device),
        lambda x: torch.rand(4, generator=torch.Generator(x.device)),
        lambda x: torch.zeros(4).normal_(generator=torch.Generator(x.device)),
    ],
)
def test_a_mix_of_devices_is_refused(gpu, mix):
    with pytest.raises(WrongDevice):
        mix(torch.zeros(4, device=gpu))


def test_a_tensor_of_the_gpu_cannot_be_drawn(gpu):
    with pytest.raises((TypeError, RuntimeError), match="numpy"):
        torch.zeros(4, device=gpu).numpy()


@pytest.mark.parametrize(
    "step",
    [
        lambda w: w.sum() * w.sum().item(),
        lambda w: w.sum() if w.sum() > 0 else w.mean(),
        lambda w: w.cpu().sum(),
        lambda w: w[w > 0].sum(),
        lambda w: w[torch.tensor([1, 0])].sum(),
        lambda w: (w * torch.ones(2).to(w.device)).sum(),
        lambda w: (w * torch.tensor([1.0, 2.0], device=w.device)).sum(),
        lambda w: (w, torch.ones(2))[0].sum(),
        lambda w: w.prod(0),
        lambda w: torch.cholesky_solve(w[None, :, None], torch.diag_embed(w + 1)[None]).sum(),
    ],
)
def test_what_a_cuda_graph_could_not_hold_is_refused(gpu, step):
    with pytest.raises(WrongDevice):
        trained_on(step, gpu)


# Every learner, with what it trains on


def small(tasks, algorithm):
    """Settings of a small training."""
    if tasks == "sine":
        return Settings.of(tasks, algorithm, meta_batch=3)
    one_query = {} if RECIPES[algorithm].draws == "minibatches" else {"queries": 1}
    return Settings.of(tasks, algorithm, ways=4, shots=2, channels=4, meta_batch=2, within=1, **one_query)


def trained(settings, device):
    """The losses of three meta-steps on a device, and what is then predicted for two tasks."""
    characters = None if settings.tasks == "sine" else CHARACTERS.to(device)
    learner, recipe = settings.learner(), settings.recipe
    options = {"outer_lr": settings.rate, "optimizer": recipe.optimizer, "device": device}
    trainer = Trainer(learner, settings.sampler(characters), **options)
    losses = [step.metrics["loss"] for step in trainer.run(3)]
    if characters:
        episode = characters.sample(2, 4, 1, 2, seeded(device, 1))
    else:
        episode = sine.sample(2, 5, 3, seeded(device, 1))
    if recipe.tested == "by distance":
        learner = learner.with_statistics(trainer.params, characters.batch(30, seeded(device, 2))[0])
    assert all(p.device.type == torch.device(device).type for p in trainer.params.values())
    return losses, learner.predict(trainer.params, episode)


CASES = {f"{name}-{tasks}": small(tasks, name) for name, recipe in RECIPES.items() for tasks in recipe.papers}


@pytest.mark.parametrize("settings", CASES.values(), ids=CASES.keys())
def test_a_learner_trains_and_predicts_on_the_gpu_as_on_the_cpu(settings):
    torch.set_num_threads(1)
    losses, answers = trained(settings, "cpu")
    with fake_gpu() as gpu:
        ours, our_answers = trained(settings, gpu)
        assert isinstance(our_answers, OnGPU)
        torch.testing.assert_close(ours, losses, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(our_answers.cpu(), answers, rtol=1e-2, atol=1e-2)


def test_fine_tuning_on_the_gpu(gpu):
    characters = CHARACTERS.to(gpu)
    learner = FineTuning(Conv4(len(characters), channels=4), inner_steps=2)
    trainer = Trainer(learner, lambda g: characters.batch(8, g), device=gpu)
    assert [step.number for step in trainer.run(3, every=2)] == [2, 3]
    learner = learner.with_statistics(trainer.params, characters.batch(9, seeded(gpu))[0])
    assert isinstance(learner.predict(trainer.params, characters.sample(2, 3, 1, 1, seeded(gpu))), OnGPU)


@pytest.mark.parametrize(
    "draw",
    [
        lambda c, g: c.sample(3, 4, 1, 2, g).query_x,
        lambda c, g: c.batch(5, g)[1],
        lambda c, g: c.with_rotations().select(torch.tensor([0, 30], device=g.device)).batch(5, g)[0],
        lambda c, g: Groups(c, 4, 2)(3, g),
        lambda c, g: Groups(c, 4, 2, within_alphabet=True)(3, g),
        lambda c, g: as_pairs(Groups(c, 2, 2)(4, g)).second,
        lambda c, g: distort(Groups(c, 2, 2)(2, g), g),
        lambda c, g: sine.sample(3, 4, 5, g).query_y,
        lambda c, g: sine.Sine.draw(3, g).episode(2, 3, g, support_range=(0.0, 1.0)).support_y,
    ],
)
def test_a_sampler_draws_on_the_gpu_what_it_draws_on_the_cpu(draw):
    on_cpu = draw(CHARACTERS, seeded(seed=3))
    with fake_gpu() as gpu:
        drawn = draw(CHARACTERS.to(gpu), seeded(gpu, 3))
        assert isinstance(drawn, OnGPU)
        torch.testing.assert_close(drawn.cpu(), on_cpu)


def test_a_score_and_shipped_parameters_on_the_gpu():
    learner = MAML(MLP(), mse, inner_lr=0.01)

    def score(device):
        params, _about = checkpoint.shipped("sine_maml_5shot", device)
        return evaluate(
            lambda e: learner.predict(params, e),
            lambda n, g: sine.sample(n, 5, 10, g),
            episodes=20,
            measure=mse,
            device=device,
        )

    on_cpu = score("cpu")
    with fake_gpu() as gpu:
        assert score(gpu).mean == pytest.approx(on_cpu.mean, rel=1e-4)


def test_a_rate_that_is_a_tensor_is_followed_without_another_recording(gpu):
    rate = torch.tensor(0.01, device=gpu)
    trainer = Trainer(MAML(MLP(), mse, inner_lr=rate), lambda g: sine.sample(3, 5, 5, g), device=gpu)
    first = trainer.step().metrics["loss"]
    state = {name: tensor.clone() for name, tensor in trainer.state().items()}
    slow = trainer.step().metrics["loss"]
    rate.fill_(5.0)
    trainer.load_state(state)
    assert trainer.step().metrics["loss"] != slow
    assert first > 0
