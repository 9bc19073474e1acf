"""Judges the traces of a switched run: which steps, if any, saw a switch half-way."""

from __future__ import annotations

from collections import defaultdict

Call = dict[str, object]


def mixed_steps(traces: list[list[Call]]) -> list[str]:
    """Every violation of 'no step holds two epochs, and the ranks agree per step', in words; empty when it holds."""
    epochs: dict[tuple[int, int], set[int]] = defaultdict(set)
    choices: dict[tuple[int, str], set[str]] = defaultdict(set)
    for call in (call for trace in traces for call in trace if call["step"] > 0):
        epochs[call["rank"], call["step"]].add(call["epoch"])
        choices[call["step"], call["op"]].add(call["impl"])
    found = [f"rank {rank} ran step {step} with epochs {sorted(e)}" for (rank, step), e in epochs.items() if len(e) > 1]
    found += [f"step {step} ran {op} as {sorted(i)}" for (step, op), i in choices.items() if len(i) > 1]
    by_step: dict[int, set[frozenset[int]]] = defaultdict(set)
    for (_, step), seen in epochs.items():
        by_step[step].add(frozenset(seen))
    return found + [f"the ranks ran step {step} with different epochs" for step, e in by_step.items() if len(e) > 1]


def epochs_seen(trace: list[Call]) -> set[int]:
    return {call["epoch"] for call in trace}
