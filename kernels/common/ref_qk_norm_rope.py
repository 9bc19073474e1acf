"""Float64 reference and arguments of the rooms that normalise, rotate and store."""

import numpy as np
from common import ref_fill


def norm(x, weight, epsilon):
    scaled = x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon)
    return scaled if weight is None else scaled * weight.astype(np.float64)


def rope(x, cos_sin, is_neox):
    half = cos_sin.shape[-1] // 2
    cos, sin = cos_sin[:, None, :half], cos_sin[:, None, half:]
    one, two = (slice(0, half), slice(half, 2 * half)) if is_neox else (slice(0, 2 * half, 2), slice(1, 2 * half, 2))
    a, b, out = x[..., one], x[..., two], x.copy()
    out[..., one], out[..., two] = a * cos - b * sin, b * cos + a * sin
    return out


def head(x, weight, cos_sin, order, epsilon, is_neox):
    x = x.astype(np.float64)
    x = norm(x, weight, epsilon) if order == 1 else x
    x = rope(x, cos_sin, is_neox)
    return norm(x, weight, epsilon) if order == 2 else x


def store(cache, rows, slots, scale):
    """rows / scale at their slots; a float8 cache saturates, and its own rounding is left to the tolerance."""
    out = cache.astype(np.float64)
    rows = rows / (1 if scale is None else scale.astype(np.float64)[:, None])
    rows = np.clip(rows, -448, 448) if "float8" in str(cache.dtype) else rows
    for row, slot in zip(rows, slots, strict=False):
        if slot >= 0:
            out[slot // cache.shape[2], :, slot % cache.shape[2]] = row
    return out


def heads(a):
    """Query and key heads, normalised and rotated."""
    cos_sin = a["cos_sin_cache"].astype(np.float64)[a["positions"]]
    rest = cos_sin, a["norm"], a["epsilon"], a["is_neox"]
    return head(a["query"], a["q_weight"], *rest), head(a["key"], a["k_weight"], *rest)


def run(a, slots):
    queries, keys = heads(a)
    return {
        "query_out": queries,
        "key_cache": store(a["key_cache"], keys, slots, a["k_scale"]),
        "value_cache": store(a["value_cache"], a["value"].astype(np.float64), slots, a["v_scale"]),
    }


def prepare(case, args):
    """The case's fill in queries and keys; positive scales; with `fused` q, k and v are parts of one packed row, and
    the caches lie token by token (NHD)."""
    ref_fill.fill(case, args, "query", "key")
    for name in ("k_scale", "v_scale"):
        if args[name] is not None:
            args[name][:] = np.abs(args[name]) * 0.02 + 0.005 if case.get("saturates") else np.abs(args[name]) + 0.5
    if case.get("fused"):
        parts = [args[n] for n in ("query", "key", "value")]
        rows = np.concatenate([p.reshape(len(p), -1) for p in parts], axis=1)
        ends = np.cumsum([0, *(p[0].size for p in parts)])
        for n, p, begin, end in zip(("query", "key", "value"), parts, ends[:-1], ends[1:], strict=True):
            args[n] = rows[:, begin:end].reshape(p.shape)
        for n in ("key_cache", "value_cache"):
            args[n] = np.ascontiguousarray(args[n].swapaxes(1, 2)).swapaxes(1, 2)
    return args
