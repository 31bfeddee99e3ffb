"""The lesson on new domains: what ships with it is what its commands measure, and its pictures say what they show."""

from metalab.experiments import continual, domains
from metalab.lessons.domains_and_continual_learning import figures as lesson


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
