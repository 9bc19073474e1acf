"""An engine's own torch library: operators that its build lacks are defined, those that it has get another kernel."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

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


class Override:
    """One operator of another library whose kernel for one dispatch key is ours; the stock kernel stays callable.

    Raises at once, with the operator's name, where this torch cannot hand out the stock kernel: without it there would
    be no way back that is known to work.
    """

    def __init__(self, name: str, key: str, kernel: Callable[..., Any]) -> None:
        namespace, _, op = name.partition("::")
        if not hasattr(torch.library, "get_kernel"):
            raise RuntimeError(
                f"opswap: {name}: expected torch.library.get_kernel, which torch {torch.__version__} does not have; "
                "leave the seam to the engine"
            )
        self.name = name
        # Asked for before ours is there; calling the operator from our own kernel would come back to it.
        self._stock = torch.library.get_kernel(name, key)
        self._keys = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, key))
        self._library: torch.library.Library | None = torch.library.Library(namespace, "IMPL")
        self._library.impl(op, kernel, key, allow_override=True)

    @property
    def active(self) -> bool:
        return self._library is not None

    def stock(self, *args: Any) -> Any:
        """The kernel that was there before."""
        return self._stock.call_boxed(self._keys, *args)

    def restore(self) -> None:
        """The operator has its stock kernel again, as if ours had never been there."""
        if self._library is not None:
            self._library._destroy()
            self._library = None
