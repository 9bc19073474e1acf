"""Float64 reference and arguments of the attention rooms."""

import numpy as np

ABSURD_BLOCK = 2147480000


def attend(query, keys, values, hidden, scale, softcap):
    """One sequence: query [T, H, D], keys [P, H, D], values [P, H, V], hidden [T, P]; a row that sees no key is 0."""
    scores = np.einsum("thd,phd->thp", query.astype(np.float64), keys) * scale
    if softcap > 0:
        scores = softcap * np.tanh(scores / softcap)
    scores = np.where(hidden[:, None, :], -np.inf, scores)
    largest = scores.max(-1, initial=-np.inf, keepdims=True)
    weights = np.exp(scores - np.where(np.isinf(largest), 0, largest))
    total = weights.sum(-1, keepdims=True)
    with np.errstate(divide="ignore"):
        lse = largest + np.log(total)
    return np.einsum("thp,phv->thv", weights / np.where(total > 0, total, 1), values), lse[..., 0]


def cached(cache, table, length, heads):
    """The first `length` vectors of one sequence [P, heads, D], each KV head repeated for its group."""
    at, size = np.arange(length), cache.shape[2]
    rows = cache[table[at // size], :, at % size].astype(np.float64)
    return np.repeat(rows, heads // cache.shape[1], axis=1)


def paged(out, lse, query, caches, block_table, query_start_loc, seq_lens, scale, causal, window, softcap):
    result = {"out": np.zeros(out.shape), "lse": np.full(out.shape[:2], -np.inf)}
    for b, length in enumerate(seq_lens):
        begin, end = query_start_loc[b : b + 2]
        keys, values = (cached(c, block_table[b], length, query.shape[1]) for c in caches)
        behind = length - (end - begin) + np.arange(end - begin)[:, None] - np.arange(length)
        hidden = (behind < 0 if causal else False) | (behind >= window if window > 0 else np.zeros_like(behind, bool))
        result["out"][begin:end], result["lse"][begin:end] = attend(
            query[begin:end], keys, values, hidden, scale, softcap
        )
    return result if lse is not None else {"out": result["out"]}


def inputs(case, rng, make):
    """Scattered pages from case["lens"] = [[query rows, cached tokens], ...]: every slot that no sequence uses is NaN,
    every unused table entry is absurd; with `fused` keys and values are halves of one buffer; `nan` names tensors of
    which the first sequence reads a NaN."""
    lens, size = np.array(case["lens"], int).reshape(-1, 2), case["BS"]
    used = -(-lens[:, 1] // size)
    blocks = rng.permutation(int(used.sum()) + 3)
    args = make(B=len(lens), T=int(lens[:, 0].sum()), NB=len(blocks), MB=int(used.max(initial=0)) + 1)
    if case.get("fused"):
        both = np.concatenate([args["key_cache"], args["value_cache"]], axis=-1)
        args["key_cache"], args["value_cache"] = both[..., : case["D"]], both[..., case["D"] :]
    table = args["block_table"]
    table[:] = ABSURD_BLOCK
    live = np.zeros((len(blocks), size), bool)
    for b, count in enumerate(used):
        table[b, :count], blocks = blocks[:count], blocks[count:]
        at = np.arange(lens[b, 1])
        live[table[b, at // size], at % size] = True
    for name in ("key_cache", "value_cache"):
        args[name].swapaxes(1, 2)[~live] = np.nan
    for name in case.get("nan", ()):
        args[name][(0, 0, 0) if name == "query" else (table[0, 0], 0, 0, 0)] = np.nan
    args["seq_lens"][:] = lens[:, 1]
    if "query_start_loc" in args:
        args["query_start_loc"][:] = np.concatenate([[0], np.cumsum(lens[:, 0])])
    args["softmax_scale"] = case["D"] ** -0.5
    return args
