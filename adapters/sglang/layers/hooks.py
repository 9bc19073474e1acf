"""Hooks on SGLang's functions. SGLang applies them behind all plugins, and only logs where it cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sglang.srt.plugins.hook_registry import HookRegistry, HookType

#: Every function that a seam has a hook on.
TARGETS: list[str] = []


def around(target: str, hook: Callable[..., Any]) -> None:
    """`hook(original, *args, **options)` runs in place of `target`."""
    _register(target, hook, HookType.AROUND)


def before(target: str, hook: Callable[..., None]) -> None:
    """`hook(*args, **options)` runs before `target`."""
    _register(target, hook, HookType.BEFORE)


def _register(target: str, hook: Callable[..., Any], kind: HookType) -> None:
    HookRegistry.register(target, hook, kind)
    TARGETS.append(target)


def not_applied() -> list[str]:
    """Hooks that SGLang has registered and not put in."""
    return [target for target in TARGETS if target not in HookRegistry._patched]
