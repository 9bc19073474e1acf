"""opswap: a kernel pack whose implementations are compared, switched and taken back live.

The C ABI for Python: every name of an op, an implementation or an argument comes from the library's manifest.
"""

from __future__ import annotations

import importlib
import json
from functools import cache
from typing import TYPE_CHECKING, Any

try:
    from opswap import _opswap
except ImportError as error:
    from pathlib import Path

    from opswap._installation import explain

    raise explain(Path(__file__).parent, error) from error

from opswap._arrays import Quantized, argument, stream_handle, stream_of, to_native
from opswap.errors import OpswapError

if TYPE_CHECKING:
    from opswap.converter import convert

MANIFEST_SCHEMA = 1

Tensor = _opswap.Tensor  # memory by address: Tensor(data, dtype, shape, strides, device_type=1, device_id=0)

__all__ = [
    "OpswapError",
    "Quantized",
    "Tensor",
    "active",
    "call",
    "convert",
    "get_threads",
    "manifest",
    "op_spec",
    "plan",
    "reset_stats",
    "set_context",
    "set_threads",
    "stats",
    "trace_read",
    "trace_start",
    "use",
    "version",
    "why",
    "workspace_size",
]


@cache
def manifest() -> dict[str, Any]:
    """The manifest inside the library: ops, arguments, tolerances, errors (docs/manifest.md).

    Raises:
        OpswapError: OPSWAP_E_MANIFEST when its schema is newer than this reader.
    """
    data = json.loads(_opswap.manifest())
    if data.get("schema") != MANIFEST_SCHEMA:
        raise OpswapError(
            "OPSWAP_E_MANIFEST",
            f"the manifest has schema {data.get('schema')}, this reader knows {MANIFEST_SCHEMA}",
        )
    return data


@cache
def _ops() -> dict[str, dict[str, Any]]:
    return {op["op"]: op for op in manifest()["ops"]}


def op_spec(op: str) -> dict[str, Any]:
    """The manifest's entry for one op."""
    if op not in _ops():
        why(op)  # raises OPSWAP_E_NO_OP with the nearest names
    return _ops()[op]


def version() -> dict[str, Any]:
    """Versions of the loaded library: ABI, manifest schema, pack, build digest, instruction set, device status."""
    return _opswap.version()


def _with_defaults(op: str, args: tuple[Any, ...]) -> list[Any]:
    spec = op_spec(op)["args"]
    rest = spec[len(args) :]
    missing = [a["name"] for a in rest if "default" not in a and not a.get("optional")]
    if missing or len(args) > len(spec):
        raise OpswapError(
            "OPSWAP_E_COUNT", f"{op}: got {len(args)} arguments of {len(spec)}; missing: {missing or 'none'}"
        )
    return [*args, *(a.get("default") for a in rest)]


def _pack(op: str, values: list[Any], stream: int = 0, writes: bool = False) -> list[Any]:
    return [argument(op, a, v, stream, writes) for a, v in zip(op_spec(op)["args"], values, strict=True)]


def call(
    op: str,
    *args: Any,
    impl: str | None = None,
    stream: Any = None,
    workspace: Any = None,
    sm_budget: int = 0,
    plan: bytes = b"",
) -> None:
    """Runs an op on host or device memory, in place of its written arguments.

    Args:
        op: name of the op.
        args: numpy arrays (ml_dtypes.bfloat16 included), torch tensors, DLPack or CUDA arrays, scalars, None; a
            `Quantized` where the op takes one, with None for its scale; trailing arguments that have a default may be
            left out. What is written must be memory that may be: no read-only
            array, no lazily negated tensor.
        impl: run this implementation whatever is active.
        stream: for device memory, a handle or a stream object; None: the one that the arguments name (torch's current
            stream), else CUDA's default stream. Device work may still be going on when the call returns.
        workspace: a dense uint8 array of at least `workspace_size` bytes where the arguments are.
        sm_budget: SMs that a persistent kernel may use; 0: all.
        plan: what `plan` gave for these shapes, dtypes and scalars; empty: the implementation works it out.

    Raises:
        OpswapError: with the library's code; nothing has been written.
    """
    values = _with_defaults(op, args)
    handle = stream_of(values) if stream is None else stream_handle(stream)
    room = None if workspace is None else to_native(f"{op}: workspace", workspace, handle, written=True)
    _opswap.call(op, _pack(op, values, handle, writes=True), impl, handle, room, sm_budget, plan)


def plan(op: str, *args: Any, impl: str | None = None, sm_budget: int = 0) -> bytes:
    """What an implementation works out once for these shapes, dtypes and scalars, for later calls of the same library.

    Empty where the implementation (the active one, or `impl`) makes no plans.
    """
    return _opswap.plan(op, _pack(op, _with_defaults(op, args)), impl, sm_budget)


def workspace_size(op: str, *args: Any, impl: str | None = None, sm_budget: int = 0) -> int:
    """Bytes of workspace that this call needs."""
    return _opswap.workspace_size(op, _pack(op, _with_defaults(op, args)), impl, sm_budget)


def why(op: str, *args: Any) -> dict[str, Any]:
    """Each implementation of an op: whether it can run here (these arguments, when given), and why not."""
    report = json.loads(_opswap.why(op, _pack(op, _with_defaults(op, args)) if args else None))
    return {**report, "op_version": op_spec(op)["version"]}


def active(op: str) -> str:
    """Name of the active implementation."""
    return why(op)["active"]


def use(op: str, impl: str) -> str:
    """Makes `impl` active and returns the name of the one before."""
    previous = active(op)
    _opswap.use(op, impl)
    return previous


def stats() -> dict[str, Any]:
    """Per op and implementation: calls, errors, mean and percentiles in nanoseconds; plus rank, step and epoch."""
    return json.loads(_opswap.stats())


def reset_stats() -> None:
    """Sets every counter to zero."""
    _opswap.reset_stats()


def set_context(rank: int, step: int, epoch: int) -> None:
    """Where the calls from now on belong; written into every trace record."""
    _opswap.set_context(rank, step, epoch)


def trace_start(capacity: int) -> None:
    """Keeps the last `capacity` op calls; 0 stops."""
    _opswap.trace_start(capacity)


def trace_read(after: int = 0, most: int = 65536) -> list[dict[str, Any]]:
    """Recorded calls with a sequence number above `after`, oldest first."""
    names = [op["op"] for op in manifest()["ops"]]
    impls = {name: [i["name"] for i in why(name)["impls"]] for name in names}
    records = []
    for sequence, step, epoch, rank, op, impl in _opswap.trace_read(after, most):
        name = names[op]
        records.append(
            {"sequence": sequence, "step": step, "epoch": epoch, "rank": rank, "op": name, "impl": impls[name][impl]}
        )
    return records


def set_threads(n: int) -> None:
    """Threads for CPU implementations; 0 means every CPU of the affinity mask."""
    _opswap.set_threads(n)


def get_threads() -> int:
    """Threads that CPU implementations may use now."""
    return _opswap.get_threads()


def __getattr__(name: str) -> Any:
    """The converter is imported when it is first named: those who run ops do not wait for it."""
    if name in ("convert", "converter"):
        converter = importlib.import_module("opswap.converter")
        return converter if name == "converter" else converter.convert
    raise AttributeError(f"module 'opswap' has no attribute {name!r}")


_opswap.check_library(__path__[0])
