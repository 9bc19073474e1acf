"""What a grouped product takes with each kind of tile on each card: the model of grouped_gemm_plan, in integers."""

import re
from pathlib import Path

import numpy as np

HEADERS = Path(__file__).parent / "device"
FILL, LEAST, L2 = 1225, 4, 5120 // 132
CARDS = [(78, 2590, 60, 4), (132, 1446, 50, 1), (132, 2072, 50, 1)]  # SMs, bytes / 100, MB of L2, tensor clocks
FOUND = re.findall(r"\{(\d+), (\d+), \d+, (true|false)\}", (HEADERS / "product_plan.h").read_text())
TILES = [(int(rows), int(columns), swap == "true") for rows, columns, swap in FOUND]


def time_of(tile, sizes, n, steps, card, splits):
    """(time, whole tiles, blocks, clocks of a step, all tiles) with tiles of one kind."""
    rows, columns, swap = tile
    sms, memory, _, clocks = CARDS[card]
    tokens, weights = (columns, rows) if swap else (rows, columns)
    row_tiles = sum(-(-s // tokens) for s in sizes)
    tiles = row_tiles * -(-n // weights)
    if not tiles:
        return 0, 0, 0, 0, 0
    tensor = rows // 64 * 4 * max(columns // 2 * clocks, 16 + columns // 4)
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
