"""The toolbox itself: what it leaves as it was, what it says of functions that return something else, and its page."""

import math
import re
from collections import namedtuple
from dataclasses import replace
from functools import partial
from itertools import count, cycle
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from clinic import blobs, maml, prototype_scores, prototypical, several, sines

from benchmarks import false_alarms
from benchmarks.__main__ import main
from metalab.analysis.examinations import EXAMINATIONS, Patient, examine
from metalab.analysis.patients import patient_of
from metalab.learners import MAML, Contrastive, FineTuning, MatchingNet, MultiStepLoss, Reptile, SupervisedContrastive
from metalab.losses import mse
from metalab.nets import MLP, Conv4
from metalab.tasks import Episode, Groups, glyphs, sine

PAGE = Path(__file__).parents[2] / "docs/examinations.md"


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


# What is left as it was


def test_a_patient_that_is_handed_out_twice_is_as_before():
    patient = prototypical()()
    module = patient.parameters
    module.eval()
    values = {name: p.clone() for name, p in module.state_dict().items()}
    grads = [torch.full_like(p, 3.0) for p in module.parameters()]
    for p, g in zip(module.parameters(), grads, strict=True):
        p.grad = g
    examine(lambda: patient)
    assert all(torch.equal(p, values[name]) for name, p in module.state_dict().items())
    assert all(p.grad is g and (g == 3).all() for p, g in zip(module.parameters(), grads, strict=True))
    assert not any(part.training for part in module.modules())


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_where_gradients_are_off_they_are_on_for_the_patient(context):
    with context():
        report = examine(maml())
        assert not torch.is_grad_enabled()
    assert report.ill == [], str(report)


def test_the_same_patient_gets_the_same_report():
    torch.manual_seed(1)
    first = str(examine(prototypical()))
    torch.manual_seed(2)
    assert str(examine(prototypical())) == first


# What a patient's functions return


def scores(sx, sy, qx):
    return -torch.cdist(qx, sx[sy.sort().indices][::2])


def needed(**given):
    return lambda: Patient(**{"task": blobs, "predict": scores} | given)


@pytest.mark.parametrize(
    ("examination", "make", "words"),
    [
        (
            "alone",
            needed(predict=lambda *_: None),
            r"predict returned None for 6 queries; it must return scores \[Q, cl",
        ),
        ("alone", needed(predict=lambda *given: scores(*given).argmax(1)), r"predict returned a tensor of shape \[6\]"),
        (
            "alone",
            needed(predict=lambda *given: scores(*given)[:2]),
            r"predict returned a tensor of shape \[2, 3\] for 6",
        ),
        ("alone", needed(task=sines, predict=lambda sx, sy, qx: qx[:, 0]), r"it must return values \[Q, out\]"),
        ("alone", needed(task=lambda g: blobs(g)[:3]), "task returned .* it must return .support x, support y"),
        ("alone", needed(task=lambda g: (*blobs(g)[:3], torch.zeros(2))), "task returned tensors of the shapes"),
        ("several steps", needed(parameters=[torch.ones(2)], step=lambda b: None, batch=blobs), "step returned None"),
        ("one batch", needed(parameters=[torch.ones(2)], step=lambda b: "0.1", batch=blobs), "step returned '0.1'"),
        ("memory over training", needed(step=lambda b: torch.ones(2), batch=blobs), r"step returned a tensor of shape"),
        (
            "gradients",
            needed(parameters=[torch.ones(2)], loss=len, gradient=lambda b: [], batch=blobs),
            "gradient retur",
        ),
        ("gradients", lambda: Patient(parameters=lambda: 3, loss=len, batch=blobs), "parameters=3 must be"),
        ("side of the pairs", lambda: Patient(distance=torch.dist, pairs=lambda g: None), "pairs returned None"),
        (
            "side of the pairs",
            lambda: Patient(distance=lambda a, b: 3, pairs=lambda g: (torch.ones(2), torch.ones(2), torch.eye(2)[0])),
            "distance returned 3 for 2 pairs",
        ),
    ],
)
def test_what_cannot_be_used_is_told_by_the_name_of_the_function(examination, make, words):
    with pytest.raises(TypeError, match=words):
        EXAMINATIONS[examination](make)
    report = examine(make) if "parameters=3" not in words else None
    assert report is None or any("stops with" in finding.says for finding in report)


def test_an_examination_says_what_it_needs():
    with pytest.raises(ValueError, match='returned a patient without parameters; the examination "same start" needs'):
        EXAMINATIONS["same start"](needed())


def test_an_error_is_reported_once():
    def broken(*_):
        raise RuntimeError("no such layer\nand more")

    report = examine(needed(predict=broken))
    assert report.ill == ["another support set"]
    assert "RuntimeError: no such layer" in str(report)
    assert "and more" not in str(report)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_answers_may_have_another_precision_and_a_graph(dtype):
    def predict(sx, sy, qx):
        return (scores(sx, sy, qx) * torch.ones((), requires_grad=True)).to(dtype)

    assert examine(needed(predict=predict)).ill == []


def test_tasks_with_one_query_leave_open_what_needs_two():
    def one(generator):
        sx, sy, qx, qy = blobs(generator)
        place = int(torch.randint(6, (), generator=generator))
        return sx, sy, qx[place : place + 1], qy[place : place + 1]

    report = examine(needed(task=one))
    assert report.ill == [], str(report)
    assert {f.examination for f in report if f.state == "open"} == {"alone", "constant output"}


def test_uneven_classes_are_no_alarm_when_labels_are_shuffled():
    def uneven(generator):
        sx, sy, qx, qy = blobs(generator, ways=2, shots=6, queries=6)
        kept = torch.tensor([0, 1, 2, 3, 4, 5, 6])
        return sx[kept], sy[kept], qx[kept], qy[kept]

    def nearest(sx, sy, qx):
        return F.one_hot(sy[torch.cdist(qx, sx).argmin(1)], 2).double()

    assert EXAMINATIONS["shuffled labels"](needed(task=uneven, predict=nearest)).state == "well"


def test_another_support_set_counts_the_tasks_that_gain_by_their_own():
    """Answers that depend on the support set need not gain by it, and their mean losses may look alike."""

    def disturbed(sx, sy, qx):
        return qx.sin() + 1e-3 * sx[0].sin()

    found = EXAMINATIONS["another support set"](needed(task=sines, predict=disturbed))
    assert found.state == "well"
    assert found.says.startswith("The answers depend on the support set")
    assert 5 <= int(found.says.split(" of 30 tasks fare better")[0].split()[-1]) <= 25
    gains = EXAMINATIONS["another support set"](needed(predict=scores))
    assert "; 30 of 30 tasks fare better after their own." in gains.says


def test_what_is_odd_on_purpose_is_left_open_and_not_ill():
    def joint(sx, sy, qx):
        return qx.sin()

    assert EXAMINATIONS["another support set"](needed(task=sines, predict=joint)).state == "ill"
    assert EXAMINATIONS["another support set"](needed(task=sines, predict=joint, adapts=False)).state == "open"

    def repeats(generator):
        sx, sy, qx, qy = sines(generator)
        return sx, sy, torch.cat([sx, qx]), torch.cat([sy, qy])

    assert EXAMINATIONS["support and queries"](needed(task=repeats)).state == "ill"
    assert EXAMINATIONS["support and queries"](needed(task=repeats, contains_support=True)).state == "open"
    same = repeats(torch.Generator().manual_seed(0))
    assert EXAMINATIONS["support and queries"](needed(task=lambda g: same, contains_support=True)).state == "ill"

    def over_the_queries(*given):
        return scores(*given).softmax(0)

    assert EXAMINATIONS["alone"](needed(predict=over_the_queries)).state == "ill"
    assert EXAMINATIONS["alone"](needed(predict=over_the_queries, transductive=True)).state == "open"


# The package's own learners


def drawings():
    return glyphs.draw(alphabets=2, characters=6, drawings=8)


def test_a_learner_is_trained_first_and_predicts_alike():
    learner = MAML(MLP(), mse, inner_lr=0.01)
    fresh, trained = (patient_of(learner, lambda g: sine.sample(4, 10, 10, g), steps=steps) for steps in (0, 5))
    task = fresh.task(torch.Generator().manual_seed(0))
    episode = sine.sample(4, 10, 10, torch.Generator().manual_seed(0))
    answers = learner.predict(trained.parameters, episode)[0]
    assert torch.allclose(trained.predict(*task[:3]), answers, atol=1e-6)
    assert not torch.equal(fresh.predict(*task[:3]), trained.predict(*task[:3]))


@pytest.mark.parametrize("learner", [MAML(MLP(), mse, 0.01, 3), MultiStepLoss(MLP(), mse, 0.01, 3)])
def test_the_loss_is_the_one_that_is_descended(learner):
    patient = patient_of(learner, lambda g: sine.sample(4, 10, 10, g), steps=5)
    assert EXAMINATIONS["finite differences"](lambda: patient).state == "well"
    if type(learner) is MAML:
        batch = patient.batch(torch.Generator().manual_seed(0))
        assert math.isclose(patient.loss(batch), patient.step(batch), rel_tol=1e-4)


def test_a_wrong_gradient_of_a_learner_is_found():
    class Half(MAML):
        def meta_gradient(self, params, episode):
            gradient, metrics = super().meta_gradient(params, episode)
            return {name: g / 2 for name, g in gradient.items()}, metrics

    def make():
        return patient_of(Half(MLP(), mse, inner_lr=0.01), lambda g: sine.sample(4, 10, 10, g), steps=5)

    assert "finite differences" in examine(make).ill


def test_first_order_is_named():
    patient = patient_of(MAML(MLP(), mse, inner_lr=0.01, order=1), lambda g: sine.sample(4, 10, 10, g))
    assert patient.order == 1
    assert EXAMINATIONS["order of the gradient"](lambda: patient).state == "well"
    second = Patient(meta_loss=patient.meta_loss, order=2)
    assert EXAMINATIONS["order of the gradient"](lambda: second).state == "ill"


def test_what_the_adapter_knows_of_a_learner():
    groups = Groups(drawings(), 4, 2)
    siamese = patient_of(Contrastive(Conv4(channels=4)), lambda g: groups(1, g))
    assert EXAMINATIONS["side of the pairs"](lambda: siamese).state == "well"
    matching = patient_of(MatchingNet(Conv4(channels=4)), lambda g: drawings().sample(1, 5, 1, 1, g))
    assert matching.floor == pytest.approx(math.log(1 + 4 / math.e))
    triples = Groups(drawings(), 4, 3)
    assert patient_of(SupervisedContrastive(Conv4(channels=4)), lambda g: triples(1, g)).floor == pytest.approx(
        math.log(2)
    )
    reptile = Reptile(MLP(), mse, inner_lr=0.01)
    patient = patient_of(reptile, lambda g: reptile.stream(sine.sample(2, 50, 3, g), g))
    batch = patient.batch(torch.Generator().manual_seed(0))
    assert torch.equal(batch.query_x, batch.support_x), "its loss is taken on what it trains on"
    assert patient.order == 1


def test_fine_tuning_needs_tasks():
    learner, characters = FineTuning(Conv4(12, channels=4), inner_steps=3), drawings()
    with pytest.raises(ValueError, match="tasks=None must be a function that draws episodes"):
        patient_of(learner, lambda g: characters.batch(20, g))

    def make():
        return patient_of(learner, lambda g: characters.batch(20, g), tasks=lambda g: characters.sample(1, 3, 1, 2, g))

    for name in ("several steps", "gradients", "finite differences", "alone", "same start"):
        finding = EXAMINATIONS[name](make)
        assert finding.state == "well", str(finding)


# The page


def test_page_and_registry_agree():
    page = PAGE.read_text()
    entries = re.findall(
        r"^\*\*(.+)\*\* needs (.+?)\. .*\n\n- \*Shows\*: (.+)\.\n- \*Cannot show\*: (.+)\.$", page, re.M
    )
    written = {
        name.lower(): (tuple(re.findall("`(.+?)`", needs)), shows, cannot) for name, needs, shows, cannot in entries
    }
    assert written == {name: (e.needs, e.shows, e.cannot) for name, e in EXAMINATIONS.items()}
    arguments = set(re.findall(r"^\| `(\w+)=", page, re.M))
    assert arguments <= set(Patient.__dataclass_fields__)


def test_the_examples_of_the_page_run_and_find_what_the_page_says(capsys):
    known = {}
    outputs = []
    for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S):
        exec(code, known)
        outputs.append(capsys.readouterr().out)
    ills = [re.findall("✗ ([a-z ]+):", output) for output in outputs]
    assert ills == [["finite differences"], ["finite differences"], ["one batch"], []]


def test_the_command_counts_no_alarm_and_goes_on_where_it_stopped(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(false_alarms, "learners", lambda: [("sine", "joint")])
    for seeds in (1, 2):
        assert main(["false-alarms", "--seeds", str(seeds), "--json", str(tmp_path / "found.json")]) == 0
        assert f"1 learner, seeds of each: {seeds}, patients: {seeds}, alarms: 0" in capsys.readouterr().out


def test_a_fixed_grid_of_x_is_no_fault_where_the_values_differ():
    grid = torch.linspace(-5, 5, 10)[:, None]

    def task(generator):
        height = torch.rand(1, generator=generator)
        return grid, height * grid.sin(), grid + 0.1, height * (grid + 0.1).sin()

    same = grid, grid.sin(), grid + 0.1, (grid + 0.1).sin()
    assert EXAMINATIONS["support and queries"](lambda: Patient(task=task)).state == "well"
    assert EXAMINATIONS["support and queries"](lambda: Patient(task=lambda _generator: same)).state == "ill"


def regression(batch, *, anew, turns=1):
    """A linear network that Adam trains with a small rate, made at every step or once, or so many that take turns."""

    def make():
        network = torch.nn.Linear(1, 1)
        kept = cycle([torch.optim.Adam(network.parameters(), lr=1e-4) for _ in range(turns)])

        def step(drawn):
            x, y = (drawn.support_x[0], drawn.support_y[0]) if isinstance(drawn, Episode) else drawn
            optimizer = torch.optim.Adam(network.parameters(), lr=1e-4) if anew else next(kept)
            loss = F.mse_loss(network(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss.item()

        return Patient(parameters=network, step=step, batch=batch)

    return make


def test_moments_that_are_lost_are_found_in_batches_of_any_kind_and_only_where_batches_differ():
    steps, x = EXAMINATIONS["several steps"], torch.linspace(-1, 1, 8)[:, None]
    assert steps(regression(lambda g: sine.sample(1, 5, 5, g), anew=True)).state == "ill"
    assert steps(regression(lambda g: sine.sample(1, 5, 5, g), anew=False)).state == "well"
    assert steps(regression(lambda _generator: (x, 3 * x), anew=False)).state == "well"
    for turns in (2, 3):
        assert steps(regression(lambda g: sine.sample(1, 5, 5, g), anew=False, turns=turns)).state == "well"


# What is unusual and healthy, next to the fault that it looks like


Named = namedtuple("Named", "sx sy qx qy")


def prototypes(*, noise=0.0):
    """A prototypical network whose loss disturbs the queries by noise from a generator of its own."""

    def make():
        network, own = torch.nn.Linear(6, 4), torch.Generator().manual_seed(0)

        def loss_of(sx, sy, qx, qy):
            seen = qx + noise * torch.randn(qx.shape, generator=own)
            return F.cross_entropy(prototype_scores(network, sx, sy, seen), qy)

        return Patient(
            parameters=network, batch=several(blobs), loss=lambda tasks: sum(loss_of(*task) for task in tasks)
        )

    return make


def test_tasks_that_are_named_tuples_stay_so():
    both = EXAMINATIONS["both parts"]

    def loss(tasks):
        return sum(F.cross_entropy(scores(t.sx, t.sy, t.qx), t.qy) for t in tasks)

    def careless(tasks):
        return sum(F.cross_entropy(scores(t.sx, t.sy, t.sx), t.sy) for t in tasks)

    batch = several(lambda g: Named(*blobs(g)))
    assert both(lambda: Patient(loss=loss, batch=batch)).state == "well"
    assert both(lambda: Patient(loss=careless, batch=batch)).state == "ill"


def test_one_query_of_whole_numbers_is_left_open():
    both = EXAMINATIONS["both parts"]

    def task(generator, queries=1):
        return (
            torch.randint(9, (4,), generator=generator),
            torch.arange(4),
            torch.arange(queries),
            torch.arange(queries),
        )

    def loss(tasks):
        return sum(F.cross_entropy(-(t[2][:, None] - t[0]).abs().double(), t[3]) for t in tasks)

    def on_the_support_set(tasks):
        return sum(F.cross_entropy(-(t[0][:, None] - t[0]).abs().double(), t[0] % 4) for t in tasks)

    def on_the_queries(tasks):
        return sum(F.cross_entropy(-(t[2][:, None] - t[2]).abs().double(), t[3] * 0) for t in tasks)

    found = both(lambda: Patient(loss=loss, batch=several(task)))
    assert found.state == "open"
    assert found.says.startswith("The queries are whole numbers")
    assert both(lambda: Patient(loss=loss, batch=several(partial(task, queries=3)))).state == "well"
    assert both(lambda: Patient(loss=on_the_support_set, batch=several(partial(task, queries=3)))).state == "ill"
    assert both(lambda: Patient(loss=on_the_queries, batch=several(task))).state == "ill"


def test_inputs_of_one_number_each():
    def task(generator, said=False):
        sx, sy, qx, qy = blobs(generator)
        return (sy + 0.01 * sx[:, 0] if said else sx[:, 0]), sy, (qy + 0.01 * qx[:, 0] if said else qx[:, 0]), qy

    examined = EXAMINATIONS["support and queries"]
    assert examined(lambda: Patient(task=task)).state == "well"
    found = examined(lambda: Patient(task=partial(task, said=True)))
    assert found.state == "ill"
    assert found.says.startswith("Number 1 of an input says its label")


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.bool])
def test_labels_may_be_whole_numbers_of_any_type_and_the_learner_sees_that_type(dtype):
    def task(generator):
        sx, sy, qx, qy = blobs(generator, ways=2)
        return sx, sy.to(dtype), qx, qy.to(dtype)

    def predict(sx, sy, qx):
        one = sy if dtype == torch.bool else sy == 1
        return -torch.cdist(qx, torch.stack([sx[~one].mean(0), sx[one].mean(0)]))

    assert examine(needed(task=task, predict=predict)).ill == []
    careless = needed(task=task, predict=lambda sx, sy, qx: torch.stack([qx[:, 0], qx[:, 1]], 1))
    assert "another support set" in examine(careless).ill


def test_one_network_for_all_tasks_need_not_ask_the_labels():
    def task(generator):
        x, y = torch.randn(24, 3, generator=generator), torch.arange(3).repeat(8)
        x = x + 4 * F.one_hot(y, 3)
        return x[:12], y[:12], x[12:], y[12:]

    def predict(sx, sy, qx):
        return qx

    shuffled = EXAMINATIONS["shuffled labels"]
    assert shuffled(needed(task=task, predict=predict, adapts=False)).state == "open"
    assert shuffled(needed(task=task, predict=predict)).state == "ill"


def test_noise_from_a_generator_of_its_own_leaves_the_slope_open():
    slope = EXAMINATIONS["finite differences"]
    found = slope(prototypes(noise=0.1))
    assert found.state == "open"
    assert "a random generator of its own" in found.says
    assert slope(prototypes()).state == "well"

    def moves_itself():
        patient = prototypes()()

        def loss(tasks):
            with torch.no_grad():
                patient.parameters.weight.mul_(0.9)
            return patient.loss(tasks)

        return replace(patient, loss=loss)

    def edits_its_batch():
        patient = prototypes()()

        def loss(tasks):
            found = patient.loss(tasks)
            for task in tasks:
                task[2].mul_(0.9)
            return found

        return replace(patient, loss=loss)

    for make in (moves_itself, edits_its_batch):
        found = slope(make)
        assert found.state == "ill"
        assert found.says.endswith("computing it changes something.")


def test_a_loss_that_begins_below_its_floor_tells_nothing():
    def make(floor, rate=0.1):
        weight = torch.zeros(1, requires_grad=True)
        optimizer = torch.optim.SGD([weight], lr=rate)

        def step(_batch):
            optimizer.zero_grad()
            loss = (weight - 1).square().sum() - 3
            loss.backward()
            optimizer.step()
            return loss.item()

        return Patient(parameters=[weight], step=step, batch=lambda _generator: None, floor=floor)

    one_batch = EXAMINATIONS["one batch"]
    assert one_batch(lambda: make(0.0)).state == "open"
    assert one_batch(lambda: make(-3.0)).state == "well"
    assert one_batch(lambda: make(-3.0, rate=0.0)).state == "ill"


@pytest.mark.parametrize(("every", "state"), [(10, "well"), (1000, "ill")])
def test_a_part_may_move_only_now_and_then(every, state):
    def make():
        network, number = torch.nn.Linear(1, 1), count(1)
        often, seldom = (torch.optim.Adam([p], lr=0.01) for p in network.parameters())

        def step(tasks):
            network.zero_grad()
            loss = sum(F.mse_loss(network(qx), qy) for _, _, qx, qy in tasks)
            loss.backward()
            often.step()
            if next(number) % every == 0:
                seldom.step()
            return loss.item()

        return Patient(parameters=network, step=step, batch=several(sines))

    assert EXAMINATIONS["several steps"](make).state == state
