"""opswap: a kernel pack whose implementations are compared, switched and taken back live.

The C ABI for Python: every name of an op, an implementation or an argument comes from the library's manifest.
"""

from __future__ import annotations

import importlib
import json
import os
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
    "load_build",
    "manifest",
    "op_spec",
    "plan",
    "plan_as",
    "plan_ways",
    "record_start",
    "record_status",
    "record_stop",
    "reset_stats",
    "set_context",
    "set_threads",
    "shadow_read",
    "shadow_start",
    "shadow_status",
    "shadow_stop",
    "stats",
    "trace_read",
    "trace_start",
    "tuned",
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
    """Versions of the loaded library: ABI, manifest schema, pack, build digest, instruction set, device status, and the
    digest of this user's plan files (`tuned`)."""
    return {**_opswap.version(), "plans": tuned()["digest"]}


@cache
def tuned() -> dict[str, Any]:
    """This user's plan files (docs/tune.md), as the library read them when first asked: `digest` of those that count,
    and per file its device, its ops, and why one is refused."""
    return json.loads(_opswap.tuned())


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


def plan_ways(op: str, *args: Any, impl: str | None = None, device: str | None = None) -> dict[str, Any]:
    """The ways in which an implementation can plan this call, with the cycles that its model of `device` gives them
    ("H20", "H100", "H200"; None: the one that is there), fewest first, and the one that the call takes."""
    return json.loads(_opswap.plan_ways(op, _pack(op, _with_defaults(op, args)), impl, device))


def plan_as(op: str, way: str, *args: Any, impl: str | None = None) -> bytes:
    """What `plan` gives, of one of these ways."""
    return _opswap.plan_as(op, way, _pack(op, _with_defaults(op, args)), impl)


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


def load_build(path: str | os.PathLike[str], name: str, build_digest: str) -> None:
    """Loads a second build of the library until the end of this process, and lists its implementations as IMPL@name.

    Raises:
        OpswapError: OPSWAP_E_ABI for another ABI, digest or version of an op; OPSWAP_E_EXISTS for one that is there.
    """
    _opswap.load_build(os.fspath(path), name, build_digest)


def stats() -> dict[str, Any]:
    """Per op and implementation: calls and errors; of the last one to two windows of `window_s` seconds the calls that
    were timed, their mean and percentiles in nanoseconds, in all and by shape bucket; plus rank, step and epoch."""
    return json.loads(_opswap.stats())


def reset_stats() -> None:
    """Sets every counter to zero."""
    _opswap.reset_stats()


def set_context(rank: int, step: int, epoch: int) -> None:
    """Where the calls from now on belong; written into every trace record."""
    _opswap.set_context(rank, step, epoch)


#: What a recorded call was for.
ARMS = ("live", "control", "candidate")


def trace_start(capacity: int) -> None:
    """Keeps the last `capacity` op calls; 0 stops."""
    _opswap.trace_start(capacity)


def trace_read(after: int = 0, most: int = 65536) -> list[dict[str, Any]]:
    """Recorded calls with a sequence number above `after`, oldest first.

    Each has `op`, `impl`, `rank`, `step`, `epoch`, `sequence`; `time_ns` (its end, since 1970), `duration_ns` (-1 where
    it is not known, as of device work), `layer` (number of the call among those of its op in the step, from 0), `arm`
    (`live`, `control` or `candidate`) and `bucket` (docs/manifest.md).
    """
    names = [op["op"] for op in manifest()["ops"]]
    impls = {name: [i["name"] for i in why(name)["impls"]] for name in names}
    bucket_name = cache(_opswap.bucket_name)
    records = _opswap.trace_read(after, most)
    for record in records:
        name = record["op"] = names[record["op"]]
        record["impl"] = impls[name][record["impl"]]
        record["bucket"] = bucket_name(name, record["bucket"])
        record["arm"] = ARMS[record["arm"]]
    return records


def shadow_start(
    op: str,
    control: str,
    candidate: str,
    *,
    salt: int = 0,
    share_of_calls: float = 0.01,
    share_of_time: float = 0.01,
    first_of_bucket: int = 8,
    most_of_bucket: int = 1 << 40,
    memory: int = 256 << 20,
) -> None:
    """Runs `control` and `candidate` behind chosen live calls of an op, on their inputs, into memory of their own.

    Args:
        op, control, candidate: names of an op and of two of its implementations.
        salt: the choice is a hash of salt, step and place in it, so ranks with one salt choose the same calls.
        share_of_calls: of the calls of a shape bucket behind its first ones, 0 to 1.
        share_of_time: at most, of the time of the steps since the start (without steps: of all time); 1: no limit.
        first_of_bucket: so many calls of each bucket are chosen in any case, so that rare shapes are covered.
        most_of_bucket: no more calls of one bucket.
        memory: most bytes that the copies of one call may take.

    Raises:
        OpswapError: OPSWAP_E_EXISTS where one runs for the op already; OPSWAP_E_NO_IMPL and its like.
    """
    _opswap.shadow_start(
        op, control, candidate, salt, share_of_calls, share_of_time, first_of_bucket, most_of_bucket, memory
    )


def shadow_stop(op: str) -> None:
    """Ends the shadow of an op. Its records stay until the next one starts."""
    _opswap.shadow_stop(op)


def shadow_read(op: str, after: int = 0, most: int = 4096) -> list[dict[str, Any]]:
    """What control and candidate made of each chosen call with a sequence number above `after`, oldest first.

    Each has `sequence`, `time_ns`, `rank`, `step`, `epoch`, `layer` and `bucket` as a recorded call has them;
    `candidate_first`; `control_ns` and `candidate_ns`; `control_status` and `candidate_status` (names of codes);
    `candidate_overran`: it wrote outside its outputs. Of the candidate's outputs against control's: `elements`,
    `differing`, `outside` (the op's tolerance), `became_nonfinite`, `max_abs`, and `worst`, the largest difference over
    what the tolerance allows. Of control against itself, where it ran twice: `floor_differing` and `floor_worst`.
    """
    bucket_name = cache(_opswap.bucket_name)
    records = _opswap.shadow_read(op, after, most)
    return [{**record, "bucket": bucket_name(op, record["bucket"])} for record in records]


def shadow_status(op: str) -> dict[str, Any]:
    """What the op's last shadow has seen, chosen and left out for which reason, by shape bucket, and its time."""
    return json.loads(_opswap.shadow_status(op))


def record_start(
    op: str,
    folder: str | os.PathLike[str],
    *,
    salt: int = 0,
    share_of_calls: float = 0.001,
    first_of_bucket: int = 4,
    most_of_bucket: int = 16,
    most_bytes: int = 1 << 30,
    memory: int = 256 << 20,
) -> None:
    """Writes the arguments of chosen live calls of an op to safetensors files in `folder` (docs/recordings.md).

    Args:
        op: name of the op.
        folder: is there, is this user's, and nobody else may read it (mode 0700).
        salt, share_of_calls, first_of_bucket, most_of_bucket: which calls, as for `shadow_start`.
        most_bytes: of all files of this recording.
        memory: most bytes of calls that wait for the disk.

    Raises:
        OpswapError: OPSWAP_E_EXISTS where one runs for the op already; OPSWAP_E_ARGUMENT for another folder.
    """
    _opswap.record_start(
        op, os.fspath(folder), salt, share_of_calls, first_of_bucket, most_of_bucket, most_bytes, memory
    )


def record_stop(op: str) -> None:
    """Ends the recording of an op; calls that wait for the disk are still written."""
    _opswap.record_stop(op)


def record_status(op: str) -> dict[str, Any]:
    """Files and bytes of the op's last recording, and what it has seen, chosen and left out for which reason."""
    return json.loads(_opswap.record_status(op))


def set_threads(n: int) -> None:
    """Threads for CPU implementations; 0 means every CPU of the affinity mask."""
    _opswap.set_threads(n)


def get_threads() -> int:
    """Threads that CPU implementations may use now."""
    return _opswap.get_threads()


def __getattr__(name: str) -> Any:
    """The converter and what needs torch are imported when they are first named: those who run ops do not wait."""
    if name in ("convert", "converter"):
        converter = importlib.import_module("opswap.converter")
        return converter if name == "converter" else converter.convert
    if name in ("register_impl", "dispatch_ns"):
        return getattr(importlib.import_module("opswap.torch_ops"), name)
    raise AttributeError(f"module 'opswap' has no attribute {name!r}")


_opswap.check_library(__path__[0])
