"""The engine's own kernels: none, for an engine without torch cannot be called back by the library."""

from __future__ import annotations

KERNELS: dict[str, object] = {}
ABSENT = {"silu_and_mul": "the toy engine's own kernel is numpy's"}
