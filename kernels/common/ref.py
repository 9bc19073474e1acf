"""Float64 reference and arguments of the attention rooms."""

import numpy as np
from common.ref_attention_plan import fill_plan

ABSURD_BLOCK = 2147480000


def attend(query, keys, values, hidden, scale, softcap, sinks=None):
    """One sequence: query [T, H, D], keys [P, H, D], values [P, H, V], hidden [T, P], sinks [H]; a row that sees no key
    is 0."""
    scores = np.einsum("thd,phd->thp", query.astype(np.float64), keys) * scale
    if softcap > 0:
        scores = softcap * np.tanh(scores / softcap)
    scores = np.where(hidden[:, None, :], -np.inf, scores)
    if sinks is not None:  # a key without a value
        sunk = np.broadcast_to(sinks.astype(np.float64)[None, :, None], (*scores.shape[:2], 1))
        scores = np.concatenate([scores, sunk], axis=-1)
        values = np.concatenate([values, np.zeros((1, *values.shape[1:]))])
    largest = scores.max(-1, initial=-np.inf, keepdims=True)
    weights = np.exp(scores - np.where(np.isinf(largest), 0, largest))
    total = weights.sum(-1, keepdims=True)
    with np.errstate(divide="ignore"):
        lse = largest + np.log(total)
    return np.einsum("thp,phv->thv", weights / np.where(total > 0, total, 1), values), lse[..., 0]


def cached(cache, scale, scale_cache, slots, heads):
    """The vectors of one sequence's slots [P, heads, D], times their scales, each KV head repeated for its group."""
    block, slot = slots
    rows = cache[block, :, slot].astype(np.float64)
    if scale is not None:
        rows = rows * scale[:, None]
    if scale_cache is not None:
        rows = rows * scale_cache[block, :, slot]
    return np.repeat(rows, heads // cache.shape[1], axis=1)


#: Of each 16 keys, in the order in which interleaved values have them.
INTERLEAVED = np.arange(16).reshape(2, 4, 2).swapaxes(0, 1).reshape(-1)


def interleaved(pages):
    """[NB, KH, BS, V] with the keys of a feature side by side: the bytes of [NB, KH, V, BS], each 16 keys in order."""
    runs = pages.reshape(*pages.shape[:2], pages.shape[2] // 16, 16, pages.shape[3])[..., INTERLEAVED, :]
    return runs.reshape(pages.shape).swapaxes(2, 3).reshape(pages.shape)


def uninterleaved(pages):
    """What `interleaved` made, as it was."""
    count, heads, size, features = pages.shape
    runs = pages.reshape(count, heads, features, size // 16, 16)[..., np.argsort(INTERLEAVED)]
    return runs.reshape(count, heads, features, size).swapaxes(2, 3)


def paged(
    out,
    lse,
    query,
    key_cache,
    value_cache,
    seq_lens,
    query_start_loc,
    softmax_scale,
    causal,
    sliding_window,
    softcap,
    k_scale,
    v_scale,
    k_scale_cache,
    v_scale_cache,
    sinks,
    batch_invariant,
    block_table=None,
    key_start_loc=None,
    plan=None,
    fp8_products=False,
    interleaved_values=False,
):
    if interleaved_values:
        value_cache = uninterleaved(value_cache)
    result = {"out": np.zeros(out.shape), "lse": np.full(out.shape[:2], -np.inf)}
    heads, size = query.shape[1], key_cache.shape[2]
    for b, length in enumerate(seq_lens):
        begin, end = query_start_loc[b : b + 2]
        at = np.arange(length) + (0 if key_start_loc is None else key_start_loc[b])
        slots = (at // size if block_table is None else block_table[b, at // size]), at % size
        keys = cached(key_cache, k_scale, k_scale_cache, slots, heads)
        values = cached(value_cache, v_scale, v_scale_cache, slots, heads)
        behind = length - (end - begin) + np.arange(end - begin)[:, None] - np.arange(length)
        hidden = np.zeros(behind.shape, bool)
        if causal:
            hidden |= behind < 0
        if sliding_window > 0:
            hidden |= behind >= sliding_window
        result["out"][begin:end], result["lse"][begin:end] = attend(
            query[begin:end], keys, values, hidden, softmax_scale, softcap, sinks
        )
    return result if lse is not None else {"out": result["out"]}


def inputs(case, rng, make):
    """Scattered pages from case["lens"] = [[query rows, cached tokens], ...]: every slot that no sequence uses is NaN,
    every unused table entry is absurd; with `ragged` sequences lie one after the other in a cache of one page, with
    `fused` keys and values are halves of one buffer, with `planned` there is a plan; `nan` names tensors of which the
    first sequence reads a NaN."""
    lens, size = np.array(case["lens"], int).reshape(-1, 2), case["BS"]
    batch, tokens = len(lens), int(lens[:, 0].sum())
    used = -(-lens[:, 1] // size)
    ragged = case.get("ragged")
    spare = max(3, case.get("NB", 0) - int(used.sum()))
    blocks = np.arange(-(-int(lens[:, 1].sum()) // size)) if ragged else rng.permutation(int(used.sum()) + spare)
    args = make(B=batch, C=batch, K=batch + 1, T=tokens, NB=len(blocks), MB=int(used.max(initial=0)) + 1, P=597 + batch)
    if case.get("fused"):
        both = np.concatenate([args["key_cache"], args["value_cache"]], axis=-1)
        args["key_cache"], args["value_cache"] = both[..., : case["D"]], both[..., case["D"] :]
    live = np.zeros((len(blocks), size), bool)
    if ragged:
        starts = args["key_start_loc"]
        starts[:] = np.concatenate([[0], np.cumsum(lens[:, 1])])
        live.reshape(-1)[: starts[-1]] = True
        first = (0, 0, 0)
    else:
        first = fill_pages(args["block_table"], lens[:, 1], blocks, live)
    for name in ("key_cache", "value_cache", "k_scale_cache", "v_scale_cache"):
        if args[name] is not None:
            args[name].swapaxes(1, 2)[~live] = np.nan
    for name in case.get("nan", ()):
        args[name][(0, 0, 0) if name == "query" else (first[0], 0, 0, 0)] = np.nan
    if case.get("interleaved_values"):
        args["value_cache"][:] = interleaved(args["value_cache"])
    args["seq_lens"][:] = lens[:, 1]
    if "query_start_loc" in args:
        args["query_start_loc"][:] = np.concatenate([[0], np.cumsum(lens[:, 0])])
    args["softmax_scale"] = case["D"] ** -0.5
    if case.get("planned"):
        fill_plan(args, case)
    return args


def fill_pages(table, lengths, blocks, live):
    """Gives each sequence its pages and marks their slots; the first sequence's first page."""
    size = live.shape[1]
    table[:] = ABSURD_BLOCK
    for b, length in enumerate(lengths):
        count = -(-length // size)
        table[b, :count], blocks = blocks[:count], blocks[count:]
        at = np.arange(length)
        live[table[b, at // size], at % size] = True
    return table[0, :1] if len(table) else (0,)
