"""How evenly work lies on the SMs of a card: the least that the slowest one can have, by bisection."""

from __future__ import annotations

from collections.abc import Sequence

#: Equal tasks one after the other: how many, and what each takes beside the fixed cost of a task.
Run = tuple[int, int]


def fits(runs: Sequence[Run], parts: int, fixed: int, payload: int, cut: bool) -> bool:
    """Whether tasks in order fill at most `parts` of `payload`. A task is whole, or with `cut` each piece of it costs
    `fixed` again."""
    left = [run for run in runs if run[0]]
    rest = 0  # of a task that was cut
    for _ in range(parts):
        room = payload
        if rest:
            piece = min(rest, room - fixed)
            rest, room = rest - piece, room - piece - fixed
        while left and not rest:
            count, length = left[0]
            whole = min(count, room // (length + fixed))
            count, room = count - whole, room - whole * (length + fixed)
            left[0] = (count, length)
            if count:
                if cut and room > fixed:
                    left[0] = (count - 1, length)
                    rest = length - (room - fixed)
                break
            left.pop(0)
        left = [run for run in left if run[0]]
        if not left and not rest:
            return True
    return not left and not rest


def least_payload(runs: Sequence[Run], parts: int, fixed: int, cut: bool) -> int:
    """Of `parts` that share the tasks in order, what the fullest has at least."""
    low, high = fixed + 1, sum(count * (length + fixed) for count, length in runs)
    while low < high:
        middle = (low + high) // 2
        if fits(runs, parts, fixed, middle, cut):
            high = middle
        else:
            low = middle + 1
    return high
