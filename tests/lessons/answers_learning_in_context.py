"""Answers to the exercises of the lesson on learning in context."""

import math

import torch
import torch.nn.functional as F
from answers import right, wrong

from metalab.lessons.learning_in_context import exercises

# posterior_mean


@right(exercises.posterior_mean)
def _(at_points, y, at_queries, noise):
    weights = torch.ones(len(at_points))
    for k in range(len(y)):  # point by point, as evidence comes in
        weights = weights * torch.exp(-((at_points[:, k] - y[k]) ** 2) / (2 * noise**2))
        weights = weights / weights.sum()
    return (weights[:, None] * at_queries).sum(0)


@right(exercises.posterior_mean)
def _(at_points, y, at_queries, noise):
    log_density = torch.distributions.Normal(at_points, noise).log_prob(y).sum(1)
    weights = (log_density - log_density.logsumexp(0)).exp()
    return (weights[:, None] * at_queries).sum(0)


@right(exercises.posterior_mean)
def _(at_points, y, at_queries, noise):
    z = -0.5 * torch.cdist(at_points, y[None])[:, 0].pow(2) / noise**2
    w = torch.exp(z - z.max())
    return at_queries.T @ w / w.sum()


@wrong(exercises.posterior_mean, "all weights are 0, and 0 / 0 is not a number")
def _(at_points, y, at_queries, noise):
    w = torch.exp(-0.5 * torch.cdist(at_points, y[None])[:, 0].pow(2) / noise**2)
    return at_queries.T @ w / w.sum()


@wrong(exercises.posterior_mean, "all weights are 0, and 0 / 0 is not a number")
def _(at_points, y, at_queries, noise):
    w = torch.exp(-((at_points - y) ** 2).sum(1) / (2 * noise**2)) + 1e-12
    return (w[:, None] * at_queries).sum(0) / w.sum()


def weighted(weights, at_queries):
    return (weights / weights.sum()) @ at_queries


@wrong(exercises.posterior_mean, "The factor 2 is missing")
def _(at_points, y, at_queries, noise):
    return weighted(torch.exp(-((at_points - y) ** 2).sum(1) / noise**2), at_queries)


@wrong(exercises.posterior_mean, "The noise is not squared")
def _(at_points, y, at_queries, noise):
    return weighted(torch.exp(-((at_points - y) ** 2).sum(1) / (2 * noise)), at_queries)


@wrong(exercises.posterior_mean, "The weights do not add up to 1")
def _(at_points, y, at_queries, noise):
    return torch.exp(-((at_points - y) ** 2).sum(1) / (2 * noise**2)) @ at_queries


@wrong(exercises.posterior_mean, "the one wave that fits best")
def _(at_points, y, at_queries, noise):
    best = min(range(len(at_points)), key=lambda g: ((at_points[g] - y) ** 2).sum().item())
    return at_queries[best]


@wrong(exercises.posterior_mean, "takes the mean over the points")
def _(at_points, y, at_queries, noise):
    return torch.softmax(-((at_points - y) ** 2).mean(1) / (2 * noise**2), 0) @ at_queries


@wrong(exercises.posterior_mean, "The sign is wrong")
def _(at_points, y, at_queries, noise):
    return torch.softmax(((at_points - y) ** 2).sum(1) / (2 * noise**2), 0) @ at_queries


@wrong(exercises.posterior_mean, "absolute differences")
def _(at_points, y, at_queries, noise):
    return torch.softmax(-(at_points - y).abs().sum(1) / (2 * noise**2), 0) @ at_queries


@wrong(exercises.posterior_mean, "All waves count the same")
def _(at_points, y, at_queries, noise):
    return at_queries.mean(0)


@wrong(exercises.posterior_mean, "Only the last point counts")
def _(at_points, y, at_queries, noise):
    square = torch.zeros(len(at_points))
    for k in range(len(y)):
        square = (at_points[:, k] - y[k]) ** 2
    return torch.softmax(-square / (2 * noise**2), 0) @ at_queries


@wrong(exercises.posterior_mean, "takes the root of the sum of squares")
def _(at_points, y, at_queries, noise):
    return torch.softmax(-(at_points - y).norm(dim=1) / (2 * noise**2), 0) @ at_queries


@wrong(exercises.posterior_mean, "The division by 2 σ² is missing")
def _(at_points, y, at_queries, noise):
    return torch.softmax(-((at_points - y) ** 2).sum(1), 0) @ at_queries


@wrong(exercises.posterior_mean, "Two things are wrong")
def _(at_points, y, at_queries, noise):
    return torch.exp(-((at_points - y) ** 2).sum(1) / noise**2) @ at_queries


@wrong(exercises.posterior_mean, "as one tensor of floating-point numbers; yours is a list")
def _(at_points, y, at_queries, noise):
    return (torch.softmax(-((at_points - y) ** 2).sum(1) / (2 * noise**2), 0) @ at_queries).tolist()


# set_answer


@right(exercises.set_answer)
def _(encode, decode, x, y, query_x):
    r = encode(torch.cat((x, y), -1)).sum(1) / x.shape[1]
    return decode(torch.cat((r[:, None].repeat(1, query_x.shape[1], 1), query_x), -1))


@right(exercises.set_answer)
def _(encode, decode, x, y, query_x):
    answers = []
    for a, b, asked in zip(x, y, query_x, strict=True):
        r = encode(torch.hstack([a, b])[None])[0].mean(0)
        answers.append(decode(torch.hstack([r.repeat(len(asked), 1), asked])[None])[0])
    return torch.stack(answers)


@right(exercises.set_answer)
def _(encode, decode, x, y, query_x):
    codes = torch.einsum("tkw->tw", encode(torch.concat([x, y], dim=2))) / x.size(1)
    repeated = codes.unsqueeze(1).expand(codes.shape[0], query_x.size(1), codes.shape[1])
    return decode(torch.concat([repeated, query_x], dim=2))


def decoded(decode, r, query_x):
    return decode(torch.cat([r.expand(-1, query_x.shape[1], -1), query_x], 2))


@wrong(exercises.set_answer, "The codes are added")
def _(encode, decode, x, y, query_x):
    return decoded(decode, encode(torch.cat([x, y], 2)).sum(1, keepdim=True), query_x)


@wrong(exercises.set_answer, "It takes the largest of the codes")
def _(encode, decode, x, y, query_x):
    return decoded(decode, encode(torch.cat([x, y], 2)).max(1, keepdim=True).values, query_x)


@wrong(exercises.set_answer, "The encoder is given y first")
def _(encode, decode, x, y, query_x):
    return decoded(decode, encode(torch.cat([y, x], 2)).mean(1, keepdim=True), query_x)


@wrong(exercises.set_answer, "The decoder is given the query first")
def _(encode, decode, x, y, query_x):
    r = encode(torch.cat([x, y], 2)).mean(1, keepdim=True).expand(-1, query_x.shape[1], -1)
    return decode(torch.cat([query_x, r], 2))


@wrong(exercises.set_answer, "The mean runs over the tasks too")
def _(encode, decode, x, y, query_x):
    r = encode(torch.cat([x, y], 2)).mean(dim=(0, 1))
    return decoded(decode, r.view(1, 1, -1).repeat(len(x), 1, 1), query_x)


@wrong(exercises.set_answer, "averages the points first")
def _(encode, decode, x, y, query_x):
    return decoded(decode, encode(torch.cat([x.mean(1, keepdim=True), y.mean(1, keepdim=True)], 2)), query_x)


@wrong(exercises.set_answer, "Only the last point is used")
def _(encode, decode, x, y, query_x):
    for k in range(x.shape[1]):
        r = encode(torch.cat([x[:, k : k + 1], y[:, k : k + 1]], 2))
    return decoded(decode, r, query_x)


@wrong(exercises.set_answer, "answers from each point alone")
def _(encode, decode, x, y, query_x):
    codes = encode(torch.cat([x, y], 2))
    return torch.stack([decoded(decode, code[:, None], query_x) for code in codes.unbind(1)]).mean(0)


@wrong(exercises.set_answer, "by the number of points plus 1")
def _(encode, decode, x, y, query_x):
    return decoded(decode, encode(torch.cat([x, y], 2)).sum(1, keepdim=True) / (x.shape[1] + 1), query_x)


@wrong(exercises.set_answer, "divides by the number of queries")
def _(encode, decode, x, y, query_x):
    return decoded(decode, encode(torch.cat([x, y], 2)).sum(1, keepdim=True) / query_x.shape[1], query_x)


@wrong(exercises.set_answer, "The last point is left out")
def _(encode, decode, x, y, query_x):
    return decoded(decode, encode(torch.cat([x, y], 2)[:, :-1]).mean(1, keepdim=True), query_x)


@wrong(exercises.set_answer, "no gradient can flow")
def _(encode, decode, x, y, query_x):
    return decoded(decode, encode(torch.cat([x, y], 2)).mean(1, keepdim=True), query_x).detach()


@wrong(exercises.set_answer, "no gradient flows back to the weights of `encode`,")
def _(encode, decode, x, y, query_x):
    with torch.no_grad():
        r = encode(torch.cat([x, y], 2)).mean(1, keepdim=True)
    return decoded(decode, r, query_x)


@wrong(exercises.set_answer, "no gradient flows back to the weights of `encode`,")
def _(encode, decode, x, y, query_x):
    return decoded(decode, encode(torch.cat([x, y], 2)).mean(1, keepdim=True).detach(), query_x)


# attention


@right(exercises.attention)
def _(q, k, v, may_look):
    return F.scaled_dot_product_attention(q, k, v, attn_mask=may_look)


@right(exercises.attention)
def _(q, k, v, may_look):
    weights = torch.exp(q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])) * may_look
    return weights @ v / weights.sum(-1, keepdim=True)


@right(exercises.attention)
def _(q, k, v, may_look):
    scores = torch.einsum("...id,...jd->...ij", q, k) * q.size(-1) ** -0.5
    blocked = torch.where(may_look, 0.0, -1e9)
    return torch.einsum("...ij,...jd->...id", (scores + blocked).softmax(-1), v)


def masked(scores, may_look):
    return scores.masked_fill(~may_look, -torch.inf)


@right(exercises.attention)
def _(q, k, v, may_look):
    weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) * may_look
    return (weights / weights.sum(-1, keepdim=True)) @ v


@wrong(exercises.attention, "Is a number such as −20 put in their place")
def _(q, k, v, may_look):
    return (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(~may_look, -20.0).softmax(-1) @ v


@wrong(exercises.attention, "Is a number such as −20 put in their place")
def _(q, k, v, may_look):
    return (q @ k.mT / q.shape[-1] ** 0.5 + torch.where(may_look, 0.0, -50.0)).softmax(-1) @ v


@wrong(exercises.attention, "Does exp become 0 there, or infinite?")
def _(q, k, v, may_look):
    scores = masked(q @ k.mT / q.shape[-1] ** 0.5, may_look)
    weights = torch.exp(scores - 30)
    return (weights / weights.sum(-1, keepdim=True)) @ v


@wrong(exercises.attention, "Count the axes from the end: k.mT in place of k.T or transpose(0, 1)")
def _(q, k, v, may_look):
    return masked(q @ k.mT / q.shape[1] ** 0.5, may_look).softmax(-1) @ v


@wrong(exercises.attention, "Count the axes from the end: k.mT in place of k.T or transpose(0, 1)")
def _(q, k, v, may_look):
    return masked(q @ k.mT / q.shape[-1] ** 0.5, may_look).softmax(1) @ v


@wrong(exercises.attention, "and @. With 3 × 2 times 6 tokens of 4 numbers, it stopped with RuntimeError")
def _(q, k, v, may_look):
    return masked(q @ k.transpose(0, 1) / q.shape[-1] ** 0.5, may_look).softmax(-1) @ v


@wrong(exercises.attention, "not divided by √d")
def _(q, k, v, may_look):
    return masked(q @ k.mT, may_look).softmax(-1) @ v


@wrong(exercises.attention, "The scores are divided by d")
def _(q, k, v, may_look):
    return masked(q @ k.mT / q.shape[-1], may_look).softmax(-1) @ v


@wrong(exercises.attention, "Forbidden scores become 0")
def _(q, k, v, may_look):
    return (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(~may_look, 0).softmax(-1) @ v


@wrong(exercises.attention, "The mask is applied after the softmax")
def _(q, k, v, may_look):
    return (may_look * (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)) @ v


@wrong(exercises.attention, "The mask is turned around")
def _(q, k, v, may_look):
    return (
        torch.nan_to_num((q @ k.mT / q.shape[-1] ** 0.5).masked_fill(may_look, -torch.inf).softmax(-1), nan=math.nan)
        @ v
    )


@wrong(exercises.attention, "The mask is not used")
def _(q, k, v, may_look):
    return F.scaled_dot_product_attention(q, k, v)


@wrong(exercises.attention, "The mask is transposed")
def _(q, k, v, may_look):
    return masked(q @ k.mT / q.shape[-1] ** 0.5, may_look.T).softmax(-1) @ v


@wrong(exercises.attention, "The softmax runs over the columns")
def _(q, k, v, may_look):
    return masked(q @ k.mT / q.shape[-1] ** 0.5, may_look).softmax(-2) @ v


@wrong(exercises.attention, "are not divided by their sum")
def _(q, k, v, may_look):
    return (torch.exp(q @ k.mT / q.shape[-1] ** 0.5) * may_look) @ v


@wrong(exercises.attention, "Row and column of the scores are exchanged")
def _(q, k, v, may_look):
    return masked(k @ q.mT / q.shape[-1] ** 0.5, may_look).softmax(-1) @ v


@wrong(exercises.attention, "They belong to the values v")
def _(q, k, v, may_look):
    return masked(q @ k.mT / q.shape[-1] ** 0.5, may_look).softmax(-1) @ k


@wrong(exercises.attention, "Two things are wrong")
def _(q, k, v, may_look):
    return (q @ k.mT).softmax(-1) @ v


@wrong(exercises.attention, "no gradient can flow")
def _(q, k, v, may_look):
    with torch.no_grad():
        return masked(q @ k.mT / q.shape[-1] ** 0.5, may_look).softmax(-1) @ v


@wrong(exercises.attention, "no gradient flows back to q and k,")
def _(q, k, v, may_look):
    return masked(q @ k.mT / q.shape[-1] ** 0.5, may_look).softmax(-1).detach() @ v


@wrong(exercises.attention, "no gradient flows back to k,")
def _(q, k, v, may_look):
    return masked(q @ k.detach().mT / q.shape[-1] ** 0.5, may_look).softmax(-1) @ v


@wrong(exercises.attention, "no gradient flows back to v,")
def _(q, k, v, may_look):
    return masked(q @ k.mT / q.shape[-1] ** 0.5, may_look).softmax(-1) @ v.detach()


@wrong(exercises.attention, "autograd cannot go back through them")
def _(q, k, v, may_look):
    weights = (q @ k.mT / q.shape[-1] ** 0.5).exp()
    weights *= may_look
    weights /= weights.sum(-1, keepdim=True)
    return weights @ v


# causal_mask


@right(exercises.causal_mask)
def _(examples, queries):
    n, told = 2 * examples + queries, 2 * examples
    return torch.tensor([[j == i or (j < i and j < told) for j in range(n)] for i in range(n)])


@right(exercises.causal_mask)
def _(examples, queries):
    n = 2 * examples + queries
    i, j = torch.arange(n)[:, None], torch.arange(n)
    return (j == i) | ((j < i) & (j < 2 * examples))


@right(exercises.causal_mask)
def _(examples, queries):
    told = 2 * examples
    mask = torch.zeros(told + queries, told + queries, dtype=torch.bool)
    mask[:told, :told] = ~torch.triu(torch.ones(told, told), 1).bool()
    mask[told:, :told] = True
    mask.fill_diagonal_(True)
    return mask


def triangle(examples, queries):
    n = 2 * examples + queries
    return torch.ones(n, n).tril().bool()


@wrong(exercises.causal_mask, "a later query may look at those before it")
def _(examples, queries):
    return triangle(examples, queries)


@wrong(exercises.causal_mask, "each example has two tokens")
def _(examples, queries):
    return torch.ones(examples + queries, examples + queries).tril().bool()


@wrong(exercises.causal_mask, "The mask holds torch.float32")
def _(examples, queries):
    mask = triangle(examples, queries).float()
    mask[2 * examples :, 2 * examples :] = torch.eye(queries)
    return mask


@wrong(exercises.causal_mask, "may not look at themselves")
def _(examples, queries):
    told = 2 * examples
    mask = triangle(examples, queries)
    mask[:told, :told] = torch.ones(told, told).tril(-1).bool()
    mask[told:, told:] = torch.eye(queries).bool()
    return mask


@wrong(exercises.causal_mask, "True and False are exchanged")
def _(examples, queries):
    mask = triangle(examples, queries)
    mask[2 * examples :, 2 * examples :] = torch.eye(queries).bool()
    return ~mask


@wrong(exercises.causal_mask, "A question may look at its own example")
def _(examples, queries):
    i, j = torch.arange(2 * examples + queries)[:, None], torch.arange(2 * examples + queries)
    told = 2 * examples
    return (j == i) | ((j // 2 <= i // 2) & (j < told) & (i < told)) | ((j < told) & (i >= told))


@wrong(exercises.causal_mask, "A token may also look at the one after it")
def _(examples, queries):
    told = 2 * examples
    mask = torch.ones(told + queries, told + queries).tril(1).bool()
    mask[:, told:] = False
    mask[told:, told:] = torch.eye(queries).bool()
    return mask


@wrong(exercises.causal_mask, "the whole mask is transposed")
def _(examples, queries):
    mask = triangle(examples, queries)
    mask[2 * examples :, 2 * examples :] = torch.eye(queries).bool()
    return mask.T


@wrong(exercises.causal_mask, "a query may not look at itself")
def _(examples, queries):
    mask = triangle(examples, queries)
    mask[2 * examples :, 2 * examples :] = False
    return mask


@wrong(exercises.causal_mask, "all queries may look at one another")
def _(examples, queries):
    mask = triangle(examples, queries)
    mask[2 * examples :] = True
    return mask


@wrong(exercises.causal_mask, "a query may not look at the examples")
def _(examples, queries):
    mask = triangle(examples, queries)
    mask[2 * examples :] = torch.eye(2 * examples + queries)[2 * examples :].bool()
    return mask


@wrong(exercises.causal_mask, "Every token may look at every other one")
def _(examples, queries):
    return torch.ones(2 * examples + queries, 2 * examples + queries, dtype=torch.bool)


# linear_answer


@right(exercises.linear_answer)
def _(x, y, query_x, noise):
    answers = []
    for a, b, q in zip(x, y, query_x, strict=True):
        answers.append(q @ torch.linalg.inv(a.T @ a + noise**2 * torch.eye(a.shape[1]).to(a)) @ a.T @ b)
    return torch.stack(answers)


@right(exercises.linear_answer)
def _(x, y, query_x, noise):
    kernel = x @ x.mT + noise**2 * torch.eye(x.shape[1], dtype=x.dtype)  # by the points instead of the dimensions
    return query_x @ x.mT @ torch.linalg.solve(kernel, y)


@right(exercises.linear_answer)
def _(x, y, query_x, noise):
    a = x.transpose(1, 2) @ x
    a.diagonal(dim1=1, dim2=2).add_(noise**2)
    return query_x @ torch.cholesky_solve(x.transpose(1, 2) @ y, torch.linalg.cholesky(a))


def solved(x, y, query_x, extra):
    return query_x @ torch.linalg.solve(x.mT @ x + extra, x.mT @ y)


def one(x):
    return torch.eye(x.shape[-1], dtype=x.dtype)


@wrong(exercises.linear_answer, "this is plain least squares")
def _(x, y, query_x, noise):
    return query_x @ torch.linalg.pinv(x) @ y


@wrong(exercises.linear_answer, "The noise is not squared")
def _(x, y, query_x, noise):
    return solved(x, y, query_x, noise * one(x))


@wrong(exercises.linear_answer, "multiplied by the number of points")
def _(x, y, query_x, noise):
    return solved(x, y, query_x, x.shape[1] * noise**2 * one(x))


@wrong(exercises.linear_answer, "and XᵀX is not")
def _(x, y, query_x, noise):
    return solved(x, y, query_x, noise**2 / x.shape[1] * one(x))


@wrong(exercises.linear_answer, "to all numbers of the matrix")
def _(x, y, query_x, noise):
    return solved(x, y, query_x, noise**2)


@wrong(exercises.linear_answer, "1 is added to the diagonal")
def _(x, y, query_x, noise):
    return solved(x, y, query_x, one(x))


@wrong(exercises.linear_answer, "w is the mean of y_k x_k")
def _(x, y, query_x, noise):
    return query_x @ (x * y).mean(1)[:, :, None]


@wrong(exercises.linear_answer, "w is Xᵀy itself")
def _(x, y, query_x, noise):
    return query_x @ (x.mT @ y)


@wrong(exercises.linear_answer, "It divides by the diagonal alone")
def _(x, y, query_x, noise):
    return query_x @ ((x.mT @ y) / ((x**2).sum(1) + noise**2)[:, :, None])


@wrong(exercises.linear_answer, "It multiplies by the matrix")
def _(x, y, query_x, noise):
    return query_x @ ((x.mT @ x + noise**2 * one(x)) @ x.mT @ y)


@wrong(exercises.linear_answer, "The matrix is added up over the tasks")
def _(x, y, query_x, noise):
    flat = x.flatten(0, 1)
    return query_x @ torch.linalg.solve(flat.T @ flat + noise**2 * one(x), x.mT @ y)


@wrong(exercises.linear_answer, "σ² is subtracted")
def _(x, y, query_x, noise):
    return solved(x, y, query_x, -(noise**2) * one(x))


@wrong(exercises.linear_answer, "XᵀX is divided by the number of points")
def _(x, y, query_x, noise):
    return query_x @ torch.linalg.solve(x.mT @ x / x.shape[1] + noise**2 * one(x), x.mT @ y)
