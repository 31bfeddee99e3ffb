"""Answers to the exercises of the lesson on learning to act: navigation first, then bandits."""

import torch
from answers import right, wrong

from metalab.lessons.learning_to_act import bandit_exercises, exercises

# navigation


@right(exercises.reward_to_go)
def _(rewards):
    return torch.stack([rewards[:, t:].sum(1) for t in range(rewards.shape[1])], 1)


@right(exercises.reward_to_go)
def _(rewards):
    return rewards.sum(1, keepdim=True) - rewards.cumsum(1) + rewards


@right(exercises.reward_to_go)
def _(rewards):
    steps = rewards.shape[1]
    return rewards @ torch.ones(steps, steps, dtype=rewards.dtype).tril()


wrong(exercises.reward_to_go, "These are the sums up to each step")(lambda r: torch.cumsum(r, 1))
wrong(exercises.reward_to_go, "The reward of the step itself is missing")(
    lambda r: r.sum(1, keepdim=True) - r.cumsum(1)
)
wrong(exercises.reward_to_go, "It sums over trajectories")(lambda r: r.sum(0) - r.cumsum(0) + r)
wrong(exercises.reward_to_go, "return of the whole trajectory")(lambda r: r.sum(1)[:, None] + 0 * r)
wrong(exercises.reward_to_go, "in reverse order")(lambda r: torch.cumsum(torch.flip(r, [1]), 1))
wrong(exercises.reward_to_go, "come back as they were")(lambda r: r.clone())
wrong(exercises.reward_to_go, "This is minus the reward to go")(lambda r: r.cumsum(1) - r - r.sum(1, keepdim=True))
wrong(exercises.reward_to_go, "means of the rewards to come")(
    lambda r: torch.stack([r[:, t:].mean(1) for t in range(r.shape[1])], 1)
)
wrong(exercises.reward_to_go, "The last reward is missing")(
    lambda r: torch.stack([r[:, t:-1].sum(1) for t in range(r.shape[1])], 1)
)
wrong(exercises.reward_to_go, "It adds the trajectories up")(
    lambda r: torch.stack([r[:, t:].sum().expand(len(r)) for t in range(r.shape[1])], 1)
)
wrong(exercises.reward_to_go, "should return a tensor")(lambda r: r.tolist())


@right(exercises.score_gradient)
def _(actions, mean, deviation, weights):
    mu = mean.clone().requires_grad_()
    log_p = torch.distributions.Normal(mu, deviation).log_prob(actions).sum(2)
    return torch.autograd.grad((log_p * weights).sum(1).mean(), mu)[0]


@right(exercises.score_gradient)
def _(actions, mean, deviation, weights):
    return torch.einsum("nhd,nh->d", actions - mean, weights) / deviation**2 / len(actions)


@right(exercises.score_gradient)
def _(actions, mean, deviation, weights):
    total = torch.zeros_like(mean)
    for trajectory, worth in zip(actions, weights, strict=True):
        for action, weight in zip(trajectory, worth, strict=True):
            total = total + weight * (action - mean) / deviation**2
    return total / len(actions)


def score(actions, mean, weights, scale):
    return torch.einsum("nhd,nh->d", actions - mean, weights) / scale / len(actions)


wrong(exercises.score_gradient, "It divides by σ.")(lambda a, m, d, w: score(a, m, w, d))
wrong(exercises.score_gradient, "The division by σ² is missing")(lambda a, m, d, w: score(a, m, w, 1))
wrong(exercises.score_gradient, "The sign is wrong")(lambda a, m, d, w: score(a, m, w, -d * d))
wrong(exercises.score_gradient, "multiplies by the actions themselves")(lambda a, m, d, w: score(a, 0, w, d * d))
wrong(exercises.score_gradient, "takes the mean over the steps")(lambda a, m, d, w: score(a, m, w, d * d) / a.shape[1])
wrong(exercises.score_gradient, "sums over the trajectories")(lambda a, m, d, w: score(a, m, w, d * d) * len(a))
wrong(exercises.score_gradient, "It divides by 2σ²")(lambda a, m, d, w: score(a, m, w, 2 * d * d))
wrong(exercises.score_gradient, "It multiplies by σ²")(lambda a, m, d, w: score(a, m, w, 1 / d**2))
wrong(exercises.score_gradient, "The weights are missing")(lambda a, m, d, w: score(a, m, w**0, d * d))
wrong(exercises.score_gradient, "the sum of its trajectory's weights")(
    lambda a, m, d, w: ((a - m).sum(1) * w.sum(1)[:, None]).mean(0) / d**2
)
wrong(exercises.score_gradient, "should return a tensor")(lambda a, m, d, w: score(a, m, w, d * d).tolist())


@right(exercises.inner_step)
def _(theta, objective, rate):
    return theta - rate * torch.autograd.grad(-objective(theta), [theta], create_graph=True)[0]


@right(exercises.inner_step)
def _(theta, objective, rate):
    return theta + rate * torch.func.grad(objective)(theta)


@right(exercises.inner_step)
def _(theta, objective, rate):
    gradient = torch.autograd.grad(rate * objective(theta), theta, create_graph=True)[0]
    return gradient.add(theta)


@wrong(exercises.inner_step, "It descends")
def _(theta, objective, rate):
    return theta - rate * torch.func.grad(objective)(theta)


@wrong(exercises.inner_step, "The rate is missing")
def _(theta, objective, rate):
    return theta + torch.func.grad(objective)(theta)


@wrong(exercises.inner_step, "divided by its length")
def _(theta, objective, rate):
    gradient = torch.func.grad(objective)(theta)
    return theta + rate * gradient / gradient.norm()


@wrong(exercises.inner_step, "create_graph=True is missing")
def _(theta, objective, rate):
    return theta + rate * torch.autograd.grad(objective(theta), theta)[0]


@wrong(exercises.inner_step, "do not depend on theta any more")
def _(theta, objective, rate):
    return (theta + rate * torch.autograd.grad(objective(theta), theta)[0]).detach()


@wrong(exercises.inner_step, "The rate is in it twice")
def _(theta, objective, rate):
    return theta + rate * torch.autograd.grad(rate * objective(theta), theta, create_graph=True)[0]


@wrong(exercises.inner_step, "It takes two steps")
def _(theta, objective, rate):
    for _ in range(2):
        theta = theta + rate * torch.func.grad(objective)(theta)
    return theta


wrong(exercises.inner_step, "It returns the change alone")(
    lambda t, objective, rate: rate * torch.func.grad(objective)(t)
)
wrong(exercises.inner_step, "the signs of the gradient")(
    lambda t, objective, rate: t + rate * torch.func.grad(objective)(t).sign()
)
wrong(exercises.inner_step, "It adds the objective itself")(lambda t, objective, rate: t + rate * objective(t))
wrong(exercises.inner_step, "should return parameters of the shape")(
    lambda t, objective, rate: (t + rate * torch.func.grad(objective)(t)).sum()
)
wrong(exercises.inner_step, "should return a tensor")(lambda theta, objective, rate: None if rate < 0 else [theta])


# bandits

# pull_values


@right(bandit_exercises.pull_values)
def _(wins, losses, value):
    def q(a):
        m = (wins[a] + 1) / (wins[a] + losses[a] + 2)
        more = [tuple(n + (i == a) for i, n in enumerate(counts)) for counts in (wins, losses)]
        return m + m * value(more[0], losses) + (1 - m) * value(wins, more[1])

    return [q(a) for a in range(len(wins))]


@right(bandit_exercises.pull_values)
def _(wins, losses, value):
    w, n = torch.tensor(wins).double(), torch.tensor(losses).double()
    eye = torch.eye(len(w)).double()
    paid = torch.tensor([value((w + e).tolist(), losses) for e in eye]).double() + 1
    failed = torch.tensor([value(wins, (n + e).tolist()) for e in eye]).double()
    return torch.lerp(failed, paid, (w + 1) / (w + n + 2))


@right(bandit_exercises.pull_values)
def _(wins, losses, value):
    found = []
    for a, (w, n) in enumerate(zip(wins, losses, strict=True)):
        more_w, more_l = list(wins), list(losses)
        more_w[a] += 1
        more_l[a] += 1
        found.append(
            ((w + 1) * (1 + value(tuple(more_w), losses)) + (n + 1) * value(wins, tuple(more_l))) / (w + n + 2)
        )
    return tuple(found)


def q_values(wins, losses, m, paid, failed):
    """The values by a chance, and by what follows a payment and a failure of an arm."""
    found = []
    for a, (w, n) in enumerate(zip(wins, losses, strict=True)):
        more_w, more_l = ([*counts[:a], counts[a] + 1, *counts[a + 1 :]] for counts in (wins, losses))
        found.append(m(w, n) * paid(more_w) + (1 - m(w, n)) * failed(more_l))
    return found


def mean(w, n):
    return (w + 1) / (w + n + 2)


@wrong(bandit_exercises.pull_values, "the share of the pulls that paid")
def _(wins, losses, v):
    return q_values(
        wins, losses, lambda w, n: w / (w + n) if w + n else 0, lambda w: 1 + v(w, losses), lambda n: v(wins, n)
    )


@wrong(bandit_exercises.pull_values, "has w + l + 1 as its divisor")
def _(wins, losses, v):
    return q_values(wins, losses, lambda w, n: (w + 1) / (w + n + 1), lambda w: 1 + v(w, losses), lambda n: v(wins, n))


@wrong(bandit_exercises.pull_values, "Payment and failure count the same")
def _(wins, losses, v):
    return q_values(wins, losses, lambda w, n: 0.5, lambda w: 1 + v(w, losses), lambda n: v(wins, n))


@wrong(bandit_exercises.pull_values, "are exchanged")
def _(wins, losses, v):
    return q_values(wins, losses, lambda w, n: mean(n, w), lambda w: 1 + v(w, losses), lambda n: v(wins, n))


@wrong(bandit_exercises.pull_values, "The reward of the pull itself is missing")
def _(wins, losses, v):
    return q_values(wins, losses, mean, lambda w: v(w, losses), lambda n: v(wins, n))


@wrong(bandit_exercises.pull_values, "After a payment, only the 1 is counted")
def _(wins, losses, v):
    return q_values(wins, losses, mean, lambda w: 1, lambda n: v(wins, n))


@wrong(bandit_exercises.pull_values, "After a payment, the value of the old counts")
def _(wins, losses, v):
    return q_values(wins, losses, mean, lambda w: 1 + v(wins, losses), lambda n: v(wins, n))


@wrong(bandit_exercises.pull_values, "A failure counts as nothing")
def _(wins, losses, v):
    return q_values(wins, losses, mean, lambda w: 1 + v(w, losses), lambda n: 0)


@wrong(bandit_exercises.pull_values, "A failure brings a reward of 1 here")
def _(wins, losses, v):
    return q_values(wins, losses, mean, lambda w: 1 + v(w, losses), lambda n: 1 + v(wins, n))


@wrong(bandit_exercises.pull_values, "After a failure, the value of the old counts")
def _(wins, losses, v):
    return q_values(wins, losses, mean, lambda w: 1 + v(w, losses), lambda n: v(wins, losses))


@wrong(bandit_exercises.pull_values, "This is the largest value alone")
def _(wins, losses, v):
    return max(q_values(wins, losses, mean, lambda w: 1 + v(w, losses), lambda n: v(wins, n)))


@wrong(bandit_exercises.pull_values, "should return a list with a number for each arm")
def _(wins, losses, v):
    return {0: 1.0}


# play_game


@right(bandit_exercises.play_game)
def _(step, choose, pull, state, arms, pulls):
    tasks = len(state)
    log_ps = torch.empty(tasks, pulls, dtype=state.dtype)
    rewards = torch.empty(tasks, pulls, dtype=state.dtype)
    read = torch.zeros(tasks, arms + 1, dtype=state.dtype)
    every = []
    for k in range(pulls):
        state, log_p = step(state, read)
        arm = choose(log_p, k)
        rewards[:, k] = pull(arm, k)
        every.append(log_p[torch.arange(tasks), arm])
        read = torch.zeros(tasks, arms + 1, dtype=state.dtype)
        read[torch.arange(tasks), arm] = 1
        read[:, -1] = rewards[:, k]
    return torch.stack(every, dim=1).to(log_ps), rewards


@right(bandit_exercises.play_game)
def _(step, choose, pull, state, arms, pulls):
    def go(state, read, k):
        if k == pulls:
            return []
        state, log_p = step(state, read)
        arm = choose(log_p, k)
        one = torch.eye(arms, dtype=state.dtype)[arm]
        reward = pull(arm, k).to(state)
        return [((log_p * one).sum(1), reward), *go(state, torch.column_stack([one, reward]), k + 1)]

    log_ps, rewards = zip(*go(state, state.new_zeros(len(state), arms + 1), 0), strict=True)
    return [torch.stack(log_ps).T, torch.stack(rewards).T]


@right(bandit_exercises.play_game)
def _(step, choose, pull, state, arms, pulls):
    last, reward = state.new_zeros(len(state), arms), state.new_zeros(len(state))
    found = []
    for k in range(pulls):
        state, log_p = step(state, torch.hstack((last, reward.unsqueeze(1))))
        arm = choose(log_p, k)
        reward = pull(arm, k)
        last = (torch.arange(arms) == arm.unsqueeze(1)).to(state.dtype)
        found.append(torch.stack((torch.take_along_dim(log_p, arm.unsqueeze(1), 1).squeeze(1), reward)))
    log_ps, rewards = torch.stack(found, -1)
    return log_ps, rewards


def game(step, choose, pull, state, arms, pulls, *, reads=None, own=None, reset=False):
    first, read = state, state.new_zeros(len(state), arms + 1)
    log_ps, rewards = [], []
    for k in range(pulls):
        state, log_p = step(first if reset else state, read)
        arm = choose(log_p, k)
        reward = pull(arm, k)
        one = torch.eye(arms).double()[arm]
        read = reads(one, reward[:, None], log_p) if reads else torch.cat([one, reward[:, None]], 1)
        log_ps.append(own(log_p, arm) if own else (log_p * one).sum(1))
        rewards.append(reward)
    return torch.stack(log_ps, 1), torch.stack(rewards, 1)


@wrong(bandit_exercises.play_game, "have no gradient")
def _(step, choose, pull, state, arms, pulls):
    log_ps, rewards = bandit_exercises.play_game.answer(step, choose, pull, state, arms, pulls)
    return log_ps.detach(), rewards


@wrong(bandit_exercises.play_game, "The state begins anew at each pull")
def _(*given):
    return game(*given, reset=True)


@wrong(bandit_exercises.play_game, "It pulls the arm with the largest probability")
def _(step, choose, pull, *given):
    return game(step, lambda log_p, k: log_p.argmax(1), pull, *given)


@wrong(bandit_exercises.play_game, "The network always reads zeros")
def _(*given):
    return game(*given, reads=lambda one, reward, log_p: torch.cat([0 * one, 0 * reward], 1))


@wrong(bandit_exercises.play_game, "does not read the reward")
def _(*given):
    return game(*given, reads=lambda one, reward, log_p: torch.cat([one, 0 * reward], 1))


@wrong(bandit_exercises.play_game, "does not read which arm it pulled")
def _(*given):
    return game(*given, reads=lambda one, reward, log_p: torch.cat([0 * one, reward], 1))


@wrong(bandit_exercises.play_game, "reads the reward first")
def _(*given):
    return game(*given, reads=lambda one, reward, log_p: torch.cat([reward, one], 1))


@wrong(bandit_exercises.play_game, "The network reads the probabilities")
def _(*given):
    return game(*given, reads=lambda one, reward, log_p: torch.cat([log_p.exp(), reward], 1))


@wrong(bandit_exercises.play_game, "The network reads the log-probabilities")
def _(*given):
    return game(*given, reads=lambda one, reward, log_p: torch.cat([log_p, reward], 1))


@wrong(bandit_exercises.play_game, "The first part holds probabilities")
def _(*given):
    return game(*given, own=lambda log_p, arm: log_p.exp().gather(1, arm[:, None])[:, 0])


@wrong(bandit_exercises.play_game, "holds the largest log-probability")
def _(*given):
    return game(*given, own=lambda log_p, arm: log_p.max(1).values)


@wrong(bandit_exercises.play_game, "The first part has the wrong sign")
def _(*given):
    return game(*given, own=lambda log_p, arm: -log_p.gather(1, arm[:, None])[:, 0])


@wrong(bandit_exercises.play_game, "is the sum over the pulls")
def _(*given):
    log_ps, rewards = game(*given)
    return log_ps, rewards.sum(1)


@wrong(bandit_exercises.play_game, "is the running sum of the rewards")
def _(*given):
    log_ps, rewards = game(*given)
    return log_ps, rewards.cumsum(1)


@wrong(bandit_exercises.play_game, "should return two things")
def _(*given):
    return game(*given)[0]
