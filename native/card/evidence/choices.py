"""The dtypes that an op is called with, from its declaration."""

from __future__ import annotations

import itertools


def type_choices(declaration: dict) -> list[dict[str, str]]:
    """Every combination of dtypes, but for those that `alike` leaves out: {"cache": "scalar"} says that of the dtypes
    which scalar may have, cache has scalar's own."""
    types = declaration["types"]
    choices = [dict(zip(types, combo, strict=True)) for combo in itertools.product(*types.values())]
    alike = declaration.get("alike", {})
    return [
        choice
        for choice in choices
        if all(choice[t] == choice[other] or choice[t] not in types[other] for t, other in alike.items())
    ]


def choices_of(declaration: dict, case: dict) -> list[dict[str, str]]:
    """Those that a case is for: all, or of the types that it names these."""
    named = case.get("types", {})
    return [c for c in type_choices(declaration) if all(c[t] in names for t, names in named.items())]


def tolerance_of(declaration: dict, case: dict) -> dict[str, dict[str, float]]:
    """How far a result may be off, by dtype: the op's, or a case's own, such as one that allows products of codes."""
    return {**declaration["tolerance"], **case.get("tolerance", {})}
