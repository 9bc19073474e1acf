"""What layers that run through SGLang's BaseFusedOp share: which classes take the op, and how one is left to SGLang.

A class that has `forward_plugin` and names PLUGIN in `capabilities` runs it before any kernel of SGLang's. Subclasses
inherit both, with or without a forward of their own, so PLUGIN is taken from each that is not listed as covered, from
those too that are defined later: models are imported when they are loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from opswap.adapters.common.probe import AdapterRefused
from opswap.adapters.sglang.adapter import ADAPTER

from sglang.kernels.fused_op import BaseFusedOp
from sglang.kernels.spec import KernelBackend

FORWARD = "forward_plugin"
#: Why a layer, given its first input, stays with SGLang; None where the op serves it.
Reason = Callable[[Any, Any], str | None]
#: The classes that were plugged, each with the subclasses that are covered.
PLUGGED: dict[type, frozenset[str]] = {}


def plug(cls: type[BaseFusedOp], forward: Callable[..., Any], reason: Reason, covered: tuple[str, ...] = ()) -> None:
    """Has instances of `cls`, and of the subclasses `covered` (module.Class below SGLang's layers), run `forward`.

    Raises:
        AdapterRefused: a covered subclass has a forward of its own, so that `forward` would compute something else.
    """
    PLUGGED[cls] = frozenset(covered)
    for below in subclasses(cls):
        _decide(cls, below)
    _watch(cls)
    forward.__name__ = FORWARD  # SGLang's trace of ops says "plugin" for it
    setattr(cls, FORWARD, _first_call(forward, reason))
    cls.capabilities = {**cls.capabilities, KernelBackend.PLUGIN: frozenset()}  # on any device


def subclasses(cls: type) -> Iterator[type]:
    for below in cls.__subclasses__():
        yield below
        yield from subclasses(below)


def is_covered(cls: type, below: type) -> bool:
    named = f"{below.__module__.rpartition('.')[2]}.{below.__qualname__}"
    return below.__module__.startswith("sglang.") and named in PLUGGED[cls]


def own_forwards(cls: type, below: type) -> list[str]:
    """Forwards that `below` has and `cls` has not, or has otherwise."""
    names = {name for step in below.__mro__ for name in vars(step) if name.startswith("forward")}
    return sorted(name for name in names if getattr(below, name, None) is not getattr(cls, name, None))


def _decide(cls: type, below: type) -> None:
    if not is_covered(cls, below):
        # From the parent's, not from `cls`: its own kernels stay.
        kept = {backend: what for backend, what in below.capabilities.items() if backend is not KernelBackend.PLUGIN}
        below.capabilities = kept
    elif own := own_forwards(cls, below):
        raise AdapterRefused(
            f"opswap: {below.__name__} has {', '.join(own)} of its own in this SGLang, and the adapter takes it for a "
            f"{cls.__name__}; {ADAPTER.probe.remedy}"
        )


def _watch(cls: type) -> None:
    """Decides for subclasses that are defined from here on."""

    def __init_subclass__(below: type, **options: Any) -> None:
        super(cls, below).__init_subclass__(**options)
        _decide(cls, below)

    cls.__init_subclass__ = classmethod(__init_subclass__)


def _first_call(forward: Callable[..., Any], reason: Reason) -> Callable[..., Any]:
    """SGLang keeps what it resolves for an instance; its first call puts there what the instance needs for good."""

    def forward_plugin(self: BaseFusedOp, *args: Any, **options: Any) -> Any:
        first = args[0] if args else next(iter(options.values()))
        why = reason(self, first)
        if why is not None:
            ADAPTER.state.bypass(type(self).__name__, why)
        method = forward.__get__(self) if why is None else stock(self)
        if getattr(self._forward_method, "__func__", None) is forward_plugin:
            self._forward_method = method
        return method(*args, **options)

    return forward_plugin


def stock(layer: BaseFusedOp) -> Callable[..., Any]:
    """What SGLang would run for this layer without the plugin."""
    layer.priority = tuple(backend for backend in layer.priority if backend is not KernelBackend.PLUGIN)
    return layer._resolve_forward_method()


def runs_the_op(layer: BaseFusedOp) -> bool:
    method = layer._forward_method or layer._resolve_forward_method()
    return getattr(method, "__name__", "") == FORWARD
