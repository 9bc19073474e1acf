"""Operators that an engine's build lacks, defined in the engine's own torch library."""

from __future__ import annotations

from functools import cache

import torch

# Kept alive: the operators go with their library.
_library = cache(lambda namespace: torch.library.Library(namespace, "FRAGMENT"))


def define_missing(namespace: str, kernels: dict[str, object]) -> list[str]:
    """Defines the operators of `kernels` (callable by schema) that this build lacks; returns their names."""
    defined = []
    for schema, kernel in kernels.items():
        name = schema.partition("(")[0]
        if hasattr(getattr(torch.ops, namespace), name):
            continue
        _library(namespace).define(schema)
        _library(namespace).impl(name, kernel, "CompositeExplicitAutograd")
        defined.append(name)
    return defined
