"""The record that grouped_gemm_plan makes: kernels/grouped_gemm_plan/README.md says what its words are."""

import re
from math import isqrt
from pathlib import Path

import numpy as np
from common.ref_groups import bounds, fill_groups

HEADERS = Path(__file__).parents[1] / "common/device"
FILL, LEAST, L2 = 1225, 4, 5120 // 132
CARDS = [(78, 2590, 60, 4), (132, 1446, 50, 1), (132, 2072, 50, 1)]  # SMs, bytes / 100, MB of L2, tensor clocks
FOUND = re.findall(r"\{(\d+), (\d+), \d+, (true|false)\}", (HEADERS / "product_plan.h").read_text())
TILES = [(int(rows), int(columns), swap == "true") for rows, columns, swap in FOUND]


def inputs(case, rng, make):
    return fill_groups(case, rng, make())


def time_of(tile, sizes, n, steps, card, splits):
    """(time, whole tiles, blocks, clocks of a step, all tiles) with tiles of one kind."""
    rows, columns, swap = tile
    sms, memory, _, clocks = CARDS[card]
    tokens, weights = (columns, rows) if swap else (rows, columns)
    row_tiles = sum(-(-s // tokens) for s in sizes)
    tiles = row_tiles * -(-n // weights)
    if not tiles:
        return 0, 0, 0, 0, 0
    tensor = rows // 64 * 4 * max(columns // 2, 16 + columns // 4) * clocks
    loads = (rows + columns) * 128 // L2
    step = max(tensor, loads, weights * 12800 * np.count_nonzero(sizes) // (memory * row_tiles))
    task = steps * step + FILL
    full = max(tiles // sms - 1, 0)
    left = tiles - full * sms
    blocks = sms if full else min(sms, left * steps // LEAST)
    whole = -(-tiles // sms) * task, tiles, min(tiles, sms), step, tiles
    if not (splits and steps >= 2 * LEAST and blocks):
        return whole
    cut = full * task - (-left * task // blocks) + 2 * FILL + 16 * rows * columns // L2
    return min(whole, (cut, full * sms, blocks, step, tiles), key=lambda c: c[0])


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
