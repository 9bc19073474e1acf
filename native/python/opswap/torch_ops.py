"""Every op of the manifest as torch.ops.opswap.<op>: one loop, no op named, no torch headers.

The kernels are boxed functions over torch's stable C shim; this module only defines schemas and fakes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from opswap.errors import missing

try:
    import torch
except ModuleNotFoundError as error:
    raise missing(error, "opswap.torch_ops") from None

import opswap
from opswap import _opswap

#: The library that knows torch's CUDA streams; a torch without CUDA has none.
STREAMS = Path(torch.__file__).parent / "lib" / "libtorch_cuda.so"
_libraries: dict[str, torch.library.Library] = {}


def register() -> None:
    """Registers all ops; idempotent per process.

    Ops return nothing and declare what they write, so one no-op serves as the fake of all of them. Tensors of a CUDA
    device run on that device's current stream.

    Raises:
        OpswapError: OPSWAP_E_ABI when this torch lacks the stable C shim (torch 2.9 or later).
    """
    if "opswap" in _libraries:
        return
    _opswap.torch_open(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"), str(STREAMS))
    # torch notes where each fake was registered, and inspect looks for a file's module by the real paths of all others,
    # thousands in an engine's process, unless it knows the file.
    inspect.modulesbyfile.setdefault(str(Path(__file__).absolute()), __name__)
    library = torch.library.Library("opswap", "DEF")
    for op in opswap.manifest()["ops"]:
        library.define(op["schema"], tags=(torch.Tag.pt2_compliant_tag,))
        _opswap.torch_bind(op["op"], [_kind(a) for a in op["args"]], ["CPU", "CUDA"])
        # torch's stand-in for a missing derivative marks what an op returns; ours return nothing, and pay for it.
        library.impl(op["op"], torch.library.fallthrough_kernel, "Autograd")
        torch.library.register_fake(f"opswap::{op['op']}", _writes_only, lib=library)
    _libraries["opswap"] = library


def _kind(arg: dict[str, Any]) -> str:
    return arg["kind"] + ("?" if arg.get("optional") else "")


def _writes_only(*_args: Any, **_kwargs: Any) -> None:
    return None


def register_impl(
    op: str,
    name: str,
    fn: Callable[..., None] | None,
    absent_reason: str | None = None,
    toggle_class: str = "live",
) -> None:
    """Adds an implementation that lives in Python, e.g. the engine's own kernel.

    Args:
        op: op of the manifest.
        name: name for `why`, `use` and the counters.
        fn: called with the op's arguments in order; writes into the written tensors, returns nothing. None: absent.
        absent_reason: why there is none on this machine; needed when fn is None.
        toggle_class: what a switch to or from it takes: live, recapture or restart (docs/manifest.md).

    Raises:
        OpswapError: OPSWAP_E_EXISTS for a second one of that name, OPSWAP_E_ARGUMENT for an unknown toggle class, and
            for a function that cannot be called with as many arguments as the op has.
    """
    register()
    spec = opswap.op_spec(op)
    if fn is not None:
        _check_takes(spec, name, fn)
    if fn is None:
        _opswap.torch_external(op, name, "", absent_reason or "no reason was given", toggle_class)
        return
    if "opswap_ext" not in _libraries:
        _libraries["opswap_ext"] = torch.library.Library("opswap_ext", "DEF")
    library, own = _libraries["opswap_ext"], f"{op}__{name}"
    library.define(spec["schema"].replace(op, own, 1))
    library.impl(own, _with_defaults(spec, fn), "CompositeExplicitAutograd")
    _opswap.torch_external(op, name, f"opswap_ext::{own}", "", toggle_class)


def _check_takes(spec: dict[str, Any], name: str, fn: Callable[..., None]) -> None:
    """A function written for another version of the op would end the engine at its first call, not here."""
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError):
        return  # Functions of C have none that can be read.
    wanted = [arg["name"] for arg in spec["args"]]
    try:
        signature.bind(*wanted)
    except TypeError as trouble:
        raise opswap.OpswapError(
            "OPSWAP_E_ARGUMENT",
            f"register_impl: {spec['op']} of version {spec['version']} calls its implementations with {len(wanted)} "
            f"arguments ({', '.join(wanted)}), and {name!r} is a function of {signature}: {trouble}. "
            "Write it for this version of the op",
        ) from None


@cache
def dispatch_ns(op: str, calls: int = 200) -> float:
    """What a call costs, in nanoseconds, until a Python implementation of `op` begins, and from its end on: the median
    over an empty one that takes the op's arguments. Measured once per process."""
    register()
    if "opswap_empty" not in _libraries:
        _libraries["opswap_empty"] = torch.library.Library("opswap_empty", "DEF")
    library = _libraries["opswap_empty"]
    spec = opswap.op_spec(op)
    library.define(spec["schema"])
    library.impl(op, _with_defaults(spec, _writes_only), "CompositeExplicitAutograd")
    return float(median(_opswap.torch_dispatch(op, f"opswap_empty::{op}", calls)))


@contextmanager
def planned(op: str, plan: bytes) -> Iterator[None]:
    """Calls of torch.ops.opswap.<op> from this thread take `plan`, which `opswap.plan` made for their arguments.

    Inside another `planned` this one alone holds, and the outer one again behind it.

    Raises, in the call: RuntimeError with OPSWAP_E_PLAN when it was made for others.
    """
    opswap.op_spec(op)
    before = _opswap.torch_plan(op, plan)
    try:
        yield
    finally:
        _opswap.torch_plan(*before)


def _with_defaults(spec: dict[str, Any], fn: Callable[..., None]) -> Callable[..., None]:
    """torch leaves out trailing arguments that equal their default before it calls a Python kernel."""
    defaults = [a.get("default") for a in spec["args"]]

    def call(*args: Any) -> None:
        fn(*args, *defaults[len(args) :])

    return call
