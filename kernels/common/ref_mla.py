"""Reference and arguments of the rooms that store tokens of multi-head latent attention."""

import numpy as np
from common import ref_fill

PARTS = ("q_pe", "kv_c", "k_pe")


def rope(x, a):
    """In float32 [T, ..., R]: products with cosines are rounded, then each sum of one with a product with a sine."""
    half = x.shape[-1] // 2
    angles = a["cos_sin_cache"].astype(np.float64)[a["positions"]].reshape(len(x), *[1] * (x.ndim - 2), 2 * half)
    cos, sin = angles[..., :half], angles[..., half:]
    one, two = (slice(half), slice(half, None)) if a["is_neox"] else (slice(0, None, 2), slice(1, None, 2))
    first, second, out = *(x[..., part].astype(np.float64) for part in (one, two)), np.empty(x.shape, np.float32)
    with np.errstate(all="ignore"):
        out[..., one] = (first * cos).astype(np.float32) - second * sin
        out[..., two] = (second * cos).astype(np.float32) + first * sin
    return out


def run(a, tokens):
    """`tokens` at their slots of the cache, and the rotated parts that are asked for."""
    cache = a["kv_cache"].copy()
    for token, slot in zip(tokens, a["slot_mapping"], strict=False):
        if slot >= 0:
            cache[slot // cache.shape[1], slot % cache.shape[1]] = token
    outs = {"q_pe_out": a["q_pe"], "k_pe_out": a["k_pe"]}
    with np.errstate(all="ignore"):
        turned = {name: rope(x, a).astype(x.dtype) for name, x in outs.items() if a[name] is not None}
    return {name: x.astype(np.float64) for name, x in {"kv_cache": cache, **turned}.items()}


def inputs(case, rng, args):
    """Distinct slots and every third token skipped, or all of them; positive scales; with `fused` the cache has a gap
    behind each block, latents and key part are packed rows, and turned queries the end of absorbed ones."""
    slots, cache = args["slot_mapping"], args["kv_cache"]
    slots[:] = -1 if case.get("skipped") else rng.permutation(case["NB"] * case["BS"])[: len(slots)]
    slots[2::3] = -1
    if args.get("scale") is not None:
        args["scale"][:] = 0.002 if case.get("saturates") else np.abs(args["scale"]) + 0.5
    ref_fill.fill(case, args, *(name for name in PARTS if args[name] is not None))
    if case.get("fused"):
        width = case["C"]
        args["kv_cache"] = np.concatenate([cache, cache[:, :1]], axis=1)[:, : case["BS"]]
        rows = np.concatenate([args["kv_c"], args["k_pe"]], axis=1)
        args["kv_c"], args["k_pe"] = rows[:, :width], rows[:, width:]
        args["q_pe_out"] = np.zeros((case["T"], case["QO"], width + case["R"]), rows.dtype)[..., width:]
    return args
