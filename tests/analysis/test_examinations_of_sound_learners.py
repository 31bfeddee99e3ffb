"""No examination calls a sound learner ill, in whichever style it is written."""

import copy
import os
import warnings
from itertools import count

import clinic
import higher
import pytest
import torch
import torch.nn.functional as F
from clinic import blobs, maml, net, prototypical, several, siamese, sines
from torch import nn

from benchmarks.false_alarms import STEPS, learners, sound
from metalab.analysis.examinations import Patient, examine

SEEDS = 20 if os.environ.get("METALAB_TEST_ALL") else 1


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def first_order_by_copies():
    """deepcopy, an inner optimizer, and the copy's gradients handed over to the start."""
    module = net()
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)

    def adapted(sx, sy):
        fast = copy.deepcopy(module)
        inner = torch.optim.SGD(fast.parameters(), lr=0.05)
        for _ in range(3):
            inner.zero_grad()
            F.mse_loss(fast(sx), sy).backward()
            inner.step()
        return fast

    def step(tasks):
        optimizer.zero_grad()
        total = 0.0
        for sx, sy, qx, qy in tasks:
            fast = adapted(sx, sy)
            loss = F.mse_loss(fast(qx), qy)
            grads = torch.autograd.grad(loss, list(fast.parameters()))
            for p, g in zip(module.parameters(), grads, strict=True):
                p.grad = g / len(tasks) if p.grad is None else p.grad + g / len(tasks)
            total += loss.item() / len(tasks)
        optimizer.step()
        return total

    def predict(sx, sy, qx):
        return adapted(sx, sy)(qx)

    return Patient(parameters=module, step=step, batch=several(sines), predict=predict, task=sines, order=1)


def fine_tuned_head():
    """A body that is trained on classes, and for each task a new head from global random numbers, by its own Adam."""
    body, head = net(6, 8), nn.Linear(8, 12)
    optimizer = torch.optim.Adam([*body.parameters(), *head.parameters()], lr=0.01)
    centres = 2 * torch.randn(12, 6, generator=torch.Generator().manual_seed(0))

    def batch(generator):
        y = torch.randint(12, (24,), generator=generator)
        return centres[y] + 0.7 * torch.randn(24, 6, generator=generator), y

    def loss(batch):
        return F.cross_entropy(head(body(batch[0])), batch[1])

    def step(batch):
        optimizer.zero_grad()
        found = loss(batch)
        found.backward()
        optimizer.step()
        return found.detach()

    def predict(sx, sy, qx):
        new = nn.Linear(8, 3)
        inner = torch.optim.Adam(new.parameters(), lr=0.1)
        with torch.no_grad():
            z = body(sx)
        for _ in range(20):
            inner.zero_grad()
            F.cross_entropy(new(z), sy).backward()
            inner.step()
        return new(body(qx))

    whole = nn.ModuleList([body, head])
    return Patient(parameters=whole, step=step, batch=batch, loss=loss, predict=predict, task=blobs)


class Lightning(nn.Module):
    """A module with a training step and its own optimizer."""

    def __init__(self):
        super().__init__()
        self.body = net(6, 4)
        self.log_scale = nn.Parameter(torch.zeros(()))

    def forward(self, task):
        return self.log_scale.exp() * clinic.prototype_scores(self.body, *task[:3])

    def training_step(self, batch, batch_idx):
        return {"loss": torch.stack([F.cross_entropy(self(task), task[3]) for task in batch]).mean()}

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=0.01)


def lightning():
    module = Lightning()
    optimizer, number = module.configure_optimizers(), count()

    def step(batch):
        loss = module.training_step(batch, next(number))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    def loss(batch):
        return module.training_step(batch, 0)["loss"]

    def predict(sx, sy, qx):
        return module((sx, sy, qx))

    return Patient(parameters=module, step=step, batch=several(blobs), loss=loss, predict=predict, task=blobs)


def with_higher(detach=False):
    def make():
        module = net()
        optimizer = torch.optim.Adam(module.parameters(), lr=0.01)

        def adapted(sx, sy, steps):
            inner = torch.optim.SGD(module.parameters(), lr=0.2)
            with higher.innerloop_ctx(module, inner, copy_initial_weights=False) as (fast, by):
                for _ in range(steps):
                    by.step(F.mse_loss(fast(sx), sy), grad_callback=first_order if detach else None)
            return fast

        def loss(tasks, steps=2):
            return sum(F.mse_loss(adapted(sx, sy, steps)(qx), qy) for sx, sy, qx, qy in tasks) / len(tasks)

        def step(tasks):
            optimizer.zero_grad()
            found = loss(tasks)
            found.backward()
            optimizer.step()
            return found.item()

        return Patient(
            parameters=module,
            step=step,
            batch=several(sines),
            loss=loss,
            predict=lambda sx, sy, qx: adapted(sx, sy, 2)(qx),
            task=sines,
            loss_after=lambda steps: loss([sines(torch.Generator().manual_seed(9))], steps),
        )

    return make


def first_order(grads):
    return [g.detach() for g in grads]


def clone_module(module):
    """As learn2learn does it: a copy of the module whose parameters hang on the graph of the module's own."""
    clone = copy.copy(module)
    clone._parameters = {name: None if p is None else p.clone() for name, p in module._parameters.items()}
    clone._modules = {name: clone_module(part) for name, part in module._modules.items()}
    return clone


def update_module(module, updates):
    for name, p in module._parameters.items():
        if p is not None:
            module._parameters[name] = p + next(updates)
    for part in module._modules.values():
        update_module(part, updates)


def in_the_manner_of_learn2learn(first_order=False):
    def make():
        module = net(6, 3)
        optimizer = torch.optim.Adam(module.parameters(), lr=0.01)

        def adapted(sx, sy, steps=2):
            learner = clone_module(module)
            for _ in range(steps):
                loss = F.cross_entropy(learner(sx), sy)
                params = [p for part in learner.modules() for p in part._parameters.values() if p is not None]
                grads = torch.autograd.grad(loss, params, create_graph=not first_order)
                update_module(learner, iter([-0.2 * g for g in grads]))
            return learner

        def loss(tasks, steps=2):
            return sum(F.cross_entropy(adapted(sx, sy, steps)(qx), qy) for sx, sy, qx, qy in tasks) / len(tasks)

        def step(tasks):
            found = loss(tasks)
            optimizer.zero_grad()
            found.backward()
            optimizer.step()
            return found

        return Patient(
            parameters=module,
            step=step,
            batch=several(blobs),
            loss=loss,
            predict=lambda sx, sy, qx: adapted(sx, sy)(qx),
            task=blobs,
            loss_after=lambda steps: loss([blobs(torch.Generator().manual_seed(9))], steps),
        )

    return make


def pure_functions():
    """torch.func alone: new parameters at every step, momentum by hand, and no module."""
    generator = torch.Generator().manual_seed(0)
    now = {
        "w1": torch.randn(1, 16, generator=generator),
        "b1": torch.randn(16, generator=generator),
        "w2": 0.3 * torch.randn(16, 1, generator=generator),
        "b2": torch.zeros(1),
    }
    held = {"params": now, "momentum": {name: torch.zeros_like(p) for name, p in now.items()}}

    def forward(params, x):
        return (x @ params["w1"] + params["b1"]).tanh() @ params["w2"] + params["b2"]

    def support_loss(params, x, y):
        return F.mse_loss(forward(params, x), y)

    def adapted(params, sx, sy):
        grads = torch.func.grad(support_loss)(params, sx, sy)
        return {name: p - 0.05 * grads[name] for name, p in params.items()}

    def loss_of(params, tasks):
        each = torch.vmap(lambda sx, sy, qx, qy: support_loss(adapted(params, sx, sy), qx, qy))
        return each(*(torch.stack(part) for part in zip(*tasks, strict=True))).mean()

    def step(tasks):
        grads, loss = torch.func.grad_and_value(loss_of)(held["params"], tasks)
        held["momentum"] = {name: 0.9 * m + grads[name] for name, m in held["momentum"].items()}
        held["params"] = {name: p - 0.02 * held["momentum"][name] for name, p in held["params"].items()}
        return loss

    return Patient(
        parameters=lambda: held["params"],
        step=step,
        batch=several(sines),
        loss=lambda tasks: loss_of(held["params"], tasks),
        gradient=lambda tasks: torch.func.grad(loss_of)(held["params"], tasks),
        predict=lambda sx, sy, qx: forward(adapted(held["params"], sx, sy), qx),
        task=sines,
        loss_after=lambda steps: loss_of(held["params"], several(sines, steps)(torch.Generator().manual_seed(0))),
    )


def with_batch_norm():
    return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4))


def with_dropout():
    return nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 4))


def frozen_body():
    module = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4))
    for p in module[0].parameters():
        p.requires_grad_(False)
    return module


def nearest(scores):
    """The vote of the nearest class alone: many answers are the same."""
    return F.one_hot(scores.argmax(1), scores.shape[1]).float()


def nothing_but_the_nearest(scores):
    """Log-probabilities, all but one of them minus infinity."""
    return nearest(scores).log()


class BySign(torch.optim.Optimizer):
    """Each parameter moves by the rate, in the direction that the sign of its gradient says."""

    def __init__(self, parameters, lr=0.003):
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                p -= group["lr"] * p.grad.sign()


def stepping_with(make_optimizer=torch.optim.Adam, every=1):
    """MAML whose optimizer takes a step after so many batches, with the sum of their gradients."""

    def make():
        patient, count_ = maml()(), count(1)
        optimizer = make_optimizer(patient.parameters.parameters(), lr=0.003)

        def step(tasks):
            loss = patient.loss(tasks)
            (loss / every).backward()
            if next(count_) % every == 0:
                optimizer.step()
                optimizer.zero_grad()
            return loss.item()

        return Patient(parameters=patient.parameters, step=step, batch=patient.batch, loss=patient.loss)

    return make


def predicting(predict, task, **more):
    return lambda: Patient(predict=predict, task=task, **more)


def two_optimizers():
    """Two optimizers of the same parameters, which take turns and keep their moments."""
    patient, turn = maml()(), count()
    optimizers = [torch.optim.Adam(patient.parameters.parameters(), lr=lr) for lr in (0.003, 0.001)]

    def step(tasks):
        loss, optimizer = patient.loss(tasks), optimizers[next(turn) % 2]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return Patient(parameters=patient.parameters, step=step, batch=patient.batch, loss=patient.loss)


def marked_by_class(generator):
    """The drawings of a class share a number, which says nothing of the label that the task gives to the class."""
    sx, sy, qx, qy = blobs(generator)
    mark = torch.randperm(50, generator=generator)[:3].float()
    return torch.cat([sx, mark[sy][:, None]], 1), sy, torch.cat([qx, mark[qy][:, None]], 1), qy


def context_and_targets(generator):
    """A task of a neural process: the targets contain the context."""
    sx, sy, qx, qy = sines(generator)
    return sx, sy, torch.cat([sx, qx]), torch.cat([sy, qy])


def votes(neighbours):
    """The votes of the nearest support examples, which are often at a tie."""

    def predict(sx, sy, qx):
        nearest = torch.cdist(qx, sx).topk(neighbours, largest=False).indices
        return F.one_hot(sy[nearest], int(sy.max()) + 1).sum(1).float()

    return predict


def of_integers(generator):
    """A noisy sine at whole numbers, of which there are seven."""
    amplitude, phase = 0.5 + 2 * torch.rand(2, generator=generator)
    x = torch.randint(-3, 4, (12, 1), generator=generator).float()
    y = amplitude * torch.sin(x - phase) + 0.05 * torch.randn(12, 1, generator=generator)
    return x[:6], y[:6], x[6:], y[6:]


def of_bits(generator):
    """Three classes of nine bits, of which some are flipped: two classes may share an example."""
    centres = torch.rand(3, 9, generator=generator) > 0.5

    def draw(each):
        x = centres.repeat_interleave(each, 0)
        return (x ^ (torch.rand(x.shape, generator=generator) < 0.1)).float(), torch.arange(3).repeat_interleave(each)

    return *draw(2), *draw(2)


def of_several_ways(generator):
    return blobs(generator, ways=int(torch.randint(2, 6, (), generator=generator)))


def by_prototypes(sx, sy, qx):
    return clinic.prototype_scores(lambda x: x, sx, sy, qx)


def averaged_over_dropout():
    module = with_dropout()

    def predict(sx, sy, qx):
        return torch.stack([clinic.prototype_scores(module, sx, sy, qx) for _ in range(5)]).mean(0)

    return Patient(parameters=module, predict=predict, task=blobs)


STYLES = {
    "two optimizers that take turns": two_optimizers,
    "inputs that are marked by their class": predicting(lambda *given: by_prototypes(*given), marked_by_class),
    "targets that contain the context": maml(
        task=lambda generator, dtype: context_and_targets(generator), meta_loss=None, contains_support=True
    ),
    "descent by the sign": stepping_with(BySign),
    "gradients of four batches": stepping_with(every=4),
    "gradients of ten batches": stepping_with(every=10),
    "votes of two neighbours": predicting(votes(2), blobs),
    "votes of three neighbours": predicting(votes(3), of_several_ways),
    "votes for two classes": predicting(votes(2), lambda generator: blobs(generator, ways=2)),
    "inputs that are whole numbers": maml(task=lambda generator, dtype: of_integers(generator), meta_loss=None),
    "inputs that are bits": predicting(by_prototypes, of_bits),
    "tasks of several numbers of classes": predicting(by_prototypes, of_several_ways),
    "answers averaged over dropout": averaged_over_dropout,
    # In train() also when it answers, with running statistics that nobody asks for
    "batch norm over each batch, as meant": maml(
        make_net=with_batch_norm, task=blobs, loss=F.cross_entropy, meta_loss=None, transductive=True
    ),
    "MAML by functional_call": maml(),
    "MAML by functional_call in double precision": maml(dtype=torch.float64),
    "first-order MAML by functional_call": maml(
        lambda *given, **more: clinic.descend(*given, **more | {"create_graph": False}), order=1
    ),
    "MAML for classes": maml(make_net=lambda: net(6, 3), task=blobs, loss=F.cross_entropy, meta_loss=None),
    "first-order MAML by deepcopy": first_order_by_copies,
    "prototypical": prototypical(),
    "prototypical in double precision": prototypical(dtype=torch.float64),
    "batch norm with tracked statistics": prototypical(with_batch_norm),
    "dropout": prototypical(with_dropout, loss=None),
    "a frozen body": prototypical(frozen_body),
    "probabilities": prototypical(answers=lambda scores: scores.softmax(1)),
    "log-probabilities": prototypical(answers=lambda scores: scores.log_softmax(1)),
    "votes": prototypical(answers=nearest),
    "infinite log-probabilities": prototypical(answers=nothing_but_the_nearest),
    "siamese": siamese(),
    "a fine-tuned head": fine_tuned_head,
    "a module with a training step": lightning,
    "higher": with_higher(),
    "learn2learn": in_the_manner_of_learn2learn(),
    "pure functions": pure_functions,
}


@pytest.mark.parametrize("style", STYLES)
def test_a_sound_learner_is_never_called_ill(style):
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        report = examine(STYLES[style])
        assert report.ill == [], f"seed {seed}:\n{report}"
        assert len(report) >= 4
        assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("make", [with_higher(detach=True), in_the_manner_of_learn2learn(first_order=True)])
def test_the_first_order_of_libraries_is_named(make):
    report = examine(make)
    assert "memory over inner steps" in report.ill, str(report)
    assert set(report.ill) <= {"memory over inner steps", "finite differences"}, str(report)


FEW = [of for of in learners() if SEEDS > 1 or of[0] == "sine" or of[1] in ("prototypical", "koch", "triplet")]


@pytest.mark.parametrize(("tasks", "name"), FEW)
def test_our_own_learners_are_never_called_ill(tasks, name):
    steps = STEPS[tasks == "sine"]
    report = examine(lambda: sound(tasks, name, 0, steps))
    assert report.ill == [], str(report)
    assert len(report) >= 10


def test_no_warning_is_printed():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        examine(lambda: Patient(predict=lambda sx, sy, qx: sy.new_zeros(1, 3.0), task=lambda g: blobs(g, queries=1)))
