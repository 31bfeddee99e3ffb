"""The lesson on the orders: its playground against autograd, and what its pictures say."""

import asyncio
import math
from dataclasses import replace

import pytest
import torch

from metalab.analysis.paired import Interval, Verdict
from metalab.analysis.second_order import meta_loss
from metalab.checkpoint import shipped
from metalab.learners import MAML
from metalab.lessons.second_vs_first_order_maml import evidence, exercises, solutions
from metalab.lessons.second_vs_first_order_maml import figures as lesson
from metalab.lessons.second_vs_first_order_maml.figures import BENT, STRAIGHT, WRONG_WAY, PeakMemory, Valleys
from metalab.losses import mse
from metalab.nets import MLP
from metalab.tasks import sine


def point(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


# The playground


def loss_as_written(valleys, theta, task):
    """½ (u² + λ (w − b u²)²), in the coordinates of the task's valley."""
    offset = theta - lesson.CENTRES[task]
    turn = lesson.ANGLES[task]
    u = offset[0] * turn.cos() + offset[1] * turn.sin()
    w = offset[1] * turn.cos() - offset[0] * turn.sin()
    return 0.5 * (u**2 + valleys.steepness * (w - valleys.bend * u**2) ** 2)


def meta_gradient_by_autograd(valleys, start, inner_lr, steps, order):
    start = start.clone().requires_grad_()
    total = 0.0
    for task in range(3):
        theta = start
        for _ in range(steps):
            loss = loss_as_written(valleys, theta, task)
            (gradient,) = torch.autograd.grad(loss, theta, create_graph=order == 2)
            theta = theta - inner_lr * gradient
        total = total + loss_as_written(valleys, theta, task) / 3
    return torch.autograd.grad(total, start)[0], total.detach()


@pytest.mark.parametrize("bend", [STRAIGHT, BENT])
@pytest.mark.parametrize("steps", [0, 1, 4])
def test_the_playgrounds_meta_gradients_are_those_of_autograd(bend, steps):
    valleys, start = Valleys(3.7, bend), point(-1.1, 0.8)
    found = valleys.meta_gradients(start, 0.07, steps)
    for order in (1, 2):
        expected, loss = meta_gradient_by_autograd(valleys, start, 0.07, steps, order)
        torch.testing.assert_close(found[order], expected, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(valleys.meta_loss(start, 0.07, steps), loss, rtol=1e-10, atol=1e-12)
    assert (lesson.angle(found[1], found[2]) > 0.1) == (steps > 0)


def test_bent_valleys_are_not_convex():
    start = point(1.5, 2.0)
    bowl = torch.autograd.functional.hessian(lambda theta: loss_as_written(Valleys(5.0, STRAIGHT), theta, 0), start)
    bent = torch.autograd.functional.hessian(lambda theta: loss_as_written(Valleys(5.0, BENT), theta, 0), start)
    torch.testing.assert_close(torch.linalg.eigvalsh(bowl), point(1.0, 5.0))
    assert torch.linalg.eigvalsh(bent)[0] < 0


def test_rims_are_where_the_loss_is_so_high():
    valleys = Valleys(4.0, BENT)
    rims = valleys.rims(0.4).transpose(0, 1)  # [points, T, 2]
    torch.testing.assert_close(valleys.loss(rims), torch.full(rims.shape[:2], 0.4, dtype=torch.float64))


def test_a_grid_of_starts_gives_the_losses_of_each():
    valleys, starts = Valleys(3.0, BENT), torch.randn(2, 4, 2, generator=torch.Generator().manual_seed(0)).double()
    losses = valleys.meta_loss(starts, 0.1, 2)
    assert losses.shape == (2, 4)
    for i in range(2):
        for j in range(4):
            torch.testing.assert_close(losses[i, j], valleys.meta_loss(starts[i, j], 0.1, 2))


def wrong_way():
    settings = dict(WRONG_WAY)
    valleys = Valleys(settings.pop("steepness"), settings.pop("bend"))
    start = point(settings.pop("x"), settings.pop("y"))
    return valleys, start, settings


def test_first_order_walks_the_wrong_way_where_the_lesson_says_so():
    valleys, start, how = wrong_way()
    inner = {"inner_lr": how["inner_lr"], "steps": how["steps"]}
    gradients = valleys.meta_gradients(start, **inner)
    assert lesson.angle(gradients[1], gradients[2]) > 90
    losses = {order: valleys.meta_loss(valleys.walk(start, order, **how), **inner) for order in (1, 2)}
    assert (losses[1].diff() > 0).all()  # it rises at every update
    assert (losses[2].diff() < 0).all()
    assert losses[2][-1] < losses[2][0] / 2
    # Adaptation itself works there: it brings every task's loss down.
    before, after = valleys.loss(valleys.adapt(start, **inner)[0]), valleys.loss(valleys.adapt(start, **inner)[-1])
    assert (after < before).all()


def test_the_wrong_way_can_be_found_by_hand():
    panel = lesson.plane_panel()
    for name, value in WRONG_WAY.items():
        control = panel.controls[name]
        control.value = value
        assert control.value == value  # no slider stops short of it
        if name != "bend":
            assert abs(value / control.step - round(value / control.step)) < 1e-6
    assert "176° apart: first order walks the wrong way" in panel.picture.text.value
    assert "first order runs away" in panel.picture.text.value
    assert "second order leads" in panel.picture.text.value


def test_a_second_inner_step_turns_first_order_round():
    """(1 − αλ)² is positive whatever αλ is."""
    valleys, start, how = wrong_way()
    gradients = valleys.meta_gradients(start, how["inner_lr"], 2)
    assert lesson.angle(gradients[1], gradients[2]) < 90


def test_a_walk_ends_where_it_is_far_away():
    valleys, start, how = wrong_way()
    path = valleys.walk(start, 1, **how)
    assert len(path) < lesson.UPDATES + 1
    assert path[-1].abs().max() >= lesson.FAR > path[-2].abs().max()
    assert len(valleys.walk(start, 2, **how)) == lesson.UPDATES + 1


def test_the_panel_answers_in_words_to_every_control():
    panel = lesson.plane_panel()
    said = panel.picture.text.value
    assert "wrong way" not in said
    for name, value in {"x": 2.0, "inner_lr": 0.2, "outer_lr": 0.5, "steps": 3, "steepness": 6.0, "bend": BENT}.items():
        before = panel.picture.text.value
        panel.controls[name].value = value
        assert panel.picture.text.value != before, name


EXTREMES = [
    {"inner_lr": 0.5, "steepness": 8.0, "steps": 5, "outer_lr": 1.0, "bend": BENT},
    {"inner_lr": 0.5, "steepness": 8.0, "steps": 5, "outer_lr": 1.0, "bend": BENT, "x": -2.8, "y": 2.8},
    {"inner_lr": 0.5, "steepness": 8.0, "steps": 5, "outer_lr": 1.0},
    {"inner_lr": 0.5, "steepness": 2.0, "steps": 5, "outer_lr": 0.01},
    {"inner_lr": 0.0, "steepness": 1.0, "steps": 0, "outer_lr": 1.0, "x": 2.8, "y": -2.8},
]


@pytest.mark.parametrize("extreme", EXTREMES)
def test_the_picture_stands_the_extremes(extreme):
    plane = lesson.Plane()
    words = plane.update(**WRONG_WAY | extreme)
    assert plane.canvas.png()
    assert "angle" in words or "apart" in words
    assert "nan" not in words
    assert "nan" not in plane.title.get_text()
    low, high = plane.curve.get_ylim()
    for line in plane.losses.values():
        assert len(line.get_ydata()) >= 2
        assert low <= line.get_ydata().min()
        assert line.get_ydata().max() <= high, "no curve leaves the frame"
    assert ("runs away in" in plane.note.get_text()) == ("runs away" in words)


def test_an_angle_that_is_none_is_told_in_words():
    plane = lesson.Plane()
    words = plane.update(**WRONG_WAY | {"x": -2.8, "y": 2.8} | EXTREMES[0])
    assert "The angle is undefined, because the adaptation diverges." in words
    assert plane.title.get_text() == "no angle: the adaptation diverges"
    assert not plane.arrows[2].get_visible()
    assert not plane.tags[2].get_visible()
    assert "The angle is undefined, because a gradient is zero." in plane._about(
        lesson.angle(point(0.0, 0.0), point(1.0, 0.0)), {1: point(0.0, 0.0), 2: point(1.0, 0.0)}
    )
    assert "apart" in plane.update(**WRONG_WAY)
    assert all(arrow.get_visible() for arrow in [*plane.arrows.values(), *plane.tags.values()])


CORNERS = [(x, y) for x in (-lesson.REACH, 0.0, lesson.REACH) for y in (-lesson.REACH, 0.0, lesson.REACH)]


@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize("how", [{}, {"inner_lr": 0.1, "steepness": 1.0}, {"steps": 3, "bend": BENT}], ids=str)
def test_arrows_and_their_names_stay_in_the_frame_and_apart(corner, how):
    plane = lesson.Plane()
    plane.update(**WRONG_WAY | how | dict(zip("xy", corner, strict=True)))
    plane.figure.canvas.draw()
    frame = plane.map.axes.bbox
    for order, arrow in plane.arrows.items():
        tip = torch.tensor(corner) + torch.tensor([arrow.U[0], arrow.V[0]])
        assert tip.abs().max() < lesson.VIEW
        box = plane.tags[order].get_window_extent()
        assert frame.x0 <= box.x0 < box.x1 <= frame.x1
        assert frame.y0 <= box.y0 < box.y1 <= frame.y1
    one, two = (tag.get_window_extent() for tag in plane.tags.values())
    assert not one.overlaps(two)
    tasks = [text for text in plane.map.axes.texts if text.get_text().startswith("task")]
    assert not any(box.overlaps(task.get_window_extent()) for box in (one, two) for task in tasks)


def test_the_map_gives_places_of_one_height_one_level():
    levels = lesson._grey_levels(0.5, 5, 8.0, BENT)
    heights = torch.stack(torch.meshgrid(lesson.GRID, lesson.GRID, indexing="xy"), -1)
    heights = Valleys(8.0, BENT).meta_loss(heights, 0.5, 5).nan_to_num(lesson.HIGH).clamp(max=lesson.HIGH)
    assert (heights == lesson.HIGH).float().mean() > 0.5
    assert set(levels[(heights == lesson.HIGH).numpy()].tolist()) == {levels.max()}


def test_both_walks_at_once_are_the_walks_alone():
    valleys, start = Valleys(3.0, BENT), point(-1.5, 1.5)
    for order, path in valleys.walks(start, 0.1, 2, 0.1, updates=5).items():
        expected = [start]
        for _ in range(5):
            expected.append(expected[-1] - 0.1 * valleys.meta_gradients(expected[-1], 0.1, 2)[order])
        torch.testing.assert_close(path, torch.stack(expected))


def test_without_an_inner_step_the_panel_says_that_nothing_adapts():
    panel = lesson.plane_panel()
    for name in ("steps", "inner_lr"):
        before, panel.controls[name].value = panel.controls[name].value, 0
        assert "With α = 0 or without an inner step nothing adapts" in panel.picture.text.value
        panel.controls[name].value = before
    assert "nothing adapts" not in panel.picture.text.value


def test_angle():
    assert lesson.angle(point(1.0, 0.0), point(0.0, 2.0)) == pytest.approx(90)
    assert lesson.angle(point(1.0, 0.0), point(-3.0, 0.0)) == pytest.approx(180)
    assert lesson.angle(point(1.0, 1.0), point(2.0, 2.0)) == pytest.approx(0)
    assert lesson.angle(point(1e200, 0.0), point(0.0, 1e-200)) == pytest.approx(90)
    for none in (point(0.0, 0.0), point(math.nan, 1.0), point(math.inf, 1.0)):
        assert math.isnan(lesson.angle(none, point(1.0, 0.0)))


# Peak memory


def test_peak_memory_counts_what_is_held_at_once():
    with PeakMemory() as memory:
        first = torch.zeros(1000)  # 4,000 bytes
        second = first + 1
        del first
        third = second * 2  # noqa: F841
    assert memory.peak == 8000


def test_peak_memory_counts_views_and_what_was_made_outside_for_nothing():
    outside = torch.zeros(1000)
    with PeakMemory() as memory:
        view = outside.view(10, 100)[2:]
        small = view.sum()  # noqa: F841
        outside.add_(1)
    assert memory.peak == 4


def test_peak_memory_counts_what_autograd_keeps():
    x = torch.zeros(1000, requires_grad=True)
    with PeakMemory() as kept:
        x.exp().sin().cos().sum()
    with PeakMemory() as not_kept, torch.no_grad():
        x.exp().sin().cos().sum()
    assert (kept.peak, not_kept.peak) == (3 * 4000 + 4, 2 * 4000)  # all links and the sum; two neighbours


def test_the_engines_peak_hardly_grows_with_the_inner_steps_and_that_of_a_kept_graph_does():
    net = MLP()
    params, episode = net.init(torch.Generator().manual_seed(0)), sine.sample(25, 10, 10, torch.Generator())
    peaks = {}
    for steps in (1, 10):
        learner = MAML(net, mse, inner_lr=0.01, inner_steps=steps)
        leaves = {name: p.clone().requires_grad_() for name, p in params.items()}
        for order in (1, 2):
            with PeakMemory() as memory:
                replace(learner, order=order).meta_gradient(params, episode)
            peaks[order, steps] = memory.peak
        with PeakMemory() as memory:
            torch.autograd.grad(meta_loss(learner, leaves, episode), list(leaves.values()))
        peaks["graph", steps] = memory.peak
    adapted = 4 * 25 * sum(p.numel() for p in params.values())  # bytes of all tasks' parameters at one step
    assert peaks[1, 10] - peaks[1, 1] <= adapted
    assert peaks[2, 10] - peaks[2, 1] == pytest.approx(9 * adapted, rel=0.15)  # the points θ_k, and nothing else
    assert peaks["graph", 10] - peaks["graph", 1] > 1.5 * (peaks[2, 10] - peaks[2, 1])


# The solutions, against finite differences


def by_finite_differences(function, params, h=1e-6):
    """The gradient of function(params), a number, by moving each entry both ways."""
    found = []
    for i, p in enumerate(params):
        slopes = torch.zeros_like(p).detach()
        for place in range(p.numel()):
            step = torch.zeros_like(slopes)
            step.view(-1)[place] = h
            there, back = (
                [q.detach() + sign * step if j == i else q.detach() for j, q in enumerate(params)] for sign in (1, -1)
            )
            slopes.view(-1)[place] = (function(there) - function(back)) / (2 * h)
        found.append(slopes)
    return found


def adapted_loss(support_loss, query_loss, inner_lr, steps):
    def value(params):
        for _ in range(steps):
            params = [p.detach().requires_grad_() for p in params]
            grads = torch.autograd.grad(support_loss(params), params)
            params = [p - inner_lr * g for p, g in zip(params, grads, strict=True)]
        return query_loss(params).item()

    return value


@pytest.mark.parametrize("case", [0, 1, 2])
def test_our_meta_gradient_is_that_of_finite_differences(case):
    support_loss, query_loss, params, inner_lr, steps = exercises.meta_gradient.inputs(case)
    found = solutions.meta_gradient(support_loss, query_loss, params, inner_lr, steps)
    expected = by_finite_differences(adapted_loss(support_loss, query_loss, inner_lr, steps), params)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5 * theirs.abs().max().item())


def test_our_second_term_is_half_the_gradient_of_the_product_of_gradients():
    first_loss, second_loss, params = exercises.two_terms.inputs(2)

    def product(at):
        at = [p.detach().requires_grad_() for p in at]
        g1, g2 = (torch.autograd.grad(loss(at), at) for loss in (first_loss, second_loss))
        return sum((a * b).sum() for a, b in zip(g1, g2, strict=True)).item()

    _average, inner = solutions.two_terms(first_loss, second_loss, params)
    for ours, theirs in zip(inner, by_finite_differences(product, params), strict=True):
        torch.testing.assert_close(ours, theirs / 2, rtol=1e-5, atol=1e-5 * theirs.abs().max().item())


# What was measured


def test_the_shipped_comparisons_are_read():
    command, found = evidence.orders()
    assert command.startswith("python -m metalab")
    assert list(found) == list(evidence.SETTINGS.values())
    assert all(each.steps.seeds >= 5 and each.time.seeds >= 5 for each in found.values())
    assert all(each["steps"] is each.steps and each["time"] is each.time for each in found.values())


def test_what_was_seen_over_trainings_is_averaged_over_seeds():
    row = {"tasks": "sine", "when": "end"}
    seen = [
        row | {"method": m, "seed": s, "share": [0.0, v, 9.0]} for m, s, v in [("a", 0, 1), ("a", 1, 3), ("b", 0, 0)]
    ]
    seen += [
        row | {"method": "b", "seed": 1, "share": [0.0, 2, 9.0]},
        row | {"method": "b", "seed": 7, "share": [0, 9, 9]},
    ]
    trained = evidence.OverTraining({"seen": seen})
    assert trained.quantiles("sine", "a", "end", "share") == [0, 2, 9]
    assert trained.difference("sine", "a", "b", "share").mean == 1  # seed 7 has no partner
    assert trained.seeds("sine") == 3


def test_the_shipped_trainings_have_every_time_of_every_method():
    trained = evidence.over_training()
    for tasks, methods in {"sine": 3, "omniglot": 2}.items():
        table = trained.table(tasks, "share")
        assert len(table) == methods
        assert all(low <= middle <= high for by in table.values() for low, middle, high in by.values())
        assert trained.seeds(tasks) >= 5


# Pictures


def test_shares_stand_beside_their_parameters():
    fig = lesson.draw_shares({"w1": [0.1, 0.2, 0.4], "w2": [0.5, 0.6, 3.0]}, "title")
    bars = [list(line.get_xdata()) for line in fig.axes[0].lines]
    assert bars[:4] == [[0.1, 0.4], [0.2], [0.5, 3.0], [0.6]]
    assert [label.get_text() for label in fig.axes[0].get_yticklabels()] == ["w1", "w2"]


def test_ratios_show_both_intervals_and_the_margin():
    one = Verdict(Interval(1.5, 1.2, 1.9), Interval(1.5, 1.3, 1.8), 0.01, 1.2, 5)
    other = Verdict(Interval(0.8, 0.7, 0.9), Interval(0.8, 0.75, 0.85), 0.01, 1.2, 5)
    fig = lesson.draw_ratios({"a setting": evidence.Comparison(one, other, 10, Interval(0.0, 0.0, 0.0))})
    lines = [list(line.get_xdata()) for line in fig.axes[0].lines]
    for verdict in (one, other):
        for interval in (verdict.ratio, verdict.narrow):
            assert [interval.low, interval.high] in lines


@pytest.mark.parametrize(
    ("angle", "says"),
    [(30, "downhill"), (80, "descends, though hardly"), (100, "climbs, though hardly"), (176, "the wrong way")],
)
def test_a_wrong_way_and_a_right_angle_are_told_apart(angle, says):
    assert says in lesson.way_in_words(angle)


@pytest.mark.parametrize("width", [320, 350, 500, 639, 640, 900])
def test_the_plane_has_room_for_its_labels_on_a_narrow_page(width):
    plane = lesson.Plane()
    plane.update(**WRONG_WAY)
    plane.canvas.fit(width, 480)
    plane.figure.canvas.draw()
    whole = plane.figure.bbox
    left, right = plane.map.axes, plane.curve
    for ax in (left, right):
        for text in (ax.title, ax.xaxis.label, ax.yaxis.label, *ax.get_xticklabels(), *ax.get_yticklabels()):
            box = text.get_window_extent()
            assert whole.x0 - 1 <= box.x0 <= box.x1 <= whole.x1 + 1, text.get_text()
            assert whole.y0 - 1 <= box.y0 <= box.y1 <= whole.y1 + 1, text.get_text()
    assert left.bbox.width == pytest.approx(left.bbox.height)  # angles look right
    assert not left.get_tightbbox().overlaps(right.get_tightbbox())
    if width < lesson.NARROW:
        assert left.bbox.y0 > right.bbox.y1


def test_curves_are_told_apart_without_colour():
    fig = lesson.draw_costs({"a": {1: 1.0, 2: 2.0}, "b": {1: 3.0, 2: 4.0}}, {"a": {1: 1.0}, "b": {1: 2.0}})
    assert len({(line.get_linestyle(), line.get_marker()) for line in fig.axes[0].lines}) == 2
    fig = lesson.draw_losses({2: [1.0] * 60, 1: [2.0] * 60}, "title")
    assert [line.get_linestyle() for line in fig.axes[0].lines] == ["-", "--"]


def test_the_panel_begins_at_the_trained_network_and_begins_there_again():
    panel = lesson.training_panel()
    begin, _about = shipped("sine_maml_5shot")
    assert all(torch.equal(panel.driver.trainer.params[name], p) for name, p in begin.items())
    losses = asyncio.run(panel.train(3, script={2: {"order": 1}}))
    assert panel.driver.trainer.learner.order == 1
    assert not all(torch.equal(panel.driver.trainer.params[name], p) for name, p in begin.items())
    again = [step.metrics["loss"] for step in panel.driver.replay(panel.history)]
    assert again == losses
    panel.driver.reset()
    assert all(torch.equal(panel.driver.trainer.params[name], p) for name, p in begin.items())


def test_the_panel_shows_what_first_order_leaves_out():
    panel = lesson.training_panel()
    learner = panel.driver.trainer.learner
    losses = asyncio.run(panel.train(6, script={4: {"order": 1, "inner_lr": 0.1}}))
    assert len(losses) == 6
    assert {(change.step, change.name) for change in panel.history.changes} == {(4, "order"), (4, "inner_lr")}
    picture, params = panel.view.picture, panel.driver.trainer.params
    second, first = (
        replace(learner, order=order, inner_lr=0.1).meta_gradient(params, picture.episode)[0] for order in (2, 1)
    )
    for bar, name in zip(picture.bars, params, strict=True):
        expected = ((second[name] - first[name]).norm() / second[name].norm()).item()
        assert bar.get_width() == pytest.approx(expected, rel=1e-3)
    assert "First and second order are" in panel.readout.value
