"""`call`: one op on tensors in the client's shared memory."""

from __future__ import annotations

import time
from typing import Any

from ...library import LibraryOps

Fields = dict[str, Any]


def call(ops: LibraryOps, fields: Fields) -> Fields:
    op, impl = fields["op"], fields.get("impl")
    args, held = ops.arguments.unpack(fields["args"])
    if layouts := fields.get("layouts"):
        args = ops.quantised(op, args, layouts)
    ran = impl or ops.active(op)
    before = time.perf_counter_ns()
    ops.library.call(op, *args, impl=ran, plan=fields.get("plan", b""))
    elapsed = time.perf_counter_ns() - before
    del held
    return {"op": op, "impl": ran, "elapsed_ns": elapsed}
