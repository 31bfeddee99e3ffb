"""Each examination calls those learners ill that have what it is for, and the other examinations do not."""

import copy
from itertools import count

import pytest
import torch
import torch.nn.functional as F
from clinic import blobs, descend, maml, net, pairs_of_blobs, prototype_scores, prototypical, siamese, sines
from torch import nn
from torch.func import functional_call

from metalab.analysis.examinations import EXAMINATIONS, Patient, examine

SICK = {}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def sick(name, *examinations):
    """Add a patient that exactly these examinations call ill."""

    def add(make):
        SICK[name] = (make, set(examinations))
        return make

    return add


def only(make, *names):
    """The same patient with nothing but these of its functions."""

    def less():
        patient = make()
        return Patient(**{name: getattr(patient, name) for name in names}, order=patient.order)

    return less


DOUBLE = {"dtype": torch.float64}
TRAINING = ("parameters", "step", "batch")
PREDICTION = ("parameters", "predict", "task")


# The training step


def failing(step):
    def make():
        module = nn.Linear(784, 3)
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        return Patient(
            parameters=module,
            step=lambda batch: step(module, optimizer, *batch),
            batch=lambda g: (torch.rand(6, 28, 28, generator=g), torch.randint(3, (6,), generator=g)),
        )

    return make


@sick("pictures that are not flattened", "several steps")
@failing
def _(module, optimizer, x, y):
    return F.cross_entropy(module(x), y)


@sick("arithmetic on a list of weights", "several steps")
@failing
def _(module, optimizer, x, y):
    weights = list(module.parameters())
    grads = torch.autograd.grad(F.cross_entropy(module(x.flatten(1)), y), weights)
    return weights - 0.1 * grads


@sick("a loss that is divided by nothing", "several steps")
@failing
def _(module, optimizer, x, y):
    return F.cross_entropy(module(x.flatten(1)), y) / (x.mean() * 0)


class ShadowsItsLoss:
    def __init__(self):
        self.module = nn.Linear(4, 3)
        self.loss = F.cross_entropy

    def step(self, batch):
        self.loss = self.loss(self.module(batch[0]), batch[1])
        return self.loss.item()


@sick("a loss by the name of the function, which fails at the second call", "several steps")
def _():
    learner = ShadowsItsLoss()
    return Patient(
        parameters=learner.module,
        step=learner.step,
        batch=lambda g: (torch.rand(6, 4, generator=g), torch.randint(3, (6,), generator=g)),
    )


def with_optimizer(make_optimizer, **more):
    """MAML whose step is taken by what `make_optimizer` returns for a module, anew for each step."""

    def make():
        patient = maml()()

        def step(tasks):
            optimizer = make_optimizer(patient.parameters)
            optimizer.zero_grad()
            loss = patient.loss(tasks)
            loss.backward()
            optimizer.step()
            return loss.item()

        return Patient(parameters=patient.parameters, step=step, batch=patient.batch, **more)

    return make


sick("a new Adam at each step", "several steps")(with_optimizer(lambda m: torch.optim.Adam(m.parameters(), lr=0.01)))
sick("a new AdamW at each step", "several steps")(
    with_optimizer(lambda m: torch.optim.AdamW(m.parameters(), lr=0.003, weight_decay=0))
)


def renewed(every, make_optimizer):
    """MAML whose optimizer is made anew at the first of so many steps."""

    def make():
        patient, number = maml()(), count()
        held = []

        def step(tasks):
            if next(number) % every == 0:
                held[:] = [make_optimizer(patient.parameters.parameters())]
            loss = patient.loss(tasks)
            held[0].zero_grad()
            loss.backward()
            held[0].step()
            return loss.item()

        return Patient(parameters=patient.parameters, step=step, batch=patient.batch)

    return make


sick("a new Adam at every second step", "several steps")(renewed(2, lambda p: torch.optim.Adam(p, lr=0.01)))
sick("momentum that is lost at each step", "several steps")(
    renewed(1, lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9))
)
sick("a head that no optimizer has", "several steps")(
    with_optimizer(lambda m: torch.optim.SGD(m[0].parameters(), lr=0.01))
)


@sick("gradients that are never set back to zero", "several steps")
def _():
    patient = maml()()
    optimizer = torch.optim.Adam(patient.parameters.parameters(), lr=0.01)

    def step(tasks):
        loss = patient.loss(tasks)
        loss.backward()
        optimizer.step()
        return loss.item()

    return Patient(parameters=patient.parameters, step=step, batch=patient.batch)


@sick("an optimizer of copies", "several steps", "one batch")
def _():
    patient = maml()()
    optimizer = torch.optim.Adam([p.detach().clone() for p in patient.parameters.parameters()], lr=0.01)

    def step(tasks):
        optimizer.zero_grad()
        loss = patient.loss(tasks)
        loss.backward()
        optimizer.step()
        return loss.item()

    return Patient(parameters=patient.parameters, step=step, batch=patient.batch)


# What cannot be fit


def negative(generator, dtype=torch.float32):
    x = torch.rand(8, 1, generator=generator)
    y = -1 - x
    return x[:4].to(dtype), y[:4].to(dtype), x[4:].to(dtype), y[4:].to(dtype)


def ends_in_relu():
    return nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1), nn.ReLU())


class Clamped(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = net()

    def forward(self, x):
        return self.body(x).clamp(min=0.5)


sick("a ReLU at the end, and negative targets", "one batch", "several steps")(
    only(maml(make_net=ends_in_relu, task=negative), *TRAINING)
)
sick("outputs that are clamped, and negative targets", "one batch", "several steps")(
    only(maml(make_net=Clamped, task=negative), *TRAINING)
)
sick("softmax twice", "one batch")(prototypical(scores=lambda *given: prototype_scores(*given).softmax(1)))


def softmax_in_the_module():
    module = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3), nn.Softmax(dim=1))
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)

    def step(batch):
        optimizer.zero_grad()
        loss = F.nll_loss(F.log_softmax(module(batch[0]), 1), batch[1])
        loss.backward()
        optimizer.step()
        return loss

    return Patient(parameters=module, step=step, batch=lambda g: blobs(g)[:2])


sick("softmax in the module and in the loss", "one batch")(softmax_in_the_module)


@sick("a sigmoid of the distance before a margin of 1", "one batch")
def _():
    """Distances of at least 1/2 and below 1: the same class is never near, and others never reach the margin."""
    module = net(6, 4)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)

    def step(pairs):
        a, b, same = pairs
        apart = torch.sigmoid((module(a) - module(b) + 1e-6).norm(dim=1))
        loss = torch.where(same, apart.square(), (1 - apart).square()).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return Patient(parameters=module, step=step, batch=pairs_of_blobs)


def another_network_predicts(copy):
    def make():
        patient = prototypical()()
        other = copy(patient.parameters)
        return Patient(
            parameters=patient.parameters,
            step=patient.step,
            batch=patient.batch,
            predict=lambda sx, sy, qx: prototype_scores(other, sx, sy, qx),
            task=patient.task,
        )

    return make


def noise(_module):
    return lambda x: torch.sin(1000 * x)


# The gradient


def detached_head(module, sx, sy, qx):
    return prototype_scores(lambda x: module[2](module[1](module[0](x)).detach()), sx, sy, qx)


sick("a body that is detached from its head", "gradients", "several steps", "finite differences")(
    prototypical(scores=detached_head, **DOUBLE)
)
sick("a loss that was turned into a new tensor", "gradients", "both parts", "finite differences")(
    only(
        maml(
            loss=F.mse_loss,
            judge=lambda forward, params, task, **_: torch.tensor(forward(params, task[2]).sum().item()),
        ),
        *("parameters", "loss", "batch"),
    )
)


def dead():
    module = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4))
    with torch.no_grad():
        module[0].bias.fill_(-100)
    return module


sick("dead units", "both parts", "gradients", "several steps", "one batch", "constant output", "another support set")(
    prototypical(dead)
)


def first_order(*given, **more):
    return descend(*given, **more | {"create_graph": False})


def detached(forward, params, x, y, *, loss, lr=0.05, steps=1):
    for _ in range(steps):
        grads = torch.autograd.grad(loss(forward(params, x), y), list(params.values()), create_graph=True)
        params = {name: p - lr * g.detach() for (name, p), g in zip(params.items(), grads, strict=True)}
    return params


WRONG_ORDER = ("finite differences", "order of the gradient", "memory over inner steps")
sick("first order without knowing it: no create_graph", *WRONG_ORDER)(maml(first_order, **DOUBLE))
sick("first order without knowing it: detached", *WRONG_ORDER)(maml(detached, **DOUBLE))
sick("second order where first was meant", "order of the gradient", "memory over inner steps")(maml(order=1))


def never_adapted(forward, params, task, *, lr=0.05, steps=1):
    sx, sy, qx, qy = task
    descend(forward, params, sx, sy, loss=F.mse_loss, lr=lr, steps=steps)
    return F.mse_loss(forward(params, qx), qy)


UNUSED = ("both parts", "order of the gradient", "memory over inner steps")
sick("adapted weights that the outer loss does not use", *UNUSED)(maml(judge=never_adapted))


def judged_on(part):
    """A training loss that looks at the support set alone (0) or at the queries alone (2)."""

    def judge(forward, params, task, *, lr=0.05, steps=1):
        x, y = task[part : part + 2]
        return F.mse_loss(forward(descend(forward, params, x, y, loss=F.mse_loss, lr=lr, steps=steps), x), y)

    return maml(judge=judge, meta_loss=None)


sick("a loss that is taken on the support set again", "both parts")(judged_on(0))
sick("adaptation to the queries themselves while it trains", "both parts")(judged_on(2))


def graph_kept(keep):
    def make():
        patient = maml()()
        kept = [0]

        def step(tasks):
            keep(kept, patient.loss(tasks))
            return 1.0

        return Patient(step=step, batch=patient.batch)

    return make


def summed(kept, loss):
    kept[0] = kept[0] + loss


sick("losses that are stored with their graphs", "memory over training")(graph_kept(list.append))
sick("losses that are added up with their graphs", "memory over training")(graph_kept(summed))


# The prediction


def no_adaptation(forward, params, *_, **__):
    return params


def predicting(predict, task=blobs, **more):
    """A trained-looking learner that does nothing but predict."""
    return lambda: Patient(predict=predict, task=task, **more)


def climb(*given, **more):
    return descend(*given, **{"lr": 0.3} | more, sign=1)


FIXED = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
sick("no adaptation at all", "another support set", "both parts", "order of the gradient", "memory over inner steps")(
    maml(no_adaptation)
)
sick("an encoder with a head of its own", "another support set")(predicting(lambda sx, sy, qx: qx @ FIXED))
sick("an inner step that climbs", "another support set")(
    maml(climb, make_net=lambda: net(6, 3), task=blobs, loss=F.cross_entropy, meta_loss=None)
)
sick("an inner step that climbs, on sines", "order of the gradient")(maml(climb))
sick("the farthest class", "another support set")(predicting(lambda *given: -prototype_scores(lambda x: x, *given)))


def by_place(sx, sy, qx):
    """The queries come class by class: their place gives the class away."""
    classes = len(sy.unique())
    return F.one_hot(torch.arange(len(qx)) * classes // len(qx), classes).float() + 1e-3 * qx[:, :classes]


def peeking():
    seen = {}

    def task(generator):
        drawn = blobs(generator)
        seen.update(zip(map(float, drawn[2][:, 0]), drawn[3].tolist(), strict=True))
        return drawn

    def predict(sx, sy, qx):
        right = torch.tensor([seen[float(x)] for x in qx[:, 0]])
        return F.one_hot(right, 3) + 1e-2 * prototype_scores(lambda x: x, sx, sy, qx)

    return Patient(predict=predict, task=task)


sick("the place of a query gives its class away", "shuffled labels", "alone", "another support set")(
    predicting(by_place)
)
sick("answers that come with the queries", "shuffled labels")(peeking)


def peeking_at_some():
    """One answer in ten comes with its query."""
    patient = peeking()

    def predict(sx, sy, qx):
        honest = prototype_scores(lambda x: x, sx, sy, qx)
        some = (1e4 * qx[:, :1]).long() % 10 == 0
        return torch.where(some, 1e3 * patient.predict(sx, sy, qx), honest)

    return Patient(predict=predict, task=patient.task)


sick("one answer in ten that comes with its query", "shuffled labels")(peeking_at_some)


def first_class(generator):
    sx, sy, qx, _ = blobs(generator, queries=1)
    return sx, sy, qx[:1].repeat(3, 1) + torch.rand(3, 6, generator=generator), torch.zeros(3, dtype=torch.long)


def saturated(*given):
    return torch.sigmoid(1e4 + prototype_scores(lambda x: x, *given))


sick(
    "the right class is the first, and so is every answer",
    "constant output",
    "another support set",
    "shuffled labels",
    "support and queries",
)(predicting(lambda sx, sy, qx: torch.zeros(len(qx), 3), first_class))
sick("sigmoids that are full", "constant output", "another support set")(predicting(saturated))
sick("answers that are no numbers", "constant output")(
    only(predicting(lambda *given: prototype_scores(lambda x: x, *given) / 0 * 0), "predict", "task")
)


def normalised(sx, sy, qx):
    return prototype_scores(lambda x: (x - x.mean(0)) / (x.std(0) + 1e-5), sx, sy, qx)


def left_in_train():
    module = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16, momentum=None), nn.ReLU(), nn.Linear(16, 4))
    return Patient(predict=lambda *given: prototype_scores(module, *given), task=blobs)


def never_tracked():
    module = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16, track_running_stats=False), nn.ReLU(), nn.Linear(16, 4))
    module.eval()
    return Patient(predict=lambda *given: prototype_scores(module, *given), task=blobs)


sick("batch norm over the queries, left in train()", "alone")(left_in_train)
sick("batch norm in eval() with statistics that are never tracked", "alone")(never_tracked)
sick("queries that are normalised together", "alone")(
    predicting(lambda sx, sy, qx: prototype_scores(lambda x: x, sx, sy, qx).softmax(0))
)


def by_the_shared_model(step):
    def make():
        module = net()

        def predict(sx, sy, qx):
            step(module, F.mse_loss(module(sx), sy))
            return module(qx)

        return Patient(parameters=module, predict=predict, task=sines)

    return make


@sick("an inner optimizer of the shared model", "same start")
@by_the_shared_model
def _(module, loss):
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


@sick("weights that are changed by their .data", "same start")
@by_the_shared_model
def _(module, loss):
    for p, g in zip(module.parameters(), torch.autograd.grad(loss, list(module.parameters())), strict=True):
        p.data -= 0.01 * g


@sick("a start that is kept elsewhere", "same start")
def _():
    module = net()
    kept = {name: p.detach().clone() for name, p in module.named_parameters()}

    def predict(sx, sy, qx):
        now = {name: p.requires_grad_() for name, p in kept.items()}
        grads = torch.autograd.grad(F.mse_loss(functional_call(module, now, (sx,)), sy), list(now.values()))
        kept.update({name: (p - 0.01 * g).detach() for (name, p), g in zip(now.items(), grads, strict=True)})
        return functional_call(module, kept, (qx,))

    return Patient(parameters=module, predict=predict, task=sines)


# The data


def task_of(change):
    return lambda: Patient(task=lambda generator: change(*blobs(generator)))


sick("queries from the support set", "support and queries")(task_of(lambda sx, sy, qx, qy: (sx, sy, sx, sy)))
sick("one drawing that is both", "support and queries")(
    task_of(lambda sx, sy, qx, qy: (sx, sy, torch.cat([qx[1:], sx[:1]]), torch.cat([qy[1:], sy[:1]])))
)
sick("one class in each task", "support and queries")(task_of(lambda sx, sy, qx, qy: (sx, 0 * sy, qx, 0 * qy)))
sick("always the same task", "support and queries")(
    lambda: Patient(task=lambda generator: blobs(torch.Generator().manual_seed(0)))
)
sick("a class without an example", "support and queries")(task_of(lambda sx, sy, qx, qy: (sx[:4], sy[:4], qx, qy)))


def marked(mark):
    """Tasks in whose inputs numbers stand that depend on the label."""

    def change(sx, sy, qx, qy):
        return torch.cat([sx, mark(sy)], 1), sy, torch.cat([qx, mark(qy)], 1), qy

    return change


sick("a label that is written into each input", "support and queries")(task_of(marked(lambda y: y[:, None].float())))
sick("a label in one-hot code in each input", "support and queries")(task_of(marked(lambda y: F.one_hot(y, 3).float())))
sick("alphabets as classes", "classes across splits")(
    lambda: Patient(splits={"training": {"Greek": [("Greek", "α"), ("Greek", "β")]}, "test": {"ω": [("Coptic", "ω")]}})
)
sick("a character in two splits", "classes across splits")(
    lambda: Patient(
        splits={"training": {0: [("Greek", "α")]}, "validation": {0: [("Greek", "α")]}}, new_alphabets=False
    )
)
sick("an alphabet in two splits", "classes across splits")(
    lambda: Patient(splits={"training": {0: [("Greek", "α")]}, "test": {0: [("Greek", "β")]}})
)


# Verification


def labelled_the_other_way():
    patient = siamese()()

    def pairs(generator):
        a, b, same = patient.pairs(generator)
        return a, b, ~same

    return Patient(distance=patient.distance, pairs=pairs)


sick("a label that is 1 for different classes", "side of the pairs")(labelled_the_other_way)
sick("the probability of the same in the place of a distance", "side of the pairs")(
    only(siamese(distance=lambda a, b: torch.exp(-(a - b).norm(dim=1))), "distance", "pairs")
)


@pytest.mark.parametrize("name", SICK)
def test_a_sick_learner_is_called_ill_by_the_examinations_that_are_for_it(name):
    make, expected = SICK[name]
    report = examine(make)
    assert set(report.ill) == expected, str(report)
    assert all(finding.says[0].isupper() or finding.says[0].isdigit() for finding in report), str(report)
    assert all(finding.says.rstrip()[-1] in ".?:" or "stops with" in finding.says for finding in report), str(report)


def test_every_examination_calls_at_least_two_learners_ill():
    found = [examination for _, expected in SICK.values() for examination in expected]
    assert {name for name in EXAMINATIONS if found.count(name) < 2} == set()


@pytest.mark.parametrize("other", [noise, lambda module: lambda x: x.new_zeros(len(x), 1)])
def test_a_network_that_is_not_the_trained_one_is_found_by_its_predictions(other):
    report = examine(another_network_predicts(other))
    assert "one batch" in report.ill, str(report)
    assert "of its predictions there are right" in str(report)


def test_a_copy_that_is_never_trained_is_found_by_its_error():
    def make():
        patient = maml()()
        start = copy.deepcopy(patient.parameters)
        return Patient(
            parameters=patient.parameters,
            step=patient.step,
            batch=patient.batch,
            predict=lambda sx, sy, qx: start(qx),
            task=patient.task,
        )

    finding = EXAMINATIONS["one batch"](make)
    assert finding.state == "ill", str(finding)
    assert "before and" in finding.says


# What is known to pass, as the page says


def in_two_numbers(y):
    """The label is the difference of two numbers, each of which varies far more."""
    first = 100 * torch.rand(len(y), 1, generator=torch.Generator().manual_seed(len(y)))
    return torch.cat([first, first + y[:, None]], 1)


def of_tasks(change):
    """A prototypical network on tasks that were changed, by its embedding x itself."""
    return lambda: Patient(
        predict=lambda *given: prototype_scores(lambda x: x, *given), task=lambda generator: change(*blobs(generator))
    )


PASSES = {
    "queries that are nearly support examples": of_tasks(lambda sx, sy, qx, qy: (sx, sy, sx + 1e-3 * qx, sy)),
    "labels that are hidden in two numbers": of_tasks(marked(in_two_numbers)),
    "support inputs that are shuffled": of_tasks(lambda sx, sy, qx, qy: (sx[[2, 5, 0, 3, 1, 4]], sy, qx, qy)),
    "a new Adam at every third step": renewed(3, lambda p: torch.optim.Adam(p, lr=0.01)),
}


@pytest.mark.parametrize("name", PASSES)
def test_what_the_page_says_to_pass_does_pass(name):
    report = examine(PASSES[name])
    assert report.ill == [], str(report)


def test_support_inputs_that_are_shuffled_leave_a_learner_at_chance():
    finding = EXAMINATIONS["shuffled labels"](PASSES["support inputs that are shuffled"])
    assert finding.state == "open", str(finding)
