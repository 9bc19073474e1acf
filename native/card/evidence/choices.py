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
