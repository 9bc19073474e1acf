"""A cache of checked requests: an A/B run sends one over and over, with nothing new but its id and deadline.

What such a request holds was decoded and checked the first time. After an op has streamed through the caches, doing
both again takes longer than anything else that the sidecar does.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Any, NamedTuple

from .messages import SAFE_INT

#: A map that begins with id, verb and deadline, as our client writes it; others are read the long way.
HEAD = re.compile(
    rb"([\x80-\x8f]|\xde..)\xa2id([\x00-\x7f]|\xcc.|\xcd..|\xce.{4})\xa4verb([\xa1-\xbf][a-z]+)\xa8deadline[\xcf\xd3](.{8})",
    re.DOTALL,
)
KEPT = 64
LONGEST = 4096
Key = tuple[bytes, bytes, bytes]


class RequestHead(NamedTuple):
    """What differs between repeats, and the key of what does not."""

    id: int
    deadline: int
    entries: int
    key: Key


def read_head(frame: bytes | memoryview) -> RequestHead | None:
    """The head of a request that may be a repeat."""
    if len(frame) > LONGEST:
        return None
    found = HEAD.match(frame)
    if found is None:
        return None
    size, number, verb, deadline = found.groups()
    late = int.from_bytes(deadline, "big")
    if late > SAFE_INT:
        return None
    entries = size[0] & 15 if len(size) == 1 else int.from_bytes(size[1:], "big")
    id = number[0] if len(number) == 1 else int.from_bytes(number[1:], "big")
    return RequestHead(id, late, entries, (size, verb, bytes(frame[found.end() :])))


class RequestCache:
    """The fields of the latest requests, by the bytes that they came in. Not shared between threads."""

    def __init__(self) -> None:
        self._known: OrderedDict[Key, tuple[str, dict[str, Any]]] = OrderedDict()

    def find(self, head: RequestHead) -> tuple[str, dict[str, Any]] | None:
        """Verb and checked fields of an earlier request with the same bytes."""
        return self._known.get(head.key)

    def keep(self, head: RequestHead, value: dict[str, Any], verb: str, fields: dict[str, Any]) -> None:
        """Remembers a request that passed every check; not one that says a key twice, whose head is not what counts."""
        if (len(value), value["id"], value.get("deadline")) != (head.entries, head.id, head.deadline):
            return
        self._known[head.key] = (verb, fields)
        if len(self._known) > KEPT:
            self._known.popitem(last=False)
