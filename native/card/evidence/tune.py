"""python -m opswap.evidence.tune: which way of planning a call is best on a device, for the shapes of the ops' benches.

Prints a line of JSON for each call: the ways that the kernels have, and the best one. On a card the ways that the model
finds best are timed, each as a plan that comes with the call; without one, or for another device than the one that is
there, the model alone ranks them, and each line says so.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .abi import CUDA, Arguments, Library, LibraryError, Memory
from .card import NO_DEVICE
from .examine import IMPLEMENTATION
from .floor import shapes
from .installed import kernel_ops, library_at
from .places import KERNELS
from .refusal import Refused
from .rooms import Room, build

#: The symbol of tokens, as rooms of products call it, and the numbers of them that are tuned for.
TOKENS, COUNTS = "M", [1 << i for i in range(13)]
#: The argument of products that asks for the same bits at every batch size.
INVARIANT = "batch_invariant"
#: The cards that plans are modelled for; product_card.h has them.
MODELS = ("H20", "H100", "H200")
#: Ways that are timed: what the model finds much slower is not looked at.
MOST_TIMED, WORTH = 8, 2.0


def options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m opswap.evidence.tune", description=__doc__.split(": ", 1)[1])
    parser.add_argument("ops", nargs="*", help="ops whose plans can be chosen; all when left out")
    parser.add_argument("--device", help="H20, H100 or H200; the card that is there when left out")
    parser.add_argument("--library", type=Path, help="this libopswap.so instead of the installed one")
    return parser.parse_args(argv)


def card_of(library: Library) -> str | None:
    """The model of the card that is there."""
    if not library.device_status.startswith("cuda"):
        return None
    from .backend import Card

    return str(Card().describe()["model"])


def device_of(library: Library, asked: str | None) -> tuple[str, bool]:
    """The device to tune for, and whether it is there to be measured on."""
    card = card_of(library)
    if asked is None and card is None:
        remedy = "name the device whose model is to rank the plans: opswap tune --device h100 (h20, h200)"
        raise Refused("OPSWAP_E_CARD", library.device_status.removeprefix(NO_DEVICE), remedy)
    device = card if asked is None else asked.upper()
    if device not in MODELS:
        remedy = f"its plans come from the model of the card most like it; there are {', '.join(MODELS)}"
        raise Refused("OPSWAP_E_CARD", f"no model of the device {device} is known", remedy)
    return str(device), device == card


def cases_of(room: Room) -> Iterator[dict[str, Any]]:
    """The shapes of the op's benches, each with every number of tokens."""
    seen = set()
    for case in room.spec.get("bench", []):
        for count in COUNTS if TOKENS in case else [None]:
            varied = {k: count if k == TOKENS else v for k, v in case.items() if k != "model"}
            if (name := json.dumps(varied, sort_keys=True)) not in seen:
                seen.add(name)
                yield varied


def placed(value: np.ndarray, at: int) -> Memory:
    """A tensor of this shape and dtype at an address far from others; planning looks at no data."""
    steps = [int(np.prod(value.shape[i + 1 :])) for i in range(value.ndim)]
    return Memory(at << 44, str(value.dtype), value.shape, tuple(steps), CUDA)


def nowhere(values: dict[str, Any]) -> list[Any]:
    """Arguments by their shapes alone."""
    return [placed(v, i) if isinstance(v, np.ndarray) else v for i, v in enumerate(values.values(), 1)]


class Tuner:
    def __init__(self, library: Library, device: str, measured: bool) -> None:
        self._library, self._device, self._measured = library, device, measured

    def ways(self, room: Room, values: dict[str, Any]) -> tuple[Arguments, dict[str, Any]] | None:
        """None where the kernels do not take these arguments."""
        args = self._library.pack(room.name, nowhere(values))
        try:
            return args, self._library.plan_ways(room.name, args, IMPLEMENTATION, self._device)
        except LibraryError as error:
            if str(error).startswith("OPSWAP_E_UNUSABLE"):
                return None
            raise

    def rows(self, op: str) -> Iterator[dict[str, Any]]:
        """The best way of each key of an op; dtypes that plan alike have one key each."""
        room, seen = Room(KERNELS / op), set()
        bench = self._bench(room) if self._measured else None
        for case in cases_of(room):
            for types in room.type_choices():
                found = self.ways(room, shapes(room, case, types))
                if found is None or found[1]["key"] in seen:
                    continue
                seen.add(found[1]["key"])
                cost = self._invariant_cost(room, shapes(room, case, types))
                yield self._row(op, found, bench and self._timed(bench, room, case, types, found)) | cost

    def _invariant_cost(self, room: Room, values: dict[str, Any]) -> dict[str, float]:
        """Modelled cycles where a row has the same bits at every batch size, over those where it need not."""
        if INVARIANT not in values or not (found := self.ways(room, {**values, INVARIANT: True})):
            return {}
        told = found[1]
        return {"invariant_cost": round(told["ways"][0]["cycles"] / told["free_cycles"], 3)}

    def _row(self, op: str, found: tuple[Arguments, dict[str, Any]], times: dict[str, float] | None) -> dict[str, Any]:
        ways = found[1]["ways"]
        row = {"op": op, "implementation": IMPLEMENTATION, "device": self._device, "key": found[1]["key"]}
        row |= {"sources": self._library.sources(op), "ways": len(ways), "model": ways[0]["way"]}
        if times is None:
            return {**row, "source": "modelled", "way": ways[0]["way"], "cycles": ways[0]["cycles"]}
        best = min(times, key=lambda name: times[name])
        return {**row, "source": "measured", "way": best, "us": times[best], "model_us": times[ways[0]["way"]]}

    def _bench(self, room: Room) -> Any:
        from .measure import Bench

        return Bench(self._library, room, 0)

    def _timed(
        self, bench: Any, room: Room, case: dict, types: dict[str, str], found: tuple[Arguments, dict[str, Any]]
    ) -> dict[str, float]:
        args, told = found
        least = told["ways"][0]["cycles"]
        worth = [w["way"] for w in told["ways"] if w["cycles"] <= WORTH * least][:MOST_TIMED]
        plans = {way: self._library.plan_as(room.name, args, IMPLEMENTATION, way) for way in worth}
        return dict(bench.time_plans(build(room, case, types, 0), plans))


def has_choice(library: Library, op: str) -> bool:
    """Whether the op's kernels have several ways to plan; asked without arguments, which comes first to light."""
    try:
        library.plan_ways(op, library.pack(op, [None] * len(library.ops[op]["args"])), IMPLEMENTATION, None)
    except LibraryError as error:
        return not str(error).startswith("OPSWAP_E_PLAN")
    return True


def tunable(library: Library, asked: list[str]) -> list[str]:
    """The ops whose plans can be chosen; Refused for one that is asked for and has no choice."""
    known = [op for op in kernel_ops(library) if has_choice(library, op)]
    for op in asked:
        if op not in known:
            remedy = f"those with a choice: {', '.join(known) or 'none, as this library has no kernels'}"
            raise Refused("OPSWAP_E_PLAN", f"{op} has no kernels with several ways to plan a call", remedy)
    return asked or known


def main(argv: list[str]) -> int:
    asked = options(argv)
    try:
        library = library_at(asked.library)[0]
        device, measured = device_of(library, asked.device)
        for op in tunable(library, asked.ops):
            for row in Tuner(library, device, measured).rows(op):
                print(json.dumps(row), flush=True)
    except LibraryError as error:
        code, _, message = str(error).partition(": ")
        print(json.dumps({"error": {"code": code, "message": message, "remedy": "opswap tune --help"}}))
        return 1
    except Refused as refused:
        print(json.dumps(refused.as_json()))
        return 3 if refused.code == "OPSWAP_E_NATIVE" else 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
