"""Our solutions, which `solution()` prints as they are. They are notebook code, so they have no type hints."""

import torch
import torch.nn.functional as F


def pull_values(wins, losses, value):
    """Return, for each arm, the expected reward of all pulls that are left."""
    found = []
    for arm in range(len(wins)):
        mean = (wins[arm] + 1) / (wins[arm] + losses[arm] + 2)
        one_win = (*wins[:arm], wins[arm] + 1, *wins[arm + 1 :])
        one_loss = (*losses[:arm], losses[arm] + 1, *losses[arm + 1 :])
        paid, failed = 1 + value(one_win, losses), value(wins, one_loss)
        found.append(mean * paid + (1 - mean) * failed)
    return found


def play_game(step, choose, pull, state, arms, pulls):
    """Return the log-probabilities of the chosen arms, and the rewards, [T, K]."""
    read = state.new_zeros(len(state), arms + 1)
    chosen, rewards = [], []
    for k in range(pulls):
        state, log_p = step(state, read)
        arm = choose(log_p, k)
        reward = pull(arm, k)
        read = torch.cat([F.one_hot(arm, arms), reward[:, None]], 1)
        chosen.append(log_p.gather(1, arm[:, None])[:, 0])
        rewards.append(reward)
    return torch.stack(chosen, 1), torch.stack(rewards, 1)
