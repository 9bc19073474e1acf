"""The record that grouped_gemm_plan makes: kernels/grouped_gemm_plan/README.md says what its words are."""

from math import isqrt

import numpy as np
from common.ref_group_plan import CARDS, TILES, time_of
from common.ref_groups import bounds, fill_groups


def inputs(case, rng, make):
    return fill_groups(case, rng, make())


def ref(plan, expert_first_row, masked_m, rows, n, k, element_bytes, card, batch_invariant):
    card = card - 1 if card else 1
    of_groups = bounds(rows, expert_first_row, masked_m)
    sizes, steps = [end - begin for begin, end in of_groups], -(-k * element_bytes // 128)
    few = 0 < sum(sizes) <= 64 * np.count_nonzero(sizes)  # rows of a group: tiles with 128 would be padding
    tiles = [i for i, t in enumerate(TILES) if (element_bytes > 1 or t[1] <= 128) and (t[2] or not few)]
    cuts = {i: time_of(TILES[i], sizes, n, steps, card, not batch_invariant) for i in tiles}
    best = min(tiles, key=lambda i: cuts[i][0])
    tokens, weights = TILES[best][1::-1] if TILES[best][2] else TILES[best][:2]
    across, kept = -(-n // weights), (CARDS[card][2] << 20) // 3 // (tokens * max(steps, 1) * 128)
    band = max(isqrt(CARDS[card][0] * weights // tokens), kept)
    _, whole, blocks, step, count = cuts[best]
    shape = [masked_m is not None, len(sizes), rows, n, k, element_bytes, batch_invariant, card, CARDS[card][0]]
    header = [1, *shape, 0, best, steps, across, band, count, whole, blocks, step]
    before = np.cumsum([0, *(-(-s // tokens) * across for s in sizes)])
    firsts = [*(begin for begin, _ in of_groups), 0]
    return {"plan": np.array([*header, *[0] * (32 - len(header)), *before, *firsts, *sizes, 0], np.int32)}
