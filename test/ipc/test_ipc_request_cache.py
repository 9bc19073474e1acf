"""Requests that differ in id and deadline alone are decoded and checked once, and refused as any other."""

from __future__ import annotations

import time
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opswap.ipc import request_reader
from opswap.ipc.messages import PROTOCOL, SAFE_INT
from opswap.ipc.request_cache import KEPT, LONGEST, read_head
from opswap.ipc.request_reader import Answer, Request, RequestReader

PEER = b"peer"


def soon() -> int:
    return int(time.time() * 1000) + 60_000


def frame(request_id: int, verb: str, deadline: int | None = None, **fields: Any) -> bytes:
    head = {"id": request_id, "verb": verb, "deadline": soon() if deadline is None else deadline}
    return bytes(msgpack.packb({**head, **fields}))


@pytest.fixture
def reader() -> RequestReader:
    made = RequestReader("sidecar", "sidecar")
    greeting = made.read(PEER, frame(1, "hello", protocol=PROTOCOL, client="a test"))
    assert isinstance(greeting, Answer) and not greeting.refused
    return made


def code_of(answer: Request | Answer) -> str:
    assert isinstance(answer, Answer) and answer.refused
    code: str = msgpack.unpackb(answer.frame)["error"]["code"]
    return code


def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Frames that are decoded from now on."""
    seen: list[bytes] = []
    decode = request_reader.decode
    monkeypatch.setattr(request_reader, "decode", lambda frame: (seen.append(bytes(frame)), decode(frame))[1])
    return seen


def test_a_repeat_is_decoded_once(reader: RequestReader, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = decoded(monkeypatch)
    args = [1, 2.5, None, "text"]
    for request_id in (2, 127, 128, 256, 70_000):
        request = reader.read(PEER, frame(request_id, "call", op="rms_norm", args=args))
        assert request == Request(request_id, "call", {"op": "rms_norm", "args": args})
    assert len(seen) == 1
    other = reader.read(PEER, frame(9, "call", op="rms_norm", args=[1, 2.5, None, "texts"]))
    assert isinstance(other, Request) and other.fields["args"][3] == "texts"
    assert len(seen) == 2


def test_a_repeat_is_refused_as_the_first_would_be(reader: RequestReader) -> None:
    assert isinstance(reader.read(PEER, frame(2, "ops")), Request)
    assert code_of(reader.read(PEER, frame(3, "ops", deadline=1))) == "OPSWAP_E_EXPIRED"
    assert code_of(reader.read(b"stranger", frame(4, "ops"))) == "OPSWAP_E_HELLO"
    assert code_of(reader.read(PEER, frame(5, "ops", deadline=SAFE_INT + 1))) == "OPSWAP_E_FIELD"


def test_what_is_refused_or_says_hello_is_read_each_time(
    reader: RequestReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = decoded(monkeypatch)
    for request_id in (2, 3):
        assert code_of(reader.read(PEER, frame(request_id, "call", op="rms_norm"))) == "OPSWAP_E_FIELD"
        assert isinstance(reader.read(b"other", frame(request_id, "hello", protocol=PROTOCOL, client="x")), Answer)
    assert len(seen) == 4


def test_a_key_that_is_there_twice_is_read_each_time(reader: RequestReader) -> None:
    """MessagePack has the last one count, so the id in front would be the wrong one."""
    for request_id in (2, 3):
        once = frame(request_id, "ops")
        twice = bytes([once[0] + 1]) + once[1:] + b"\xa2id\x07"
        request = reader.read(PEER, twice)
        assert isinstance(request, Request) and request.id == 7


def test_few_and_short_requests_are_kept(reader: RequestReader, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = decoded(monkeypatch)
    for i in range(KEPT + 1):
        reader.read(PEER, frame(2, "why", op=f"op{i}"))
    reader.read(PEER, frame(3, "why", op="op0"))
    assert len(seen) == KEPT + 2
    assert read_head(frame(2, "call", op="x", args=["x" * LONGEST])) is None


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(["status", "call"]),
    st.integers(0, SAFE_INT),
    st.dictionaries(st.text("abcdefgh", min_size=1), st.integers() | st.text(), max_size=20),
    st.booleans(),
)
def test_a_head_is_what_decoding_gives(
    request_id: int, verb: str, deadline: int, fields: dict[str, Any], wide: bool
) -> None:
    fields = {key: value for key, value in fields.items() if not isinstance(value, int) or abs(value) < 2**63}
    body = frame(request_id, verb, deadline, **fields)
    if wide and body[0] < 0x90:  # our client gives every map a length of 16 bits
        body = b"\xde\x00" + bytes([body[0] & 15]) + body[1:]
    value = msgpack.unpackb(body)
    head = read_head(body)
    if head is None:
        assert deadline < 2**32  # a shorter deadline than any real one
        return
    assert (head.id, head.deadline, head.entries) == (value["id"], value["deadline"], len(value))
