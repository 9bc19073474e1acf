"""The sidecar: a process that runs ops on request, on tensors in its clients' shared memory.

    python -m opswap.ipc.sidecar [--name NAME] [--threads N] [--variants NAME ...]

It serves several clients at once, so a long op of one does not hold up another. A candidate kernel that crashes takes
this process with it and no engine.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol, cast

import zmq

from .crew import Crew, Work
from .desk import Answer, Desk, Request, failed, succeeded
from .discovery import Post
from .errors import IpcError, code_of
from .messages import LIMITS
from .segments import Segments, sweep
from .tensors import Arguments, MakeTensor

log = logging.getLogger("opswap.sidecar")
SWEEP_S = 1.0
THREADS = 4
LINGER_MS = 200
Fields = dict[str, Any]


class Library(Protocol):
    """What the sidecar needs of the package `opswap`."""

    def manifest(self) -> Fields: ...
    def version(self) -> Fields: ...
    def why(self, op: str) -> Fields: ...
    def stats(self) -> Fields: ...
    def active(self, op: str) -> str: ...
    def call(self, op: str, *args: Any, impl: str | None = None) -> None: ...


class Sidecar:
    """Serves until `stop`; `run` keeps house on the calling thread meanwhile."""

    def __init__(
        self, library: Library, make_tensor: MakeTensor, name: str = "sidecar", threads: int = THREADS
    ) -> None:
        """Takes the name and starts to answer. Raises IpcError when a live sidecar has the name."""
        self.library = library
        self.name = name
        self.counters: Counter[str] = Counter()
        self._started = int(time.time() * 1000)
        self._segments = Segments()
        self._arguments = Arguments(make_tensor, self._segments)
        self._at_load: dict[str, str] = {}
        self._desk = Desk("sidecar", name)
        self._stop = threading.Event()
        self._manifest = library.manifest()
        self._remedies = {error["name"]: error["remedy"] for error in self._manifest.get("errors", [])}
        self._op_versions = {op["op"]: op["version"] for op in self._manifest["ops"]}
        self._verbs: dict[str, Callable[[Fields], Fields]] = {
            "status": self._status,
            "ops": self._ops,
            "why": self._why,
            "manifest": lambda _fields: {"manifest": self._manifest},
            "call": self._call,
        }
        self._post = Post("sidecar", name)
        self._sweep()
        self._socket = _bind(self._post.address)
        self._crew = Crew(self._socket, self._read, threads)
        self._post.publish()
        log.info("sidecar %s answers on %s", name, self._post.socket)

    def run(self) -> None:
        """Returns after `stop`, when every request that was under way has been answered."""
        while not self._stop.wait(SWEEP_S):
            self._sweep()
            self._segments.forget_removed()
            self._post.touch()
        self._crew.stop()
        self._socket.close(linger=LINGER_MS)
        self._post.close()

    def stop(self) -> None:
        """May be called from any thread and from a signal handler."""
        self._stop.set()

    def _sweep(self) -> None:
        removed = sweep()
        self.counters["swept"] += len(removed)
        for name in removed:
            log.info("removed %s: its owner has ended", name)

    def _read(self, peer: bytes, frame: bytes) -> Work:
        self.counters["requests"] += 1
        read = self._desk.read(peer, frame)
        if isinstance(read, Request):
            return lambda: self._carry_out(read)
        return lambda: self._ready(read)

    def _ready(self, answer: Answer) -> bytes:
        self.counters["refused"] += answer.refused
        return answer.frame

    def _carry_out(self, request: Request) -> bytes:
        try:
            return succeeded(request.id, self._verbs[request.verb](request.fields))
        except IpcError as error:
            return self._refuse(request, error)
        # The library's error class carries a code; anything else is a defect, told to the client all the same.
        except Exception as error:
            code = code_of(error)
            if code == "OPSWAP_E_INTERNAL":
                log.exception("%s failed", request.verb)
            message = getattr(error, "message", None) or f"{request.verb}: {type(error).__name__}: {error}"
            return self._refuse(request, IpcError(code, message, self._remedies.get(code)))

    def _refuse(self, request: Request, error: IpcError) -> bytes:
        self.counters["refused"] += 1
        return failed(request.id, error)

    def _call(self, fields: Fields) -> Fields:
        op, impl = fields["op"], fields.get("impl")
        args, held = self._arguments.unpack(fields["args"])
        ran = impl or self._active(op)
        before = time.perf_counter_ns()
        self.library.call(op, *args, impl=ran)
        elapsed = time.perf_counter_ns() - before
        del held
        return {"op": op, "impl": ran, "elapsed_ns": elapsed}

    def _active(self, op: str) -> str:
        """Nothing switches ops in a sidecar, so what is active at first stays so."""
        if op not in self._at_load:
            self._at_load[op] = self.library.active(op)
        return self._at_load[op]

    def _status(self, _fields: Fields) -> Fields:
        return {
            "name": self.name,
            "pid": os.getpid(),
            "started": self._started,
            "version": self.library.version(),
            "framework": None,
            "epoch": 0,
            "choice": {},
            "ranks": [],
            "switching": False,
            "restored": {"outcome": "none", "message": "a sidecar keeps no choice"},
            "divergence": None,
            "counters": {**self.counters, "dropped": self._crew.dropped, "segments": len(self._segments)},
        }

    def _ops(self, fields: Fields) -> Fields:
        rows = self.library.stats()["ops"]
        if "op" in fields:
            self._declared(fields["op"])
            rows = [row for row in rows if row["op"] == fields["op"]]
        return {"ranks": [{"rank": 0, "step": 0, "epoch": 0, "ops": rows}]}

    def _why(self, fields: Fields) -> Fields:
        version = self._declared(fields["op"])
        told = self.library.why(fields["op"])
        impls = [{**impl, "reason": impl.get("reason", "")} for impl in told["impls"]]
        rank = {"rank": 0, "op_version": version, "active": told["active"], "impls": impls}
        return {"op": fields["op"], "ranks": [rank]}

    def _declared(self, op: str) -> int:
        if op not in self._op_versions:
            raise IpcError("OPSWAP_E_NO_OP", f"no op named {op!r}; there are {', '.join(self._op_versions)}")
        return int(self._op_versions[op])


def _bind(address: str) -> zmq.Socket[bytes]:
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.ROUTER)
    socket.setsockopt(zmq.MAXMSGSIZE, LIMITS["frame_bytes"])
    socket.setsockopt(zmq.RCVHWM, LIMITS["in_flight"])
    socket.setsockopt(zmq.SNDHWM, 4 * LIMITS["in_flight"])
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    socket.bind(address)
    return socket


def _add_variants(names: list[str], ops: list[str]) -> None:
    """Registers frameworks' own kernels: entry points of the group opswap.variants, which take the names of the ops."""
    from importlib.metadata import entry_points

    found = {entry.name: entry for entry in entry_points(group="opswap.variants")}
    for name in names:
        if name not in found:
            raise IpcError(
                "OPSWAP_E_FIELD",
                f"--variants {name}: expected one of {', '.join(sorted(found)) or 'none, for none is installed'}",
                "install the framework into this environment, or leave the option out",
            )
        found[name].load()(ops)


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="opswap sidecar", description="Runs ops on request, for A/B tests.")
    parser.add_argument("--name", default="sidecar", help="name of the socket (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=THREADS, help="requests run at a time (default: %(default)s)")
    parser.add_argument("--variants", nargs="*", default=[], metavar="NAME", help="frameworks whose kernels to offer")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Runs until SIGINT or SIGTERM. Returns 0, or 1 after one line that says what is wrong."""
    options = _options(argv)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(name)s: %(message)s")
    try:
        import opswap
        from opswap._opswap import Tensor

        library = cast(Library, opswap)
        _add_variants(options.variants, [op["op"] for op in library.manifest()["ops"]])
        sidecar = Sidecar(library, Tensor, options.name, max(1, options.threads))
    except IpcError as error:
        log.error("%s: %s; %s", error.code, error.message, error.remedy)
        return 1
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sidecar.stop())
    sidecar.run()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
