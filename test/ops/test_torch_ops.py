"""Every room through torch.ops.opswap: opcheck, eager, inductor in one graph, implementations that live in Python."""

from __future__ import annotations

import subprocess
import sys
import warnings
from typing import Any

import opswap
import pytest
import torch
from opswap import torch_ops
from rooms import Room, build, rooms
from torch_values import to_torch

torch_ops.register()
OVERHEAD_FREE_CHECKS = ("test_schema", "test_faketensor", "test_aot_dispatch_dynamic", "test_autograd_registration")


def example(room: Room) -> dict[str, Any]:
    """Arguments of a case without odd memory, in the op's first dtypes, NaN-free so that results can be compared."""
    case = next(
        c
        for c in room.spec["cases"]
        if min([v for k, v in c.items() if k.isupper()] or [2]) > 1 and c.get("lens", True)
    )
    values = {k: to_torch(v) for k, v in build(room, case, room.type_choices()[0]).items()}
    return {
        k: plain(v).nan_to_num(0).to(v.dtype) if isinstance(v, torch.Tensor) and v.is_floating_point() else v
        for k, v in values.items()
    }


def plain(value: torch.Tensor) -> torch.Tensor:
    """What arithmetic works on: torch has none for types of 8 bits."""
    return value.float() if value.dtype == torch.float8_e4m3fn else value


def operator(room: Room) -> Any:
    return getattr(torch.ops.opswap, room.name).default


def written(room: Room, values: dict[str, Any]) -> list[torch.Tensor]:
    return [values[a["name"]] for a in room.args if a.get("writes") and values[a["name"]] is not None]


@pytest.mark.parametrize("room", rooms(), ids=lambda r: r.name)
def test_opcheck(room: Room) -> None:
    values = tuple(example(room).values())
    # torch's own schema check multiplies the tensors, which it cannot do with 8 bits.
    eight = any(isinstance(v, torch.Tensor) and v.dtype == torch.float8_e4m3fn for v in values)
    checks = OVERHEAD_FREE_CHECKS[1:] if eight else OVERHEAD_FREE_CHECKS
    assert torch.library.opcheck(operator(room), values, test_utils=checks) == dict.fromkeys(checks, "SUCCESS")


@pytest.mark.parametrize("room", rooms(), ids=lambda r: r.name)
def test_eager_equals_the_direct_call(room: Room) -> None:
    through_torch, direct = example(room), example(room)
    operator(room)(*through_torch.values())
    opswap.call(room.name, *direct.values())
    for a, b in zip(written(room, through_torch), written(room, direct), strict=True):
        torch.testing.assert_close(plain(a), plain(b), rtol=0, atol=0)


@pytest.fixture(scope="module")
def compiled() -> tuple[dict[str, tuple[dict, dict]], dict[str, tuple[list, list]]]:
    """By room: its arguments after an eager run and after a compiled one, and what each said.

    All rooms are one graph, because inductor's compiler takes seconds for every graph, however small.
    """
    every = {room.name: (operator(room), [i for i, a in enumerate(room.args) if a.get("writes")]) for room in rooms()}

    def step(values: dict[str, list[Any]]) -> dict[str, list[torch.Tensor]]:
        told = {}
        for name, (op, outputs) in every.items():
            op(*values[name])
            told[name] = [plain(values[name][i]) + 1 for i in outputs if values[name][i] is not None]
        return told

    arguments = [{room.name: example(room) for room in rooms()} for _ in range(2)]
    eager, inductor = ({name: list(values.values()) for name, values in of.items()} for of in arguments)
    expected, got = step(eager), torch.compile(step, fullgraph=True)(inductor)
    return (
        {name: (arguments[0][name], arguments[1][name]) for name in every},
        {name: (expected[name], got[name]) for name in every},
    )


@pytest.mark.parametrize("room", rooms(), ids=lambda r: r.name)
def test_compiled_in_one_graph(room: Room, compiled: tuple[dict, dict]) -> None:
    arguments, told = (of[room.name] for of in compiled)
    assert told[0]
    for a, b in zip(*told, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    for a, b in zip(*(written(room, values) for values in arguments), strict=True):
        torch.testing.assert_close(plain(a), plain(b), rtol=0, atol=0)


def test_a_switch_reaches_compiled_code() -> None:
    def fill_with_seven(out: torch.Tensor, _input: torch.Tensor, _weight: torch.Tensor, epsilon: float) -> None:
        assert epsilon == 1e-6  # torch leaves defaults out, the glue puts them back
        out.fill_(7)

    torch_ops.register_impl("rms_norm", "seven", fill_with_seven)

    @torch.compile(fullgraph=True)
    def step(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        out = torch.empty_like(x)
        torch.ops.opswap.rms_norm(out, x, w)
        return out * 2

    x, w = torch.randn(3, 64), torch.ones(64)
    before = step(x, w)
    previous = opswap.use("rms_norm", "seven")
    try:
        assert (step(x, w) == 14).all()
    finally:
        opswap.use("rms_norm", previous)
    torch.testing.assert_close(step(x, w), before, rtol=0, atol=0)


def test_a_registration_says_what_a_switch_to_it_takes() -> None:
    def nothing(*_args: object) -> None:
        """Is never called."""

    torch_ops.register_impl("gelu", "packed", nothing, toggle_class="restart")
    torch_ops.register_impl("gelu", "plain", nothing)
    classes = {impl["name"]: impl["toggle_class"] for impl in opswap.why("gelu")["impls"]}
    assert (classes["packed"], classes["plain"], classes["cpu"]) == ("restart", "live", "live")
    with pytest.raises(opswap.OpswapError, match="'sometimes', expected live, recapture or restart"):
        torch_ops.register_impl("gelu", "other", nothing, toggle_class="sometimes")


def test_a_function_of_other_arguments_is_refused_before_a_call_meets_it() -> None:
    def of_an_earlier_version(out: torch.Tensor, _input: torch.Tensor, _weight: torch.Tensor) -> None:
        """Is never called."""

    with pytest.raises(
        opswap.OpswapError, match=r"calls its implementations with 4 arguments \(out, input, weight, ep"
    ) as e:
        torch_ops.register_impl("rms_norm", "earlier", of_an_earlier_version)
    assert e.value.code == "OPSWAP_E_ARGUMENT" and "too many positional arguments" in str(e.value)
    assert "earlier" not in {impl["name"] for impl in opswap.why("rms_norm")["impls"]}


def test_a_composite_follows_a_switch_of_its_parts() -> None:
    room = next(r for r in rooms() if r.name == "paged_attention")

    def fill_with_seven(out: torch.Tensor, *_: Any) -> None:
        out.fill_(7)

    for part in room.spec["composes"]:
        torch_ops.register_impl(part, "seven", fill_with_seven)
        opswap.use(part, "seven")
    try:
        values = example(room)
        operator(room)(*values.values())
        starts = values["query_start_loc"].tolist()
        assert (values["out"][: starts[-1]] == 7).all()
    finally:
        for part in room.spec["composes"]:
            opswap.use(part, "cpu")


def test_failures_arrive_as_errors() -> None:
    x, w = torch.randn(3, 64), torch.ones(63)
    with pytest.raises(RuntimeError, match=r"OPSWAP_E_SHAPE: rms_norm: weight.shape\[0\] is 63, needs H = 64"):
        torch.ops.opswap.rms_norm(torch.empty_like(x), x, w)

    def broken(out: torch.Tensor, _input: torch.Tensor) -> None:
        raise ValueError("no such kernel today")

    torch_ops.register_impl("silu_and_mul", "broken", broken)
    opswap.use("silu_and_mul", "broken")
    try:
        with pytest.raises(RuntimeError, match=r"OPSWAP_E_EXTERNAL.*no such kernel today"):
            torch.ops.opswap.silu_and_mul(torch.empty(2, 4), torch.randn(2, 8))
    finally:
        opswap.use("silu_and_mul", "cpu")


def test_a_tensor_that_requires_grad_is_taken_as_by_an_operator_that_leaves_autograd_to_torch() -> None:
    """We go past torch's stand-in for a missing derivative, which only looks at what an operator returns."""
    library = torch.library.Library("opswap_test", "DEF")
    library.define("plain(Tensor(a!) out, Tensor input, Tensor weight, float epsilon=1e-6) -> ()")
    library.impl("plain", lambda out, x, w, epsilon=1e-6: opswap.call("rms_norm", out, x, w, epsilon), "CPU")
    x, w = torch.randn(3, 64), torch.ones(64, requires_grad=True)
    seen = []
    for op in (torch.ops.opswap.rms_norm, torch.ops.opswap_test.plain):
        out = torch.empty_like(x)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            op(out, x, w)
        seen.append((out.requires_grad, out.grad_fn, out.tolist(), [str(w.message) for w in said]))
    assert seen[0] == seen[1]


def test_a_device_without_kernels_is_refused() -> None:
    with pytest.raises(NotImplementedError, match="opswap::rms_norm"):
        x = torch.eye(8).to_sparse()
        torch.ops.opswap.rms_norm(x, x, x)


ONE_RUNTIME = """
import re, torch
from pathlib import Path
from opswap import torch_ops
torch_ops.register()
torch.ops.opswap.rms_norm(torch.empty(64, 4096), torch.randn(64, 4096), torch.ones(4096))
print(*set(re.findall(r"lib(?:gomp|iomp5|omp)[^/\\s]*\\.so", Path("/proc/self/maps").read_text())), sep="\\n")
"""


def test_one_openmp_runtime() -> None:
    """The library brings none of its own: its parallel regions run on torch's team."""
    ran = subprocess.run([sys.executable, "-c", ONE_RUNTIME], capture_output=True, text=True, check=True)
    assert len(ran.stdout.split()) == 1, ran.stdout
