"""`plan`: what an implementation works out once for the shapes of a call."""

from __future__ import annotations

from typing import Any

from ...library import LibraryOps

Fields = dict[str, Any]


def plan(ops: LibraryOps, fields: Fields) -> Fields:
    op = fields["op"]
    args, held = ops.arguments.unpack(fields["args"])
    impl = fields.get("impl") or ops.active(op)
    made = ops.library.plan(op, *args, impl=impl)
    del held
    return {"op": op, "impl": impl, "plan": made}
