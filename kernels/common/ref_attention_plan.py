"""The record that attention_plan makes, in plain Python: kernels/attention_plan/README.md says what its words are."""

import numpy as np

VERSION, HEADER, PLACE, MOST_BINS = 1, 16, 4, 144
#: Keys of a unit that is not cut, its cost, and that of a part beside its units.
UNIT_KEYS, UNIT_COST, PART_COST = 64, 1, 5
#: SMs of H20, H100 and H200, and blocks of decoding that each has room for.
SMS, RESIDENT = (78, 132, 132), 1


def row_tiles(rows):
    """Tiles of 8, 16 or 32 rows of queries that share a head of keys."""
    return -(-rows // (8 if rows <= 8 else 16 if rows <= 16 else 32))


def units_of(length, tokens, q_len, window):
    """Units of keys that a sequence's newest tokens see; none where another kernel takes them."""
    if not 0 < tokens <= min(q_len, length):
        return 0
    first = max(0, length - tokens + 1 - window) if window > 0 else 0
    return -(-length // UNIT_KEYS) - first // UNIT_KEYS


def filled(units, bins, payload, whole):
    """Where bins begin that take as much as payload allows, in order: sequence, unit, part; and parts by sequence. The
    last place is not the end where they do not hold all."""
    places, parts = [(0, 0, 0)], []
    sequence = unit = part = 0
    for _ in range(bins):
        left = payload
        while sequence < len(units):
            rest = units[sequence] - unit
            cost = rest * UNIT_COST + PART_COST if rest else 0
            if cost > left:
                fit = 0 if whole else max(0, (left - PART_COST) // UNIT_COST)
                unit, part = unit + fit, part + (fit > 0)
                break
            left -= cost
            parts.append(part + 1)
            sequence, unit, part = sequence + 1, 0, 0
        places.append((sequence, unit, part))
    return places, parts


def plan_words(units, bins, header, whole=False):
    """The record for sequences of so many units; `header` has words 5 to 12."""
    payload = max([UNIT_COST + PART_COST, *((u * UNIT_COST + PART_COST) if whole and u else 0 for u in units)])
    high = max(payload, sum(u * UNIT_COST + PART_COST for u in units if u))
    while payload < high:
        middle = (payload + high) // 2
        if filled(units, bins, middle, whole)[0][-1][0] == len(units):
            high = middle
        else:
            payload = middle + 1
    places, parts = filled(units, bins, payload, whole)
    before = np.cumsum([0] + [n if n > 1 else 0 for n in parts])
    words = np.zeros(HEADER + PLACE * (MOST_BINS + 1) + len(units) + 1, np.int32)
    words[:HEADER] = [VERSION, bins, len(units), payload, before[-1], *header, *[0] * (HEADER - 5 - len(header))]
    for i, place in enumerate(places):
        words[HEADER + PLACE * i :][:3] = place
    words[HEADER + PLACE * (MOST_BINS + 1) :] = before
    return words


def attention_plan(seq_lens, starts, num_heads, num_kv_heads, q_len, sliding_window, card, batch_invariant):
    """starts: query_start_loc, or None where each sequence has q_len new tokens."""
    card = card - 1 if card else 1
    tokens = np.full(len(seq_lens), q_len) if starts is None else np.diff(starts)
    units = [units_of(int(n), int(t), q_len, sliding_window) for n, t in zip(seq_lens, tokens, strict=True)]
    each = num_kv_heads * row_tiles(num_heads // num_kv_heads * q_len)
    bins = max(1, min(SMS[card] * RESIDENT // each, MOST_BINS))
    header = [num_heads, num_kv_heads, q_len, sliding_window, card, SMS[card], batch_invariant, starts is not None]
    return plan_words(units, bins, header, batch_invariant)


def fill_plan(args, case):
    """The plan of an attention call for an H100."""
    q_len = args.get("q_len") or args.get("max_query_len") or 1
    args["plan"][:] = attention_plan(
        args["seq_lens"],
        args.get("query_start_loc"),
        case["QH"],
        case["KH"],
        q_len if q_len <= 8 else 1,
        args.get("sliding_window", -1),
        2,
        args["batch_invariant"],
    )
