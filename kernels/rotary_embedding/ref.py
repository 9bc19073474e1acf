"""What rotary_embedding means, in numpy: rotation of query and key heads by the token's position, in place."""

import numpy as np


def rotate(x, cos, sin, is_neox):
    x = x.astype(np.float64)
    half = cos.shape[-1]
    first, second = (
        (slice(0, half), slice(half, 2 * half)) if is_neox else (slice(0, 2 * half, 2), slice(1, 2 * half, 2))
    )
    a, b = x[..., first], x[..., second]
    out = x.copy()
    out[..., first] = a * cos - b * sin
    out[..., second] = b * cos + a * sin
    return out


def ref(positions, query, key, cos_sin_cache, is_neox):
    rows = cos_sin_cache.astype(np.float64)[positions][:, None, :]
    cos, sin = np.split(rows, 2, axis=-1)
    result = {"query": rotate(query, cos, sin, is_neox)}
    if key is not None:
        result["key"] = rotate(key, cos, sin, is_neox)
    return result
