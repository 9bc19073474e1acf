"""Tensors of a card that has no driver here."""

from __future__ import annotations

from torch.overrides import TorchFunctionMode


class OnHost(TorchFunctionMode):
    """Memory that is asked of the device is the host's."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **{name: value for name, value in (kwargs or {}).items() if name != "device"})
