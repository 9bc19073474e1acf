"""The library as the sidecar's verbs work on it: the package `opswap`, the clients' memory, and what is active."""

from __future__ import annotations

from collections import Counter
from typing import Any, Protocol

from .errors import IpcError, nearest
from .segments import Segments
from .tensors import Arguments, MakeTensor

Fields = dict[str, Any]


class Library(Protocol):
    """What the sidecar needs of the package `opswap`."""

    def manifest(self) -> Fields: ...
    def version(self) -> Fields: ...
    def why(self, op: str) -> Fields: ...
    def stats(self) -> Fields: ...
    def active(self, op: str) -> str: ...
    def call(self, op: str, *args: Any, impl: str | None = None, plan: bytes = b"") -> None: ...
    def plan(self, op: str, *args: Any, impl: str | None = None) -> bytes: ...
    def Quantized(self, data: Any, scale: Any, layout: str) -> Any: ...


class LibraryOps:
    """What a sidecar's verbs work on. `counters` and `started` are those of its server."""

    def __init__(self, library: Library, make_tensor: MakeTensor, name: str) -> None:
        self.library = library
        self.name = name
        self.started = 0
        self.counters: Counter[str] = Counter()
        self.segments = Segments()
        self.arguments = Arguments(make_tensor, self.segments)
        self.manifest = library.manifest()
        self._remedies = {error["name"]: error["remedy"] for error in self.manifest.get("errors", [])}
        self._specs = {op["op"]: op for op in self.manifest["ops"]}
        self._at_load: dict[str, str] = {}

    def active(self, op: str) -> str:
        """Nothing switches ops in a sidecar, so what is active at first stays so."""
        if op not in self._at_load:
            self._at_load[op] = self.library.active(op)
        return self._at_load[op]

    def declared(self, op: str) -> int:
        """The version of an op. Raises IpcError NO_OP, with the nearest name, when there is no such op."""
        if op not in self._specs:
            raise IpcError("OPSWAP_E_NO_OP", f"no op named {op!r}{nearest(op, list(self._specs))}")
        return int(self._specs[op]["version"])

    def quantised(self, op: str, args: list[Any], layouts: dict[str, str]) -> list[Any]:
        """The arguments, with data and scale of each named one as one. Raises IpcError ARGUMENT where there is none."""
        self.declared(op)
        index = {a["name"]: i for i, a in enumerate(self._specs[op]["args"])}
        scales = {row["data"]: row["scale"] for row in self._specs[op].get("quantized", [])}
        for name, layout in layouts.items():
            if name not in scales:
                raise IpcError("OPSWAP_E_ARGUMENT", f"{op} takes no quantised {name!r}{nearest(name, list(scales))}")
            data, scale = index[name], index[scales[name]]
            if max(data, scale) >= len(args):
                raise IpcError("OPSWAP_E_COUNT", f"{op}: got {len(args)} arguments of {len(index)}")
            args[data], args[scale] = self.library.Quantized(args[data], args[scale], layout), None
        return args

    def remedy(self, code: str, fields: Fields) -> str | None:
        """The table's, except where it names a command that would ask an engine."""
        if code in ("OPSWAP_E_NO_IMPL", "OPSWAP_E_UNUSABLE") and "op" in fields:
            return f"`opswap why {fields['op']} --sidecar {self.name}` lists the implementations, with reasons"
        return self._remedies.get(code)
