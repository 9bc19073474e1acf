"""One recorded call on control and on the candidate, and what the candidate did wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from ..arrays import Array, dtype_named, np
from ..errors import IpcError, code_of
from ..reference import Difference, difference, reference
from .pages import Place, arguments, bytes_of, same_bytes
from .recording import RecordedTensor, Recording

Outputs = dict[str, Array]
#: Where the candidate's tensors lie in their pages, one run each.
PLACES = ("end", "beginning")
#: A candidate may be as far from the reference as this many times control.
AS_CONTROL = 2.0


class Native(Protocol):
    """What is needed of the package `opswap`."""

    def call(self, op: str, *args: Any, impl: str, workspace: Any = None) -> None: ...
    def workspace_size(self, op: str, *args: Any, impl: str) -> int: ...


class Fault(Exception):
    """What the candidate did wrong; `kind` is for programs."""

    def __init__(self, kind: str, what: str) -> None:
        super().__init__(what)
        self.kind = kind


@dataclass(frozen=True)
class Judged:
    """A call without a fault. Distances are over what the tolerance allows; None where there is no reference."""

    bit_equal: bool
    control_worst: float | None
    candidate_worst: float | None


@dataclass
class Trial:
    """Calls of one op on two implementations. `watch` gets the guards of a call before it is made, `tell` its place."""

    native: Native
    spec: dict[str, Any]
    control: str
    candidate: str
    most_bytes: int
    watch: Callable[[list[tuple[int, int, str]]], None]
    tell: Callable[..., None]

    def judge(self, recording: Recording) -> Judged:
        """Raises Fault for what the candidate does wrong, IpcError where the call cannot be made on control."""
        tensors = [arg for arg in recording.args if isinstance(arg, RecordedTensor)]
        needs = sum(bytes_of(tensor) for tensor in tensors)
        if needs > self.most_bytes:
            raise IpcError("OPSWAP_E_TOO_LARGE", f"the call's tensors take {needs} bytes, {self.most_bytes} are given")
        expected = self._control(recording)
        right = self._reference(recording)
        worst = _worst(self.spec, expected, right) if right is not None else None
        found = [self._candidate(recording, place, expected, right, worst) for place in PLACES]
        apart = [each for _, each in found if each is not None]
        return Judged(all(equal for equal, _ in found), worst, max(apart) if apart else None)

    def _control(self, recording: Recording) -> Outputs:
        self.tell("call", arm="control")
        try:
            return self._call(recording, self.control, at_end=False)[0]
        except Exception as error:  # whatever the control is: this recording says nothing of the candidate
            raise IpcError(code_of(error), f"control {self.control} does not take the call: {error}") from error

    def _candidate(
        self, recording: Recording, place: str, expected: Outputs, right: Outputs | None, allowed: float | None
    ) -> tuple[bool, float | None]:
        """Whether its outputs are control's bit by bit, and how far they are from the reference."""
        self.tell("call", arm="candidate", place=place)
        try:
            outputs, places = self._call(recording, self.candidate, at_end=place == "end")
        except MemoryError as error:
            raise Fault("out_of_memory", "ran out of memory") from error
        except (Exception, SystemExit) as error:
            # The first line: the rest is where in the file, and in this process.
            said = str(error).partition("\n")[0][:500]
            if _is_memory(error):
                raise Fault("out_of_memory", f"ran out of memory: {said}") from error
            raise Fault("error", f"raised {said or type(error).__name__}") from error
        for name, each in places.items():
            if not each.is_intact():
                raise Fault("overran", f"wrote outside {name}, beside its elements")
        self.tell("compare")
        _refuse_wrong(self.spec, outputs, expected, right, allowed)
        equal = all(same_bytes(outputs[name], expected[name]) for name in expected)
        return equal, None if right is None else _worst(self.spec, outputs, right)

    def _call(self, recording: Recording, impl: str, at_end: bool) -> tuple[Outputs, dict[str, Place]]:
        values, places, guards = arguments(recording.args, self.spec, at_end)
        self.watch(guards)
        how: dict[str, Any] = {"impl": impl}
        if size := self.native.workspace_size(self.spec["op"], *values, **how):
            room = places["its workspace"] = Place(RecordedTensor("uint8", [size], [1], None), at_end)
            self.watch([*guards, *room.guards("its workspace", is_written=True)])
            how["workspace"] = room.array
        self.native.call(self.spec["op"], *values, **how)
        written = [arg["name"] for arg in self.spec["args"] if arg.get("writes") and arg["name"] in places]
        return {name: places[name].array.copy() for name in written}, places

    def _reference(self, recording: Recording) -> Outputs | None:
        """None where it does not take the call: control alone is the yardstick then."""
        try:
            return reference(self.spec["op"], [_plain(arg) for arg in recording.args])
        except IpcError:
            return None


def _plain(arg: Any) -> Any:
    if not isinstance(arg, RecordedTensor):
        return arg
    if arg.values is not None:
        return arg.values
    return np.zeros(arg.shape, dtype_named(arg.dtype))


def _worst(spec: dict[str, Any], outputs: Outputs, right: Outputs) -> float:
    each = [difference(outputs[name], right[name], spec["tolerance"]).worst for name in outputs if name in right]
    return max(each, default=0.0)


def _refuse_wrong(
    spec: dict[str, Any], outputs: Outputs, expected: Outputs, right: Outputs | None, allowed: float | None
) -> None:
    """By the rules of a verdict (docs/ab-verdicts.md): against the reference where there is one, else against control."""
    for name, got in outputs.items():
        apart = difference(got, expected[name], spec["tolerance"])
        truth = difference(got, right[name], spec["tolerance"]) if right is not None and name in right else apart
        if apart.became_nonfinite and truth.became_nonfinite:
            raise Fault("nonfinite", f"{name} is not finite where it has to be: {_element(name, apart)}")
        if apart.outside == 0 or truth.worst <= max(1.0, AS_CONTROL * (allowed or 0.0)):
            continue
        what = f"{apart.outside} of {apart.elements} elements of {name} are beyond the tolerance; the worst: "
        raise Fault("wrong", what + _element(name, truth))


def _element(name: str, found: Difference) -> str:
    at = ", ".join(str(i) for i in found.at)
    return f"{name}[{at}] is {found.got:.9g}, expected {found.expected:.9g}"


def _is_memory(error: BaseException) -> bool:
    text = str(error).lower()
    return code_of(error) == "OPSWAP_E_MEMORY" or any(say in text for say in ("out of memory", "can't allocate memory"))


def finite(value: float | None) -> float | None:
    """JSON has no infinity: null stands for it."""
    return value if value is not None and math.isfinite(value) else None
