"""The lesson on new domains: what ships with it is what its commands measure, and its pictures say what they show."""

from metalab.experiments import continual, domains
from metalab.lessons.domains_and_continual_learning import figures as lesson
from metalab.tasks import glyphs


def test_the_measured_domains_are_those_of_the_command():
    results = lesson.load_results()
    assert results["tasks"] == domains.TASKS
    assert results["steps"] == {name: training.steps for name, training in domains.TRAININGS.items()}
    for run in results["runs"]:
        wanted = set(domains.WANTED[run["training"]]) - set(domains.SLOW if run["seed"] else ())
        assert set(run["accuracy"]) == wanted


def test_the_measured_streams_are_those_of_the_command():
    results = lesson.load_streams()
    assert results["classes"] == list(continual.CLASSES)
    for part, names in {"runs": continual.REPRESENTATIONS, "waves": continual.WAVE_ORDERS}.items():
        made = {(run["representation"], run["seed"]) for run in results[part]}
        assert made == {(name, seed) for name in names for seed in range(3)}


def test_accuracies_come_by_seed():
    def run(name, seed, share):
        return {"representation": name, "seed": seed, "classes": {"10": {"accuracy": {"steps": share}}}}

    results = {"runs": [run("OML", 1, 0.2), run("prototypes", 0, 0.9), run("OML", 0, 0.1)]}
    assert lesson.of_streams(results, "OML", "steps", 10) == [0.1, 0.2]


def test_pictures_of_streams_say_what_they_show():
    results = lesson.load_streams()
    _fig, told = lesson.draw_streams(results)
    for representation, learner in (("OML", "steps"), ("prototypes", "running mean")):
        shares = lesson.of_streams(results, representation, learner, 200)
        assert f"{100 * sum(shares) / 3:.0f} %" in told
    _fig, told = lesson.draw_waves(results)
    oldest = lesson.of_waves(results, "OML, shuffled", "steps")[:, 0].mean()
    assert f"from {oldest:.2f} for the oldest" in told


def test_the_panel_shows_as_many_classes_as_ways_and_each_methods_accuracy():
    test = glyphs.draw(alphabets=2, seed=1)
    panel = lesson.domains_panel({}, test, {"pixels, nearest mean": domains.pixels})
    for ways in (8, 3):
        panel.controls["ways"].value = ways
        *classes, bars = panel.picture._last.figure.axes
        assert [ax.get_visible() for ax in classes] == [i < ways for i in range(len(classes))]
        [bar] = bars.patches
        assert f"pixels, nearest mean {bar.get_width():.0f}%" in panel.picture.text.value
        assert f"12 tasks of {ways} ways" in bars.get_title()
        pictures = [ax.images[0].get_array() for ax in classes[:ways]]
        assert all(picture.min() < 0.5 for picture in pictures), "each shows its character"
