"""Validators against the declaration: what must pass passes, what must not is refused, nothing crashes."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opswap.ipc.errors import IpcError
from opswap.ipc.messages import LIMITS, PROTOCOL, REQUESTS, SERVICES, SPEC, FieldError
from opswap.ipc.request_reader import Answer, Request, RequestReader
from opswap.ipc.wire import decode, encode

ROOT = Path(__file__).resolve().parents[2]
TENSOR = {"segment": "opswap-12-345-6", "offset": 0, "dtype": "float32", "shape": [2, 3], "strides": [3, 1]}


def refusal(answer: Request | Answer) -> dict[str, Any]:
    assert isinstance(answer, Answer)
    assert answer.refused
    reply = msgpack.unpackb(answer.frame)
    assert not reply["ok"]
    assert reply["error"]["code"] in SPEC["errors"]
    assert reply["error"]["remedy"] == SPEC["errors"][reply["error"]["code"]]["remedy"]
    return {"id": reply["id"], **reply["error"]}


def greeted(service: str = "engine") -> RequestReader:
    reader = RequestReader(service, "e")
    hello = reader.read(b"peer", msgpack.packb({"id": 0, "verb": "hello", "protocol": PROTOCOL, "client": "t"}))
    assert isinstance(hello, Answer)
    assert not hello.refused
    return reader


def read(reader: RequestReader, **message: Any) -> Request | Answer:
    return reader.read(b"peer", msgpack.packb(message))


def test_generated_files_are_fresh() -> None:
    check = [sys.executable, str(ROOT / "ipc/generate.py"), "--check"]
    assert subprocess.run(check, capture_output=True, text=True, check=False).stderr == ""


def test_the_declaration_names_every_type_it_uses_and_uses_every_type() -> None:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "ipc/generate.py")
    assert spec is not None and spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    used: set[str] = set()
    for body in SPEC["types"].values():
        used |= generate.references(body.get("fields", {}).values()) | generate.references(body.get("union", []))
    for body in SPEC["verbs"].values():
        used |= generate.references([*body["request"].values(), *body["result"].values()])
    used |= generate.references(SPEC["envelope"]["reply"].values())
    assert used == set(SPEC["types"])


def test_unknown_keys_are_ignored_and_not_passed_on() -> None:
    request = read(greeted(), id=7, verb="why", op="rms_norm", colour="red")
    assert isinstance(request, Request)
    assert request == Request(7, "why", {"op": "rms_norm"})


@pytest.mark.parametrize(
    ("message", "code", "told"),
    [
        ({"id": 1, "verb": "whyy", "op": "x"}, "OPSWAP_E_VERB", "did you mean why?"),
        ({"id": 1, "verb": "call", "op": "x", "args": []}, "OPSWAP_E_VERB", "engine e answers hello"),
        ({"id": 1, "verb": "why"}, "OPSWAP_E_FIELD", "why: op: is missing"),
        ({"id": 1, "verb": "why", "op": 5}, "OPSWAP_E_FIELD", "expected a string; got 5"),
        ({"id": 1, "verb": "why", "op": ""}, "OPSWAP_E_FIELD", "1 to 128 bytes; got 0"),
        ({"id": 1, "verb": "why", "op": "x" * 129}, "OPSWAP_E_FIELD", "got 129"),
        ({"id": 1, "verb": "use", "changes": []}, "OPSWAP_E_FIELD", "expected 1 to 64 entries; got 0"),
        ({"id": 1, "verb": "use", "changes": [{"op": "a", "impl": 1}]}, "OPSWAP_E_FIELD", "changes[0].impl"),
        ({"id": 1, "verb": "use", "changes": [{"op": "a"}]}, "OPSWAP_E_FIELD", "changes[0].impl: is missing"),
        ({"id": 1, "verb": "status", "deadline": 1}, "OPSWAP_E_EXPIRED", "deadline passed"),
        ({"id": -1, "verb": "status"}, "OPSWAP_E_FIELD", "id"),
        ({"id": True, "verb": "status"}, "OPSWAP_E_FIELD", "id"),
        ({"verb": "status"}, "OPSWAP_E_FIELD", "id: is missing"),
    ],
)
def test_bad_requests_are_refused_by_name(message: dict[str, Any], code: str, told: str) -> None:
    refused = refusal(read(greeted(), **message))
    assert refused["code"] == code
    assert told in refused["message"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"segment": "../../etc/passwd"}, "segment"),
        ({"segment": "opswap-1-2-3/../x"}, "segment"),
        ({"segment": "opswap-1-2-3\n"}, "segment"),
        ({"offset": -1}, "offset"),
        ({"offset": 1.5}, "offset"),
        ({"shape": [1] * 9}, "0 to 8 entries; got 9"),
        ({"shape": [2, -3]}, "shape[1]"),
        ({"strides": ["x", 1]}, "strides[0]"),
    ],
)
def test_bad_tensor_references_are_refused(change: dict[str, Any], told: str) -> None:
    refused = refusal(read(greeted("sidecar"), id=1, verb="call", op="x", args=[1, {**TENSOR, **change}]))
    assert refused["code"] == "OPSWAP_E_FIELD"
    assert "args[1]" in refused["message"]
    assert told in refused["message"]


def test_every_kind_of_argument_passes_unchanged() -> None:
    args = [TENSOR, True, 3, -(2**63), 2**63 - 1, 0.5, "text", None]
    request = read(greeted("sidecar"), id=1, verb="call", op="x", args=args)
    assert isinstance(request, Request)
    assert request.fields["args"] == args
    assert [type(arg) for arg in request.fields["args"]] == [type(arg) for arg in args]
    assert refusal(read(greeted("sidecar"), id=1, verb="call", op="x", args=[2**63]))["code"] == "OPSWAP_E_FIELD"
    assert refusal(read(greeted("sidecar"), id=1, verb="call", op="x", args=[b"bytes"]))["code"] == "OPSWAP_E_FIELD"


def test_another_protocol_is_refused_with_both_numbers() -> None:
    refused = refusal(
        read(RequestReader("engine", "e"), id=3, verb="hello", protocol=PROTOCOL + 1, client="next year's")
    )
    assert refused["code"] == "OPSWAP_E_PROTOCOL"
    assert refused["id"] == 3
    assert f"protocol {PROTOCOL};" in refused["message"]
    assert f"speaks {PROTOCOL + 1}" in refused["message"]


def test_hello_comes_first_and_counts_for_its_own_peer_only() -> None:
    reader = greeted()
    assert isinstance(reader.read(b"peer", msgpack.packb({"id": 1, "verb": "status"})), Request)
    refused = refusal(reader.read(b"other", msgpack.packb({"id": 1, "verb": "status"})))
    assert refused["code"] == "OPSWAP_E_HELLO"


def test_peers_are_remembered_in_bounded_number() -> None:
    reader = RequestReader("engine", "e")
    for peer in range(5000):
        reader.read(str(peer).encode(), msgpack.packb({"id": 0, "verb": "hello", "protocol": PROTOCOL, "client": "t"}))
    assert len(reader._peers) == 1024
    assert refusal(reader.read(b"0", msgpack.packb({"id": 1, "verb": "status"})))["code"] == "OPSWAP_E_HELLO"


def test_a_frame_over_the_bound_is_refused_before_it_is_read() -> None:
    frame = msgpack.packb({"id": 1, "verb": "x" * LIMITS["request_bytes"]})
    assert refusal(greeted().read(b"peer", frame))["code"] == "OPSWAP_E_TOO_LARGE"


def test_a_reply_over_its_bound_becomes_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LIMITS, "reply_bytes", 1000)
    reply = msgpack.unpackb(encode({"id": 9, "ok": True, "result": {"text": "x" * 2000}}))
    assert reply["id"] == 9
    assert reply["error"]["code"] == "OPSWAP_E_TOO_LARGE"


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xc1",
        msgpack.packb([1, 2]),
        msgpack.packb({1: 2}),
        msgpack.packb({"id": 1}) + b"\x00",
        b"\xdf\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\x91" * 100_000,
        msgpack.packb(msgpack.ExtType(5, b"x")),
        b"\xa4\xff\xff\xff\xff",
        b"\x81\x90\x01",
    ],
)
def test_frames_that_are_not_messages(frame: bytes) -> None:
    refused = refusal(greeted().read(b"peer", frame))
    assert refused["code"] in ("OPSWAP_E_MESSAGE", "OPSWAP_E_FIELD")


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_random_bytes_never_crash_the_reader(frame: bytes) -> None:
    answer = greeted().read(b"peer", frame)
    assert isinstance(answer, Answer)
    assert not msgpack.unpackb(answer.frame)["ok"]


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=9)
    | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["id", "verb", "op", "impl", "args", "changes", "deadline", "protocol", "client", "timeout_ms"])


@given(st.sampled_from(sorted(SERVICES)), st.sampled_from(sorted(REQUESTS)), st.dictionaries(NAMES, VALUES))
@settings(max_examples=300, deadline=None)
def test_random_fields_are_a_clean_request_or_a_refusal(service: str, verb: str, fields: dict[str, Any]) -> None:
    answer = greeted(service).read(b"peer", msgpack.packb({"id": 1, "verb": verb, **fields}))
    if isinstance(answer, Request):
        assert set(answer.fields) <= set(SPEC["verbs"][answer.verb]["request"])
        assert REQUESTS[answer.verb](answer.fields) == answer.fields
    else:
        assert json.dumps(msgpack.unpackb(answer.frame))


@given(VALUES)
@settings(max_examples=200, deadline=None)
def test_decode_gives_back_plain_values_and_nothing_else(value: Any) -> None:
    try:
        again = decode(msgpack.packb(value))
    except IpcError as error:
        assert error.code == "OPSWAP_E_MESSAGE"
    else:
        assert type(again) in (type(value), list)


def test_field_errors_lead_to_the_field() -> None:
    with pytest.raises(FieldError) as caught:
        REQUESTS["call"]({"op": "x", "args": [{**TENSOR, "shape": [1, "2"]}]})
    assert caught.value.path == "args[0].shape[1]"
