"""Frames to values and back, with every size bounded before memory is given to it."""

from __future__ import annotations

from typing import Any

import msgpack

from .errors import IpcError
from .messages import LIMITS


def _no_extension(code: int, _data: bytes) -> Any:
    raise ValueError(f"MessagePack extension type {code} is not part of the protocol")


def decode(frame: bytes | memoryview) -> Any:
    """The value of a request frame.

    Raises IpcError TOO_LARGE over `request_bytes`, MESSAGE for anything that is not one plain MessagePack value.
    """
    if len(frame) > LIMITS["request_bytes"]:
        raise IpcError(
            "OPSWAP_E_TOO_LARGE", f"the request has {len(frame)} bytes, at most {LIMITS['request_bytes']} are taken"
        )
    try:
        return msgpack.unpackb(
            frame,
            raw=False,
            strict_map_key=True,
            ext_hook=_no_extension,
            max_str_len=LIMITS["request_bytes"],
            max_array_len=LIMITS["request_bytes"],
            max_map_len=LIMITS["request_bytes"],
        )
    # unpackb raises a dozen classes, RecursionError-like StackError and TypeError for unhashable keys among them.
    except Exception as error:
        what = str(error) or type(error).__name__
        raise IpcError("OPSWAP_E_MESSAGE", f"the frame cannot be read as MessagePack: {what}") from error


def encode(reply: dict[str, Any]) -> bytes:
    """A reply frame; one that is over its bound becomes the refusal that says so."""
    frame: bytes = msgpack.packb(reply)
    if len(frame) <= LIMITS["reply_bytes"]:
        return frame
    error = IpcError(
        "OPSWAP_E_TOO_LARGE", f"the reply has {len(frame)} bytes, at most {LIMITS['reply_bytes']} are sent"
    )
    short: bytes = msgpack.packb({"id": reply.get("id"), "ok": False, "error": error.wire()})
    return short
