"""Latent and rotated key part of each token, side by side in its slot of the paged cache, in numpy."""

import numpy as np
from common import ref_mla


def ref(**a):
    rows = np.concatenate([a["kv_c"].astype(np.float32), ref_mla.rope(a["k_pe"], a)], axis=1)
    with np.errstate(all="ignore"):
        rows = rows if a["scale"] is None else rows / a["scale"]
        rows = np.clip(rows, -448, 448) if "float8" in str(a["kv_cache"].dtype) else rows
        return ref_mla.run(a, rows.astype(a["kv_cache"].dtype))


def inputs(case, rng, make):
    return ref_mla.inputs(case, rng, make())
