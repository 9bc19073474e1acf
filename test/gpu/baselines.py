"""What a kernel is timed against: torch's own (and cuBLASLt's behind it), and libraries whose wheels were brought."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

#: Import names of the libraries, and the wheels that they come in.
LIBRARIES = {
    "flash_attn_interface": "fa3-fwd",
    "sgl_flash_mla": "sgl-flash-mla",
    "deep_gemm": "sgl-deep-gemm==0.1.4",
    "flashinfer": "flashinfer-python",
}
Run = Callable[[], Any]
Values = dict[str, Any]


def _rms_norm(v: Values) -> Run:
    import torch.nn.functional as F

    return lambda: F.rms_norm(v["input"], (v["input"].shape[-1],), v["weight"], v["epsilon"])


def _fused_add_rms_norm(v: Values) -> Run:
    import torch.nn.functional as F

    return lambda: F.rms_norm(v["input"] + v["residual"], (v["input"].shape[-1],), v["weight"], v["epsilon"])


def _layer_norm(v: Values) -> Run:
    import torch.nn.functional as F

    return lambda: F.layer_norm(v["input"], (v["input"].shape[-1],), v["weight"], v.get("bias"), v["epsilon"])


def _gated(name: str, **options: str) -> Callable[[Values], Run]:
    def make(v: Values) -> Run:
        import torch.nn.functional as F

        half = v["input"].shape[-1] // 2
        activation = getattr(F, name)
        return lambda: activation(v["input"][..., :half], **options) * v["input"][..., half:]

    return make


def _activation(name: str) -> Callable[[Values], Run]:
    def make(v: Values) -> Run:
        import torch.nn.functional as F

        return lambda: getattr(F, name)(v["input"])

    return make


def _linear(v: Values) -> Run:
    import torch.nn.functional as F

    return lambda: F.linear(v["input"], v["weight"], v["bias"])


def _reshape_and_cache(v: Values) -> Run:
    key, value, slots = v["key"], v["value"], v["slot_mapping"].long().clamp(min=0)
    size = v["key_cache"].shape[2]
    block, at = slots // size, slots % size

    def run() -> None:
        v["key_cache"][block, :, at] = key[: len(slots)]
        v["value_cache"][block, :, at] = value[: len(slots)]

    return run


def _flashinfer_rms_norm(v: Values) -> Run:
    import flashinfer

    return lambda: flashinfer.norm.rmsnorm(v["input"], v["weight"], v["epsilon"], out=v["out"])


def _flashinfer_add_rms_norm(v: Values) -> Run:
    import flashinfer

    return lambda: flashinfer.norm.fused_add_rmsnorm(v["input"], v["residual"], v["weight"], v["epsilon"])


TORCH: dict[str, Callable[[Values], Run]] = {
    "rms_norm": _rms_norm,
    "fused_add_rms_norm": _fused_add_rms_norm,
    "layer_norm": _layer_norm,
    "silu_and_mul": _gated("silu"),
    "gelu_tanh_and_mul": _gated("gelu", approximate="tanh"),
    "silu": _activation("silu"),
    "gelu": _activation("gelu"),
    "linear": _linear,
    "reshape_and_cache": _reshape_and_cache,
    "copy": lambda v: lambda: v["out"].copy_(v["input"]),
    "select": lambda v: lambda: v["input"].index_select(0, v["index"].clamp(min=0)),
}
BROUGHT: dict[tuple[str, str], Callable[[Values], Run]] = {
    ("flashinfer", "rms_norm"): _flashinfer_rms_norm,
    ("flashinfer", "fused_add_rms_norm"): _flashinfer_add_rms_norm,
}


def missing() -> list[str]:
    """One line for each library that is not there."""
    lines = []
    for module, wheel in LIBRARIES.items():
        try:
            importlib.import_module(module)
        except Exception as error:  # a wheel for another torch fails in its own ways
            lines.append(f"baseline {wheel}: not here ({type(error).__name__}: {error})".split("\n", 1)[0])
    return lines


def baselines(op: str, values: Values) -> dict[str, Run]:
    found = {"torch": TORCH[op](values)} if op in TORCH else {}
    for (module, of), make in BROUGHT.items():
        if of == op:
            try:
                found[LIBRARIES[module]] = make(values)
                importlib.import_module(module)
            except Exception:
                found.pop(LIBRARIES[module], None)
    return found
