"""What stands for opswap.torch_ops here: the toy engine calls ops by `opswap.call`, so nothing has to be registered."""

from __future__ import annotations

#: Why the framework has no kernel, by op.
REASONS: dict[str, str] = {}


def register() -> None:
    """The ops are callable as they are."""


def register_impl(op: str, _name: str, _fn: object, absent_reason: str = "") -> None:
    REASONS[op] = absent_reason
