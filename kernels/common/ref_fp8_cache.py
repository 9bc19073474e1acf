"""FP8 codes of heads and the paged caches that they go to, by the rule of ref_fp8: what rooms that store them share."""

import numpy as np
from common import ref_fp8


def codes(heads, given=None):
    """Codes and scales of heads [T, H, D]: those given, one or per head, or one made for each token and head."""
    x = np.asarray(heads).astype(np.float32)
    t, h, d = x.shape
    if given is None:
        made = ref_fp8.quantize(x.reshape(t * h, d), 1, 0, None, False, False)
        return made["out"].reshape(t, h, d), made["scale"].reshape(t, h)
    by = np.broadcast_to(given, h).astype(np.float32)
    divided = [ref_fp8.quantize(x[:, i], 0, 0, by[i], True, False)["out"] for i in range(h)]
    return np.stack(divided, 1), np.broadcast_to(by, (t, h))


def put(cache, slots, rows):
    out = cache.astype(np.float64)
    for row, slot in zip(rows, slots, strict=False):
        if slot >= 0:
            out[slot // cache.shape[2], :, slot % cache.shape[2]] = row
    return out


def stored(a, slots, **heads):
    """What becomes of the caches of a call: heads are key=... and value=..., arguments are named after them."""
    out = {}
    for name, x in heads.items():
        letter, scales = name[0], a[f"{name[0]}_scale_cache"]
        given = a[f"{letter}_scale"]
        made, by = codes(x, np.ones(1) if given is None and scales is None else given)
        out[f"{name}_cache"] = put(a[f"{name}_cache"], slots, made)
        if scales is not None:
            out[f"{letter}_scale_cache"] = put(scales, slots, by[:, :, None])
    return out


def positive(case, args):
    """Scales as they are: above 0; with `saturates` so small that most heads go beyond the largest code."""
    for name in ("k_scale", "v_scale"):
        if args[name] is not None:
            args[name][:] = np.abs(args[name]) * (1e-3 if case.get("saturates") else 0.02) + 1e-4
    return args
