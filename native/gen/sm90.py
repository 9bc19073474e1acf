"""Which instances a room's sm90.cu is compiled for, and the glue that makes one implementation of them."""

from __future__ import annotations

import json
from pathlib import Path

from .evidence import Standing, standing
from .spec import Op

#: Element types of kernels/common/device by dtype.
SCALARS = {
    "float32": "float",
    "bfloat16": "bf16",
    "float16": "fp16",
    "float8_e4m3fn": "e4m3",
    "float8_e5m2": "e5m2",
    "float64": "double",
}


def type_variable(op: Op) -> str | None:
    """The first type variable of floating dtypes only: sm90.cu is compiled once per value of it. Where integers are
    among them too, the room moves bits, and their width is enough."""
    return next((t for t, dtypes in op.data["types"].items() if all(d in SCALARS for d in dtypes)), None)


def instances(op: Op) -> list[tuple[str, str]]:
    """(innermost namespace, C++ type of `Scalar`) of each compilation; a room of bits has one without `Scalar`."""
    variable = type_variable(op)
    if variable is None:
        return [("sm90_all", "")]
    return [(f"sm90_{d}", SCALARS[d]) for d in op.data["types"][variable]]


def instance_list(ops: list[Op]) -> str:
    """For builds: one `room|instance|scalar|namespace` per line."""
    found = [(o, name, scalar) for o in ops if o.sm90.exists() for name, scalar in instances(o)]
    return "\n".join(f"{o.name}|{name}|{scalar}|{scope(o, name)}" for o, name, scalar in found) + "\n"


def scope(op: Op, namespace: str) -> str:
    """One namespace for each object: rooms share headers with kernels in them, and helpers of one name."""
    return f"sm90_{op.name}::{namespace}"


def declare(op: Op, namespace: str) -> list[str]:
    args = f"const {op.name}_args &"
    optional = '[[gnu::weak, gnu::visibility("hidden")]]'
    return [
        f"namespace {scope(op, namespace)} {{",
        f"opswap_status {op.name}_sm90({args}, const opswap_exec &);",
        f"{optional} const char *{op.name}_sm90_can({args});",
        f"{optional} size_t {op.name}_sm90_workspace({args}, const opswap_exec &);",
        f"}}  // namespace {scope(op, namespace)}",
    ]


def members(op: Op, namespace: str) -> str:
    name = f"{scope(op, namespace)}::{op.name}_sm90"
    return f"{{{name}, {name}_can, {name}_workspace}}"


def literal(text: str | None) -> str:
    return json.dumps(text, ensure_ascii=True) if text else "nullptr"


def evidence_of(found: Standing) -> str:
    fields = (found.experimental, " ".join(found.correct), " ".join(found.timed))
    return f"{{{', '.join(literal(f) for f in fields)}}}"


def glue(op: Op, root: Path) -> list[str]:
    """Registers `sm90` of one room, with what its evidence says."""
    made = instances(op)
    lines = [line for namespace, _ in made for line in declare(op, namespace)]
    lines.append(f"static Sm90<{op.name}_args> {op.name}_instance(const {op.name}_args &a) {{")
    variable = type_variable(op)
    if variable is None:
        lines += [f"  return {members(op, made[0][0])};"]
    else:
        lines.append(f"  switch (a.{variable}_dtype) {{")
        for namespace, _ in made:
            lines += [f"    case DType::{namespace[5:]}:", f"      return {members(op, namespace)};"]
        lines += ["    default:", "      return {};", "  }"]
    record = f"{op.name}_sm90_record"
    return [
        *lines,
        "}",
        f"static ImplRecord {record} = sm90_record<{op.name}_args, {op.name}_instance>(",
        f'    "{op.name}", {evidence_of(standing(root, op))});',
        f"static const RegisterImpl {op.name}_sm90_registered{{{record}}};",
    ]


def glue_of_all(ops: list[Op], root: Path) -> list[str]:
    rooms = [o for o in ops if o.sm90.exists()]
    return ["#ifdef OPSWAP_WITH_SM90", *(line for o in rooms for line in glue(o, root)), "#endif"] if rooms else []
