"""Frames to checked requests, in the agent and in the sidecar: handshake, validation, and the shape of every answer."""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from typing import Any, NamedTuple

from .errors import IpcError, nearest
from .messages import ENVELOPE, PROTOCOL, REQUESTS, SERVICES, FieldError
from .request_cache import RequestCache, RequestHead, read_head
from .wire import decode, encode

PEERS = 1024


class Request(NamedTuple):
    """A request that has passed every check: `fields` holds the declared fields of `verb`, and nothing else."""

    id: int
    verb: str
    fields: dict[str, Any]


class Answer(NamedTuple):
    """A reply that needs no work, ready to be sent."""

    frame: bytes
    refused: bool


class RequestReader:
    """One per server; not shared between threads."""

    def __init__(self, service: str, name: str) -> None:
        self.service = service
        self.name = name
        # Peers that said hello; the one silent for longest is forgotten first and has to say it again.
        self._peers: OrderedDict[bytes, None] = OrderedDict()
        self._cache = RequestCache()

    def read(self, peer: bytes, frame: bytes | memoryview) -> Request | Answer:
        """What to do with a frame: a request to carry out, or an answer to send at once."""
        head = read_head(frame)
        known = self._cache.find(head) if head else None
        if head is None or known is None:
            return self._read_anew(peer, frame, head)
        try:
            self._admit(peer)
            _in_time(known[0], head.deadline)
            return Request(head.id, *known)
        except IpcError as error:
            return Answer(failed(head.id, error), refused=True)

    def _read_anew(self, peer: bytes, frame: bytes | memoryview, head: RequestHead | None) -> Request | Answer:
        request_id: int | None = None
        try:
            value = decode(frame)
            request_id = _id_of(value)
            envelope = _checked("request", ENVELOPE, value)
            request = Request(request_id or 0, envelope["verb"], self._fields(envelope["verb"], value))
            if request.verb == "hello":
                return Answer(succeeded(request.id, self._hello(peer, request.fields)), refused=False)
            self._admit(peer)
            _in_time(request.verb, envelope.get("deadline", float("inf")))
            if head is not None:
                self._cache.keep(head, value, request.verb, request.fields)
            return request
        except IpcError as error:
            return Answer(failed(request_id, error), refused=True)

    def _fields(self, verb: str, value: dict[str, Any]) -> dict[str, Any]:
        verbs = SERVICES[self.service]
        if verb in verbs:
            fields: dict[str, Any] = _checked(verb, REQUESTS[verb], value)
            return fields
        said = f"{self.service} {self.name} answers {', '.join(verbs)}; got {verb!r}"
        raise IpcError("OPSWAP_E_VERB", said + nearest(verb, list(verbs)))

    def _hello(self, peer: bytes, fields: dict[str, Any]) -> dict[str, Any]:
        if fields["protocol"] != PROTOCOL:
            theirs = f"{fields['client']} speaks {fields['protocol']}"
            raise IpcError("OPSWAP_E_PROTOCOL", f"{self.service} {self.name} speaks protocol {PROTOCOL}; {theirs}")
        self._peers[peer] = None
        if len(self._peers) > PEERS:
            self._peers.popitem(last=False)
        return {"protocol": PROTOCOL, "service": self.service, "name": self.name, "pid": os.getpid()}

    def _admit(self, peer: bytes) -> None:
        if peer not in self._peers:
            raise IpcError("OPSWAP_E_HELLO", f"{self.service} {self.name} has not had a hello on this connection")
        self._peers.move_to_end(peer)


def succeeded(request_id: int, result: dict[str, Any]) -> bytes:
    """The frame of a result."""
    return encode({"id": request_id, "ok": True, "result": result})


def failed(request_id: int | None, error: IpcError) -> bytes:
    """The frame of a refusal."""
    return encode({"id": request_id, "ok": False, "error": error.wire()})


def _id_of(value: Any) -> int | None:
    """The id of a request that may be wrong in every other way, so that its sender learns why."""
    found = value.get("id") if isinstance(value, dict) else None
    return found if type(found) is int and 0 <= found < 2**53 else None


def _checked(what: str, validate: Any, value: Any) -> Any:
    try:
        return validate(value)
    except FieldError as error:
        code = "OPSWAP_E_FIELD" if isinstance(value, dict) else "OPSWAP_E_MESSAGE"
        raise IpcError(code, f"{what}: {error.path or 'the message'}: {error.problem}") from None


def _in_time(verb: str, deadline: float) -> None:
    late = time.time() * 1000 - deadline
    if late > 0:
        raise IpcError("OPSWAP_E_EXPIRED", f"{verb}: its deadline passed {late:.0f} ms before it was read")
