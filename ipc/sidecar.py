"""The sidecar: a process that runs ops on request, on tensors in its clients' shared memory.

    python -m opswap.ipc.sidecar [--name NAME] [--threads N] [--variants NAME ...] [--until-eof]

It serves several clients at once, so a long op of one does not hold up another. A candidate kernel that crashes takes
this process with it and no engine.
"""

from __future__ import annotations

import argparse
import contextlib
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
from .errors import IpcError, code_of, nearest
from .messages import LIMITS
from .segments import Segments, sweep
from .tensors import Arguments, MakeTensor

log = logging.getLogger("opswap.sidecar")
SWEEP_S = 1.0
THREADS = 4
MOST_THREADS = 64
LINGER_MS = 200
#: For the requests that are under way when whoever started this process has ended.
GRACE_S = 5.0
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
        self,
        library: Library,
        make_tensor: MakeTensor,
        name: str = "sidecar",
        threads: int = THREADS,
        stop: threading.Event | None = None,
    ) -> None:
        """Takes the name and starts to answer. Raises IpcError when a live sidecar has the name.

        Whoever sets `stop` ends it, as `stop()` does.
        """
        self.library = library
        self.name = name
        self.counters: Counter[str] = Counter()
        self._started = int(time.time() * 1000)
        self._segments = Segments()
        self._arguments = Arguments(make_tensor, self._segments)
        self._at_load: dict[str, str] = {}
        self._desk = Desk("sidecar", name)
        self._stop = stop or threading.Event()
        self._complaints: set[str] = set()
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
        try:
            self._keep_house(self._sweep)
            self._socket = _bind(self._post.address)
            self._crew = Crew(self._socket, self._read, threads)
            self._post.publish()
        except BaseException:
            self._post.close()
            raise
        log.info("sidecar %s answers on %s", name, self._post.socket)

    def run(self) -> None:
        """Returns after `stop`, when every request that was under way has been answered."""
        while not self._stop.wait(SWEEP_S):
            self._keep_house(self._sweep, self._segments.forget_removed, self._post.touch)
        self._crew.stop()
        self._socket.close(linger=LINGER_MS)
        self._post.close()

    def stop(self) -> None:
        """May be called from any thread and from a signal handler."""
        self._stop.set()

    def _keep_house(self, *chores: Callable[[], None]) -> None:
        """What cannot be done now may work the next time, and must not end a process that others call; said once."""
        for chore in chores:
            try:
                chore()
            except (OSError, IpcError) as error:
                self.counters["chores_failed"] += 1
                if str(error) not in self._complaints:
                    self._complaints.add(str(error))
                    log.warning("%s", error)

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
            if code == "OPSWAP_E_UNEXPECTED":
                log.exception("%s failed", request.verb)
            message = getattr(error, "message", None) or f"{request.verb}: {type(error).__name__}: {error}"
            return self._refuse(request, IpcError(code, message, self._remedy(code, request.fields)))

    def _remedy(self, code: str, fields: Fields) -> str | None:
        """The table's, except where it names a command that would ask an engine."""
        if code in ("OPSWAP_E_NO_IMPL", "OPSWAP_E_UNUSABLE") and "op" in fields:
            return f"`opswap why {fields['op']} --sidecar {self.name}` lists the implementations, with reasons"
        return self._remedies.get(code)

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
            raise IpcError("OPSWAP_E_NO_OP", f"no op named {op!r}{nearest(op, list(self._op_versions))}")
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
                "OPSWAP_E_USAGE",
                f"--variants {name}: expected one of {', '.join(sorted(found)) or 'none, for none is installed'}",
                "name one of these, or leave the option out",
            )
        try:
            found[name].load()(ops)
        except ImportError as error:
            raise IpcError(
                "OPSWAP_E_PYTHON",
                f"--variants {name}: {sys.executable} cannot import the framework: {error}",
                "set OPSWAP_PYTHON to a Python that has it, or leave the option out",
            ) from error


def _threads(text: str) -> int:
    count = int(text)
    if not 1 <= count <= MOST_THREADS:
        raise ValueError
    return count


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="opswap sidecar", description="Runs ops on request, for A/B tests.")
    parser.add_argument("--name", default="sidecar", help="name of the socket (default: %(default)s)")
    parser.add_argument(
        "--threads",
        type=_threads,
        default=THREADS,
        help=f"requests run at a time, 1 to {MOST_THREADS} (default: %(default)s)",
    )
    parser.add_argument("--variants", nargs="*", default=[], metavar="NAME", help="frameworks whose kernels to offer")
    parser.add_argument("--until-eof", action="store_true", help="end when standard input ends, as its writer does")
    return parser.parse_args(argv)


def _end_with_input(stop: threading.Event) -> None:
    """Waits for the end of standard input, which is that of the process at its other end, even when it was killed."""
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    stop.set()
    # An op that hangs must not keep the name of a sidecar that nobody owns any more.
    time.sleep(GRACE_S)
    os._exit(1)


def _serve(options: argparse.Namespace, stop: threading.Event) -> None:
    import opswap
    from opswap._opswap import Tensor

    library = cast(Library, opswap)
    _add_variants(options.variants, [op["op"] for op in library.manifest()["ops"]])
    Sidecar(library, Tensor, options.name, options.threads, stop).run()


def _as_ipc_error(error: Exception) -> IpcError:
    if isinstance(error, IpcError):
        return error
    if isinstance(error, (OSError, zmq.ZMQError)):
        return IpcError("OPSWAP_E_IO", f"the sidecar cannot start: {error}")
    return IpcError(code_of(error), getattr(error, "message", None) or f"{type(error).__name__}: {error}")


def main(argv: list[str] | None = None) -> int:
    """Runs until SIGINT or SIGTERM. Returns 0; after a line that says what is wrong, 2 for a wrong option, else 1."""
    options = _options(argv)
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if os.environ.get("OPSWAP_DEBUG") == "1" else logging.INFO,
        format="%(name)s: %(message)s",
    )
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    if options.until_eof:
        threading.Thread(target=_end_with_input, args=(stop,), daemon=True).start()
    try:
        _serve(options, stop)
    # The last line of defence: whoever starts a sidecar reads a line with a code, never a traceback.
    except Exception as caught:
        error = _as_ipc_error(caught)
        sys.stderr.write(f"opswap: {error.message} [{error.code}]\n  {error.remedy}\n")
        log.debug("", exc_info=caught)
        return 2 if error.code == "OPSWAP_E_USAGE" else 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
