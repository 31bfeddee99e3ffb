"""The meta-gradient against witnesses that share no code with it."""

import threading
import weakref
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from metalab.engine import cores
from metalab.learners import maml
from metalab.learners.maml import MAML
from metalab.losses import cross_entropy, mse
from metalab.nets import MLP, Conv4
from metalab.tasks import Characters, Episode, sine


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def double(params):
    return {name: p.double() for name, p in params.items()}


def sine_problem(**options):
    learner = MAML(MLP((1, 12, 12, 1)), mse, inner_lr=0.05, **options)
    episode = sine.sample(3, 5, 6, seeded(1)).to(torch.float64)
    # As large as after training: MLP's own start is so small that an inner step changes hardly anything.
    params = {name: 60 * p for name, p in double(learner.net.init(seeded())).items()}
    return learner, params, episode


def character_problem(pool="stride", **options):
    learner = MAML(Conv4(outputs=5, channels=6, pool=pool), inner_lr=0.4, **options)
    ink = (torch.rand(9, 4, 28, 28, generator=seeded(2)) < 0.15).to(torch.uint8) * 255
    characters = Characters(ink, torch.zeros(9, dtype=torch.long), ("noise",), "noise")
    return learner, double(learner.net.init(seeded())), characters.sample(3, 5, 1, 2, seeded(3)).to(torch.float64)


PROBLEMS = {
    "sine": lambda **o: sine_problem(**o),
    "conv4": lambda **o: character_problem(**o),
    "conv4, max pooling": lambda **o: character_problem("max", **o),
    "conv4, inductive": lambda **o: character_problem(transductive=False, **o),
}


def one_task(episode, t):
    return episode[t : t + 1]


class StraightThrough(torch.autograd.Function):
    """A step at 0 whose slope is taken for 1 (Bengio, Léonard & Courville 2013)."""

    @staticmethod
    def forward(ctx, gate):
        return torch.where(gate < 0, 0.0, 1.0).double()

    @staticmethod
    def backward(ctx, grad):
        return grad


def naive_loss(learner, params, episode, *, create_graph=True):
    """MAML as its paper states it: a Python loop over tasks, the graph kept through every inner step."""
    total = 0.0
    start = {name: p for name, p in params.items() if not name.startswith(("rate.", "gate."))}
    rates = {name: learner.inner_lr if name in (learner.adapts or start) else 0.0 for name in start}
    for name in start:
        if f"rate.{name}" in params:
            rates[name] = params[f"rate.{name}"]
        if f"gate.{name}" in params:
            rates[name] = learner.inner_lr * StraightThrough.apply(params[f"gate.{name}"])
    for t in range(episode.tasks):
        task = one_task(episode, t)
        theta = {name: p[None] for name, p in start.items()}
        for _ in range(learner.inner_steps):
            loss = learner.loss(learner.net(theta, task.support_x), task.support_y).sum()
            grads = torch.autograd.grad(loss, list(theta.values()), create_graph=create_graph)
            theta = {n: p - rates[n] * g for (n, p), g in zip(theta.items(), grads, strict=True)}
        context = None if learner.transductive else task.support_x
        total = total + learner.loss(learner.net(theta, task.query_x, context=context), task.query_y).sum()
    return total / episode.tasks


def naive_meta_gradient(learner, params, episode):
    leaves = {name: p.clone().requires_grad_() for name, p in params.items()}
    loss = naive_loss(learner, leaves, episode, create_graph=learner.order == 2)
    return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))


def flat(params):
    return torch.cat([p.flatten() for p in params.values()])


def relative_error(ours, theirs):
    return ((flat(ours) - flat(theirs)).norm() / flat(theirs).norm()).item()


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("inner_steps", [0, 1, 3])
def test_equals_the_naive_loop(problem, order, inner_steps):
    learner, params, episode = PROBLEMS[problem](order=order, inner_steps=inner_steps)
    ours, metrics = learner.meta_gradient(params, episode)
    assert relative_error(ours, naive_meta_gradient(learner, params, episode)) < 1e-12
    assert metrics["loss"].item() == pytest.approx(naive_loss(learner, *leaves_of(params), episode).item(), rel=1e-12)


def leaves_of(params):
    return ({name: p.clone().requires_grad_() for name, p in params.items()},)


VARIANTS = {
    "ANIL": {"adapts": {"sine": ("w3", "b3"), "conv4": ("head", "bias")}},
    "Meta-SGD": {"learn_rates": True},
    "first-order Meta-SGD": {"learn_rates": True, "order": 1},
    "sparse-MAML": {"learn_gates": True},
    "first-order sparse-MAML": {"learn_gates": True, "order": 1},
    "sparse-MAML of two layers": {"learn_gates": True, "adapts": {"sine": ("w1", "b2"), "conv4": ("conv3", "head")}},
    "Meta-SGD of two layers": {"learn_rates": True, "adapts": {"sine": ("w1", "w2"), "conv4": ("conv2", "shift2")}},
}


def variant(name, problem, **options):
    options = VARIANTS[name] | options
    if "adapts" in options:
        options["adapts"] = options["adapts"][problem]
    learner, params, episode = PROBLEMS[problem](**options)
    fresh = learner.init(seeded())
    for i, name in enumerate(name for name in fresh if name.startswith(("rate.", "gate."))):
        noise = torch.rand(fresh[name].shape, generator=seeded(10 + i), dtype=torch.float64) - 0.2
        # Some rates are learned to be negative; some gates lie on the step itself.
        params[name] = learner.inner_lr * noise if learner.learn_rates else noise.where(noise.abs() > 0.1, 0)
    return learner, params, episode


@pytest.mark.parametrize("problem", ["sine", "conv4"])
@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("inner_steps", [0, 1, 3])
def test_variants_equal_the_naive_loop(name, problem, inner_steps):
    learner, params, episode = variant(name, problem, inner_steps=inner_steps)
    ours, metrics = learner.meta_gradient(params, episode)
    if inner_steps:
        theirs = naive_meta_gradient(learner, params, episode)
    else:  # no rate is used, and autograd would not say 0
        start = {n: p for n, p in params.items() if not n.startswith(("rate.", "gate."))}
        theirs = naive_meta_gradient(learner, start, episode)
        theirs |= {n: torch.zeros_like(p) for n, p in params.items() if n not in start}
    assert list(ours) == list(params)
    assert relative_error(ours, theirs) < 1e-12
    learned = [n for n in params if n.startswith(("rate.", "gate."))]
    if learned and inner_steps:  # a small part of the whole gradient, which the line above might not see
        assert relative_error({n: ours[n] for n in learned}, {n: theirs[n] for n in learned}) < 1e-12
    assert metrics["loss"].item() == pytest.approx(naive_loss(learner, *leaves_of(params), episode).item(), rel=1e-12)


def test_metasgds_rates_start_at_the_inner_rate_and_go_where_the_loss_falls():
    learner, params, episode = variant("Meta-SGD", "sine", inner_steps=2)
    fresh = learner.init(seeded())
    rates = [name for name in fresh if name.startswith("rate.")]
    assert rates == [f"rate.{name}" for name in params if not name.startswith("rate.")]
    assert all((fresh[name] == learner.inner_lr).all() for name in rates)
    assert all(fresh[name].shape == fresh[name.removeprefix("rate.")].shape for name in rates)
    grads, metrics = learner.meta_gradient(params, episode)
    moved = params | {name: params[name] - 1e-4 * grads[name] for name in rates}
    assert learner.meta_gradient(moved, episode)[1]["loss"] < metrics["loss"]


def test_sparse_mamls_gates_start_half_open_and_say_what_adapts():
    learner, params, episode = variant("sparse-MAML", "conv4", inner_steps=2)
    fresh = learner.init(seeded())
    gates = [name for name in fresh if name.startswith("gate.")]
    assert gates == [f"gate.{name}" for name in params if not name.startswith("gate.")]
    assert all(fresh[name].shape == fresh[name.removeprefix("gate.")].shape for name in gates)
    values = flat({name: fresh[name] for name in gates})
    assert values.abs().max() <= 0.1
    assert (values >= 0).double().mean().item() == pytest.approx(0.5, abs=0.1)
    before, *_, after = learner.adapt(params, episode)
    for name in gates:
        closed = params[name] < 0
        assert 0 < closed.sum() < closed.numel() or closed.numel() < 10
        name = name.removeprefix("gate.")
        moved = (after[name] != before[name]).any(0)
        assert not moved[closed].any()
        assert moved[~closed].double().mean() > 0.9


@pytest.mark.parametrize("name", ["Meta-SGD", "sparse-MAML of two layers"])
def test_rates_are_what_an_inner_step_multiplies_the_gradient_by(name):
    learner, params, episode = variant(name, "sine", inner_steps=1)
    before, after = learner.adapt(params, episode)
    plain_before, plain_after = MAML(learner.net, mse, inner_lr=1.0).adapt(before_only(params), episode)
    for n, rate in learner.rates(params).items():
        torch.testing.assert_close(before[n] - after[n], rate * (plain_before[n] - plain_after[n]))


def before_only(params):
    return {name: p for name, p in params.items() if "." not in name}


def test_a_gradient_that_autograd_hands_out_as_a_view_of_one_number():
    """A parameter that is the output has a gradient of ones, expanded: it may be read, and not written to."""

    class Constant:
        def init(self, generator):
            return {"w": torch.ones(2, 1, dtype=torch.float64)}

        def chain(self, x):
            return None

        def __call__(self, params, x, *, context=None):
            return params["w"]

    _learner, _params, episode = sine_problem()
    learner = MAML(Constant(), lambda z, y: z.sum((1, 2)), inner_lr=0.1, learn_rates=True)
    grads, _metrics = learner.meta_gradient({name: p.double() for name, p in learner.init(seeded()).items()}, episode)
    assert grads["w"].tolist() == [[1.0], [1.0]]
    assert grads["rate.w"].tolist() == [[-1.0], [-1.0]]


def test_anil_adapts_the_head_alone():
    learner, params, episode = variant("ANIL", "conv4", inner_steps=2)
    before, *_, after = learner.adapt(params, episode)
    assert [name for name in params if not torch.equal(before[name], after[name])] == ["head", "bias"]


def test_a_rate_in_a_tensor_is_followed():
    """As a training captured on a GPU needs it: the tensor's content changes, the learner does not."""
    learner, params, episode = sine_problem(inner_steps=2)
    rate = torch.tensor(0.05, dtype=torch.float64)
    ours = replace(learner, inner_lr=rate)
    assert relative_error(ours.meta_gradient(params, episode)[0], learner.meta_gradient(params, episode)[0]) < 1e-14
    rate.fill_(0.02)
    other = replace(learner, inner_lr=0.02)
    assert relative_error(ours.meta_gradient(params, episode)[0], other.meta_gradient(params, episode)[0]) < 1e-14


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", [None, "Meta-SGD", "sparse-MAML"])
def test_parts_add_up_to_the_whole(name, threads, monkeypatch):
    """On a CPU a meta-batch is worked through in parts, on as many threads as torch has."""
    if name:
        learner, params, episode = variant(name, "conv4", inner_steps=2)
    else:
        learner, params, episode = character_problem(inner_steps=2)
    monkeypatch.setattr(cores, "SMALL", 10**9)
    whole, whole_metrics = learner.meta_gradient(params, episode)
    sizes_seen = []
    monkeypatch.setattr(cores, "SMALL", 0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(MAML, "_recursion", counted(MAML._recursion, sizes_seen))
    for tasks_in_cache, sizes in [(1, [1, 1, 1]), (2, [2, 1] if threads == 1 else [1, 1, 1])]:
        sizes_seen.clear()
        monkeypatch.setattr(cores, "IN_CACHE", tasks_in_cache * 15 * 28 * 28)
        ours, metrics = learner.meta_gradient(params, episode)
        assert sorted(sizes_seen, reverse=True) == sizes
        assert relative_error(ours, whole) < 1e-13
        for key, value in whole_metrics.items():
            assert metrics[key].item() == pytest.approx(value.item())


def test_threads_that_others_start_keep_all_cores():
    learner, params, episode = character_problem()
    torch.set_num_threads(2)
    learner.meta_gradient(params, episode)
    seen = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert (torch.get_num_threads(), seen) == (2, [2])


def counted(recursion, sizes):
    def count(learner, params, episode):
        sizes.append(episode.tasks)
        return recursion(learner, params, episode)

    return count


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("problem", ["sine", "conv4", "conv4, max pooling"])
def test_what_is_kept_does_not_grow_with_inner_steps(problem, order, monkeypatch):
    """Beside the parameters' trajectory, two steps' worth at most: one being taken and the one before or the query."""
    torch.set_num_threads(1)  # each thread works on a part of the tasks, and keeps as much
    kept = weakref.WeakSet()
    most = []

    def watched(*arguments, **options):
        derivatives = differentiate(*arguments, **options)
        kept.add(derivatives)
        most.append(len(kept))
        return derivatives

    differentiate = maml.differentiate
    monkeypatch.setattr(maml, "differentiate", watched)
    for inner_steps in (1, 12):
        learner, params, episode = PROBLEMS[problem](order=order, inner_steps=inner_steps)
        learner.meta_gradient(params, episode)
        assert max(most) <= 2
    assert len(most) >= 12


@pytest.mark.parametrize("problem", PROBLEMS)
def test_equals_finite_differences(problem):
    learner, params, episode = PROBLEMS[problem](inner_steps=2)
    ours, _ = learner.meta_gradient(params, episode)
    # A smooth stretch of the loss is needed: a step that crosses a ReLU's kink would measure the kink.
    direction = {n: torch.randn(p.shape, generator=seeded(4), dtype=torch.float64) for n, p in params.items()}
    along = sum((ours[n] * direction[n]).sum() for n in ours).item()
    h = 1e-7

    def loss_at(step):
        (moved,) = leaves_of({n: p + step * direction[n] for n, p in params.items()})
        return naive_loss(learner, moved, episode).item()

    assert (loss_at(h) - loss_at(-h)) / (2 * h) == pytest.approx(along, rel=1e-5)


def test_equals_higher():
    """The library `higher` (Grefenstette et al. 2019) runs the inner loop on an ordinary torch.nn model."""
    import higher

    for inner_steps in (1, 3):
        learner, params, episode = sine_problem(inner_steps=inner_steps)
        model = torch.nn.Sequential(
            torch.nn.Linear(1, 12), torch.nn.ReLU(), torch.nn.Linear(12, 12), torch.nn.ReLU(), torch.nn.Linear(12, 1)
        ).double()
        with torch.no_grad():
            for i, layer in enumerate([model[0], model[2], model[4]], start=1):
                layer.weight.copy_(params[f"w{i}"].T)
                layer.bias.copy_(params[f"b{i}"])
        optimizer = torch.optim.SGD(model.parameters(), lr=learner.inner_lr)
        for t in range(episode.tasks):
            with higher.innerloop_ctx(model, optimizer, copy_initial_weights=False) as (adapted, inner):
                for _ in range(inner_steps):
                    inner.step(F.mse_loss(adapted(episode.support_x[t]), episode.support_y[t]))
                (F.mse_loss(adapted(episode.query_x[t]), episode.query_y[t]) / episode.tasks).backward()
        theirs = {}
        for i, layer in enumerate([model[0], model[2], model[4]], start=1):
            theirs[f"w{i}"], theirs[f"b{i}"] = layer.weight.grad.T, layer.bias.grad
        assert relative_error(learner.meta_gradient(params, episode)[0], theirs) < 1e-12


@pytest.mark.parametrize("problem", PROBLEMS)
def test_first_order_differs_from_second(problem):
    learner, params, episode = PROBLEMS[problem](inner_steps=1)
    second, _ = learner.meta_gradient(params, episode)
    first, _ = replace(learner, order=1).meta_gradient(params, episode)
    assert relative_error(first, second) > 1e-2


def test_tasks_do_not_touch_each_other():
    """Every task starts from the same parameters, and its adaptation is the same whoever else is in the batch."""
    learner, params, episode = character_problem(inner_steps=2)
    together = learner.adapt(params, episode)
    for t in range(episode.tasks):
        alone = learner.adapt(params, one_task(episode, t))
        for name in params:
            assert torch.equal(together[0][name][t], params[name])
            torch.testing.assert_close(together[-1][name][t], alone[-1][name][0], rtol=1e-12, atol=1e-14)


def test_inputs_are_left_as_they_were():
    learner, params, episode = sine_problem(inner_steps=2)
    before = {name: p.clone() for name, p in params.items()}
    learner.meta_gradient(params, episode)
    learner.predict(params, episode)
    assert all(torch.equal(params[n], before[n]) and not params[n].requires_grad for n in params)


def test_inductive_queries_do_not_see_each_other():
    learner, params, episode = character_problem(transductive=False)
    shorter = Episode(episode.support_x, episode.support_y, episode.query_x[:, :1], episode.query_y[:, :1])
    torch.testing.assert_close(learner.predict(params, shorter), learner.predict(params, episode)[:, :1])
    transductive = replace(learner, transductive=True)
    assert not torch.allclose(transductive.predict(params, shorter), transductive.predict(params, episode)[:, :1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": 3}, "order=3 must be 1"),
        ({"inner_steps": -1}, "inner_steps=-1 must be 0 or more"),
        ({"inner_lr": -0.1}, "inner_lr=-0.1 must be 0 or more"),
        ({"inner_lr": float("nan")}, "inner_lr=nan must be 0 or more"),
        ({"learn_rates": True, "learn_gates": True}, "choose one, Meta-SGD or sparse-MAML"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        MAML(MLP(), cross_entropy, **options)


def test_parameters_that_are_not_there_cannot_adapt():
    with pytest.raises(ValueError, match=r"adapts=\('head', 'w2'\) names \['head'\]; the net has \['w1', 'b1'"):
        MAML(MLP(), mse, adapts=("head", "w2")).init(seeded())
