"""Every room that has kernels, on a libopswap built with OPSWAP_EMULATE; see emulator/README.md."""

from __future__ import annotations

import ctypes
import itertools
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import opswap
import pytest
from card.evidence.floor import shapes
from rooms import Placed, Room, all_cases, build, check, kernel_rooms

ONLY = os.environ.get("OPSWAP_EMULATE_ROOM")
KERNELS = [room for room in kernel_rooms() if ONLY in (None, room.name)]
#: Elements of all tensors of a case; more than this takes the emulator a second or longer.
MOST_ELEMENTS = 1 << 20
#: Under a sanitizer only small cases run, of each room at least one.
SANITIZED = next((s for s in ("tsan", "asan") if f"lib{s}." in os.environ.get("LD_PRELOAD", "")), None)
MOST_ELEMENTS_SANITIZED = 1 << 11
#: Orders of threads: with copies and products that complete early (0), and as late as they can (3).
SEEDS = [int(seed) for seed in os.environ.get("OPSWAP_EMULATE_SEEDS", "0,3").split(",")]
#: All SMs, where a block has one piece of work, and one SM, where persistent kernels go round.
SM_BUDGETS = (0, 1)


def on_device(value: Any, _name: str = "", device: int = 0) -> Any:
    """The same memory as the emulated device's."""
    if not isinstance(value, np.ndarray):
        return value
    strides = [s // value.itemsize for s in value.strides]
    return opswap.Tensor(value.ctypes.data, str(value.dtype), list(value.shape), strides, 2, device)


#: What no kernel of an engine writes, so that a programmatic launch may read it before dependency_wait().
PARAMETER = re.compile(r"(^|_)(weight|bias)$")


def behind_a_kernel(value: Any, name: str) -> Any:
    """On the device, behind a kernel that is not done with anything but parameters."""
    if isinstance(value, np.ndarray) and value.size and not PARAMETER.search(name):
        last = sum((n - 1) * abs(s) for n, s in zip(value.shape, value.strides, strict=True))
        in_front(value.ctypes.data, last + value.itemsize)
    return on_device(value)


def in_front(address: int | None, size: int = 0) -> None:
    names = ctypes.CDLL("libopswap.so").opswap_emulator_in_front
    names(ctypes.c_void_p(address), ctypes.c_uint64(size))


def elements(room: Room, case: dict, types: dict[str, str]) -> int:
    return sum(v.size for v in shapes(room, case, types).values() if isinstance(v, np.ndarray))


def refusal(room: Room, case: dict, values: dict[str, Any], place: Callable = on_device) -> str | None:
    """The library's own reason, when the room's kernels do not take these arguments."""
    args = [place(v, name) for name, v in Placed(room, case, values).values.items()]
    found = next(i for i in opswap.why(room.name, *args)["impls"] if i["name"] == "sm90")
    return None if found["usable"] else found["reason"]


def instance_left_out(room: Room, types: dict[str, str]) -> bool:
    """Builds with a sanitizer have FP16's instance only where there is none of BF16, whose code it is."""
    ((variable, dtypes),) = room.spec["instances"].items() or (("", ()),)
    return types.get(variable) == "float16" and "bfloat16" in dtypes


def is_anothers_code(number: int, room: Room, types: dict[str, str]) -> bool:
    """Attention takes the emulator minutes; in FP16, which is BF16's code, every eighth case does."""
    return "alike" in room.spec and instance_left_out(room, types) and number % 8 > 0


def chosen_cases() -> list:
    if not SANITIZED:
        params = [(room.spec["cases"].index(case), p) for p in all_cases(KERNELS) for room, case, _ in [p.values]]
        return [p for number, p in params if not is_anothers_code(number, p.values[0], p.values[2])]
    found: dict[tuple, list] = {}
    for param in all_cases(KERNELS):
        room, case, types = param.values
        if instance_left_out(room, types):
            continue
        size = elements(room, case, types)
        if size:
            found.setdefault((room, *types.values()), []).append((size, param))
    sizes = [sorted(of, key=lambda pair: pair[0]) for of in found.values()]
    return [p for of in sizes for n, (size, p) in enumerate(of) if n == 0 or size <= MOST_ELEMENTS_SANITIZED]


def test_the_library_is_the_emulated_one() -> None:
    assert opswap.version()["device_status"].startswith("emulated: "), "LD_LIBRARY_PATH needs the emulated libopswap.so"
    assert KERNELS, "no room has kernels"


def test_the_library_is_built_as_its_caller_is() -> None:
    """With the sanitizer that was loaded before it, or with none: the other way nothing would be found."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    library = Path(next(line.split()[-1] for line in maps if line.endswith("libopswap.so"))).read_bytes()
    assert [s for s in ("tsan", "asan") if f"__{s}_init".encode() in library] == [SANITIZED] * bool(SANITIZED)


@pytest.mark.parametrize(("room", "case", "types"), chosen_cases())
def test_matches_reference(room: Room, case: dict, types: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    size = elements(room, case, types)
    if size > MOST_ELEMENTS:
        pytest.skip(f"{size} elements, the emulator is asked for at most {MOST_ELEMENTS}")
    if reason := refusal(room, case, build(room, case, types)):
        pytest.skip(reason)
    for seed, sm_budget in zip(SEEDS, itertools.cycle(SM_BUDGETS), strict=False):
        monkeypatch.setenv("OPSWAP_EMULATE_SEED", str(seed))
        in_front(None)
        check(room, case, types, "sm90", behind_a_kernel, sm_budget)


def hosted() -> list:
    """Cases of the tensors that op.json allows in host memory while the others are on the device."""
    return [
        pytest.param(*param.values, a["name"], id=f"{param.id}{a['name']}")
        for param in chosen_cases()
        for a in param.values[0].args
        if a.get("host") and param.values[2] == param.values[0].type_choices()[0]
    ]


@pytest.mark.parametrize(("room", "case", "types", "name"), hosted())
def test_a_tensor_stays_in_host_memory(room: Room, case: dict, types: dict[str, str], name: str) -> None:
    def place(value: Any, argument: str) -> Any:
        return value if argument == name else on_device(value)

    if reason := refusal(room, case, build(room, case, types), place):
        pytest.skip(reason)
    check(room, case, types, "sm90", place)


def test_what_the_emulator_finds_arrives_as_an_error() -> None:
    """A weight that starts inside an element: the kernel's load is not aligned."""
    x, out, w = np.ones((2, 40), np.float32), np.zeros((2, 40), np.float32), np.ones(41, np.float32)
    odd = opswap.Tensor(w.ctypes.data + 2, "float32", [40], [1], 2, 0)
    with pytest.raises(opswap.OpswapError) as caught:
        opswap.call("rms_norm", on_device(out), on_device(x), odd, 1e-6, impl="sm90")
    assert caught.value.code == "OPSWAP_E_LAUNCH"
    words = (
        "rms_norm: kernel rms_norm_kernel was stopped by the emulator: rms_norm_kernel, block (0, 0, 0), thread ",
        "an access of 4 bytes at 0x",
        "; grid (1, 1, 1), block (16, 2, 1), 0 bytes of dynamic shared memory, programmatic launch, arguments (",
        ", 2, 40, 1e-06)",
    )
    assert all(w in caught.value.message for w in words), caught.value.message


def test_grids_are_sized_for_the_card_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    x, out, w = np.ones((8, 40), np.float32), np.full((8, 40), np.nan, np.float32), np.ones(40, np.float32)
    args = (on_device(out), on_device(x), on_device(w), 0.0)
    monkeypatch.setenv("OPSWAP_EMULATE_DEVICE", "H20")
    opswap.call("rms_norm", *args, impl="sm90")
    np.testing.assert_array_equal(out, 1)
    monkeypatch.setenv("OPSWAP_EMULATE_DEVICE", "H21")
    with pytest.raises(opswap.OpswapError, match="needs to be one of H100 H20") as caught:
        opswap.call("rms_norm", *args, impl="sm90")
    assert caught.value.code == "OPSWAP_E_LAUNCH"


def test_a_read_before_the_kernel_in_front_is_done_arrives_as_an_error() -> None:
    """The norm reads its weight before dependency_wait(), so no kernel in front may be writing it."""
    x, out, w = np.ones((2, 40), np.float32), np.zeros((2, 40), np.float32), np.ones(40, np.float32)
    args = (on_device(out), on_device(x), on_device(w), 1e-6)
    in_front(x.ctypes.data, x.nbytes)
    opswap.call("rms_norm", *args, impl="sm90")
    in_front(w.ctypes.data, w.nbytes)
    with pytest.raises(opswap.OpswapError, match=r"reads \d+ bytes at 0x\w+ before dependency_wait\(\)") as caught:
        opswap.call("rms_norm", *args, impl="sm90")
    assert caught.value.code == "OPSWAP_E_LAUNCH"


def test_handles_of_streams_change_nothing_where_a_launch_is_done_when_it_returns() -> None:
    x, out = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4), np.full((1, 2, 3, 4), np.nan, np.float32)
    opswap.call("copy_async", on_device(out), on_device(x), 0x100, 0x200, 0x300, impl="sm90")
    np.testing.assert_array_equal(out, x)


def test_a_device_that_is_not_there_is_refused() -> None:
    out, x, w = np.zeros((2, 8), np.float32), np.ones((2, 8), np.float32), np.ones(8, np.float32)
    with pytest.raises(opswap.OpswapError, match="sm90' cannot run: the emulator has one device, number 0") as caught:
        opswap.call("rms_norm", *(on_device(v, device=1) for v in (out, x, w)), 1e-6, impl="sm90")
    assert caught.value.code == "OPSWAP_E_UNUSABLE"


def test_tensors_of_two_devices_are_refused() -> None:
    out, x, w = np.zeros((2, 8), np.float32), np.ones((2, 8), np.float32), np.ones(8, np.float32)
    with pytest.raises(opswap.OpswapError, match="weight is on cuda:1, the first tensor is on cuda:0") as caught:
        opswap.call("rms_norm", on_device(out), on_device(x), on_device(w, device=1), 1e-6, impl="sm90")
    assert caught.value.code == "OPSWAP_E_DEVICE"
    with pytest.raises(opswap.OpswapError, match="weight is on cpu:0, the first tensor is on cuda:0"):
        opswap.call("rms_norm", on_device(out), on_device(x), w, 1e-6, impl="sm90")
