"""The sidecar's server: requests are run on threads, so a long op of one client does not hold up another."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable

import zmq

from .errors import IpcError
from .library import Library, LibraryOps
from .request_reader import Request, succeeded
from .router_threads import RouterThreads, Work
from .segments import sweep
from .server import LINGER_MS, Server
from .tensors import MakeTensor
from .verbs.sidecar import VERBS

log = logging.getLogger("opswap.sidecar")
SWEEP_S = 1.0
THREADS = 4


class OpServer:
    """Serves until `stop`; `run` does what is due every SWEEP_S on the calling thread meanwhile."""

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
        self._ops = LibraryOps(library, make_tensor, name)
        self._server = Server("sidecar", name, self._ops.remedy)
        self._ops.counters, self._ops.started = self._server.counters, self._server.started
        self._stop = stop or threading.Event()
        self._complaints: set[str] = set()
        self._registration = self._server.register()
        try:
            self._try_each(self._sweep)
            self._socket = self._server.bind(zmq.Context.instance())
            self._threads = RouterThreads(self._socket, self._read, threads, self.counters)
            self._registration.publish()
        except BaseException:
            self._registration.close()
            raise
        log.info("sidecar %s answers on %s", name, self._registration.socket)

    @property
    def counters(self) -> Counter[str]:
        return self._server.counters

    def run(self) -> None:
        """Returns after `stop`, when every request that was under way has been answered."""
        while not self._stop.wait(SWEEP_S):
            self._try_each(self._sweep, self._ops.segments.forget_removed, self._registration.touch)
        self._threads.stop()
        self._socket.close(linger=LINGER_MS)
        self._registration.close()

    def stop(self) -> None:
        """May be called from any thread and from a signal handler."""
        self._stop.set()

    def _try_each(self, *chores: Callable[[], None]) -> None:
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
        read = self._server.read(peer, frame)
        if isinstance(read, Request):
            return lambda: self._carry_out(read)
        return lambda: read.frame

    def _carry_out(self, request: Request) -> bytes:
        try:
            return succeeded(request.id, VERBS[request.verb](self._ops, request.fields))
        except Exception as error:
            return self._server.failure(request, error)
