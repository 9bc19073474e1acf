"""torch's tensors as descriptors, where their memory holds what they stand for; torch is not imported."""

from __future__ import annotations

import sys
from typing import Any

from opswap import _opswap
from opswap.errors import OpswapError, read_only

DEVICES = {"cpu": 1, "cuda": 2}  # DLPack's numbers


def from_torch(what: str, tensor: Any, written: bool) -> _opswap.Tensor:
    """A descriptor; a tensor whose elements are not what lies in its memory is refused."""
    device = DEVICES.get(tensor.device.type)
    if device is None:
        raise OpswapError("OPSWAP_E_DEVICE", f"{what} is on {tensor.device}, needs cpu or cuda")
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(tensor, torch.Tensor):
        _check_plain(what, tensor, torch)
        if written and tensor.requires_grad and torch.is_grad_enabled():
            raise read_only(what, "a torch tensor that requires grad (detach() it, or call under torch.no_grad())")
    try:
        address = tensor.data_ptr()
    except RuntimeError as error:
        raise OpswapError("OPSWAP_E_ARGUMENT", f"{what} is a torch tensor that gives no address: {error}") from error
    dtype = str(tensor.dtype).removeprefix("torch.")
    place = (device, tensor.device.index or 0)
    return _opswap.Tensor(address, dtype, list(tensor.shape), list(tensor.stride()), *place)


def _check_plain(what: str, tensor: Any, torch: Any) -> None:
    if tensor.layout is not torch.strided or tensor.is_nested:
        kind = "nested" if tensor.is_nested else str(tensor.layout)
        raise OpswapError("OPSWAP_E_ARGUMENT", f"{what} is a {kind} tensor, needs a strided one")
    if type(tensor).__torch_dispatch__ is not torch.Tensor.__torch_dispatch__:
        name = type(tensor).__name__
        raise OpswapError(
            "OPSWAP_E_ARGUMENT", f"{what} is a {name}, which has no memory of its own, needs a torch tensor"
        )
    if tensor.is_neg():
        raise _lazy(what, "negated", "resolve_neg")
    if tensor.is_conj():
        raise _lazy(what, "conjugated", "resolve_conj")


def _lazy(what: str, done: str, remedy: str) -> OpswapError:
    return OpswapError(
        "OPSWAP_E_ARGUMENT",
        f"{what} is a lazily {done} torch tensor, needs one whose memory holds its elements: {remedy}() makes it",
    )
