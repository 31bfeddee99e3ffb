"""Our solutions, which `solution()` prints as they are. They are notebook code, so they have no type hints."""

import torch


def posterior_mean(at_points, y, at_queries, noise):
    """Return the mean of G waves at the queries [Q], weighted by their fit to y."""
    squares = ((at_points - y) ** 2).sum(dim=1)
    weights = torch.softmax(-squares / (2 * noise**2), dim=0)
    return weights @ at_queries


def set_answer(encode, decode, x, y, query_x):
    """Return the answers [T, Q, 1] of a conditional neural process."""
    r = encode(torch.cat([x, y], dim=2)).mean(dim=1, keepdim=True)
    r = r.expand(-1, query_x.shape[1], -1)
    return decode(torch.cat([r, query_x], dim=2))


def attention(q, k, v, may_look):
    """Return what each token reads from those that it may look at: [..., n, d]."""
    scores = q @ k.mT / q.shape[-1] ** 0.5
    scores = scores.masked_fill(~may_look, -torch.inf)
    return torch.softmax(scores, dim=-1) @ v


def causal_mask(examples, queries):
    """Return which token (row) may look at which (column): booleans [n, n]."""
    told = 2 * examples
    may_look = torch.ones(told + queries, told + queries).tril().bool()
    may_look[told:, told:] = torch.eye(queries).bool()
    return may_look


def linear_answer(x, y, query_x, noise):
    """Return the posterior mean of a linear function at the queries: [T, Q, 1]."""
    matrix = x.mT @ x + noise**2 * torch.eye(x.shape[-1], dtype=x.dtype)
    w = torch.linalg.solve(matrix, x.mT @ y)
    return query_x @ w
