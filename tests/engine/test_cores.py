"""On a CPU a meta-batch is worked through in parts, on as many threads as torch has."""

import threading

import pytest
import torch
from naive_maml import relative_error
from problems import character_problem, meta_sgd_problem, sparse_maml_problem

from metalab.engine import cores
from metalab.learners import MAML

PROBLEMS = {
    "MAML": character_problem,
    "Meta-SGD": lambda **options: meta_sgd_problem(character_problem, **options),
    "sparse-MAML": lambda **options: sparse_maml_problem(character_problem, **options),
}


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", PROBLEMS)
def test_parts_add_up_to_the_whole(name, threads, monkeypatch):
    learner, params, episode = PROBLEMS[name](inner_steps=2)
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


def counted(recursion, sizes):
    def count(learner, params, episode):
        sizes.append(episode.tasks)
        return recursion(learner, params, episode)

    return count


def test_threads_that_others_start_keep_all_cores():
    learner, params, episode = character_problem()
    torch.set_num_threads(2)
    learner.meta_gradient(params, episode)
    seen = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert (torch.get_num_threads(), seen) == (2, [2])
