"""On a CPU a meta-batch is worked through in parts."""

import pytest
from naive_maml import relative_error
from problems import character_problem, meta_sgd_problem, sparse_maml_problem

from metalab.engine import cores
from metalab.learners import MAML

PROBLEMS = {
    "MAML": character_problem,
    "Meta-SGD": lambda **options: meta_sgd_problem(character_problem, **options),
    "sparse-MAML": lambda **options: sparse_maml_problem(character_problem, **options),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_parts_add_up_to_the_whole(name, monkeypatch):
    learner, params, episode = PROBLEMS[name](inner_steps=2)
    whole, whole_metrics = learner.meta_gradient(params, episode)
    sizes_seen = []
    monkeypatch.setattr(MAML, "_recursion", counted(MAML._recursion, sizes_seen))
    for tasks_in_cache, sizes in [(3, [3]), (1, [1, 1, 1]), (2, [2, 1]), (0.5, [1, 1, 1])]:
        sizes_seen.clear()
        monkeypatch.setattr(cores, "IN_CACHE", int(tasks_in_cache * 15 * 28 * 28))
        ours, metrics = learner.meta_gradient(params, episode)
        assert sizes_seen == sizes
        assert relative_error(ours, whole) < 1e-13
        for key, value in whole_metrics.items():
            assert metrics[key].item() == pytest.approx(value.item())


def counted(recursion, sizes):
    def count(learner, params, episode):
        sizes.append(episode.tasks)
        return recursion(learner, params, episode)

    return count
