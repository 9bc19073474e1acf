"""What agent and sidecar share: a registered name, a ROUTER socket, checked requests, and one answer for each of them.

How requests are run is the server's own: on an event loop in the agent, on threads in the sidecar.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import zmq

from .claim import Claim
from .discovery import Registration
from .errors import IpcError, code_of
from .messages import LIMITS
from .request_reader import Answer, Request, RequestReader, failed

log = logging.getLogger("opswap.server")
LINGER_MS = 200
Fields = dict[str, Any]


class Server:
    """One server of `service`, engine or sidecar. `remedy` may know a better remedy than the tables for a code."""

    def __init__(
        self, service: str, name: str, remedy: Callable[[str, Fields], str | None] = lambda _code, _fields: None
    ) -> None:
        self.service = service
        self.name = name
        self.started = int(time.time() * 1000)
        self.counters: Counter[str] = Counter()
        self._remedy = remedy
        self._reader = RequestReader(service, name)

    def register(self, claim: Claim | None = None) -> Registration:
        """Takes the name, unless `claim` has. Raises IpcError when it is taken, or the folder cannot be used."""
        self.registration = claim.hand_over() if claim else Registration(self.service, self.name)
        return self.registration

    def bind(self, context: Any) -> Any:
        """A socket of a ZeroMQ context, bound where clients look for this name."""
        socket = context.socket(zmq.ROUTER)
        socket.setsockopt(zmq.MAXMSGSIZE, LIMITS["frame_bytes"])
        socket.setsockopt(zmq.RCVHWM, LIMITS["in_flight"])
        # Room for every reply that one well-behaved client can wait for, several times over.
        socket.setsockopt(zmq.SNDHWM, 4 * LIMITS["in_flight"])
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        socket.bind(self.registration.address)
        return socket

    def read(self, peer: bytes, frame: bytes) -> Request | Answer:
        """What a frame asks for, or the answer to it that needs no work. Not for two threads at a time."""
        self.counters["requests"] += 1
        read = self._reader.read(peer, frame)
        if isinstance(read, Answer):
            self.counters["refused"] += read.refused
        return read

    def failure(self, request: Request, error: Exception) -> bytes:
        """The frame that tells why a request failed. Whatever it was belongs to this request and must end no server."""
        if isinstance(error, IpcError):
            self.counters["refused"] += 1
            return failed(request.id, error)
        # The library's error class carries a code; anything else is a defect, told to the client all the same.
        code = code_of(error)
        self.counters["failed" if code == "OPSWAP_E_UNEXPECTED" else "refused"] += 1
        if code == "OPSWAP_E_UNEXPECTED":
            log.error("%s failed", request.verb, exc_info=error)
        message = getattr(error, "message", None) or f"{request.verb}: {type(error).__name__}: {error}"
        return failed(request.id, IpcError(code, message, self._remedy(code, request.fields)))
