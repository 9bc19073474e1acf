"""Which instances a room's CUDA files are compiled for, and the glue that makes one implementation of them."""

from __future__ import annotations

import json
from pathlib import Path

from card.evidence.choices import choices_of

from .evidence import Standing, standing
from .sources import kernel_digest
from .spec import SCALARS, Op


def instances(op: Op) -> list[tuple[str, str]]:
    """(innermost namespace, C++ type of `Scalar`) of each compilation; a room of bits has one without `Scalar`."""
    dtypes = [d for of in op.data["instances"].values() for d in of]
    return [(f"sm90_{d}", SCALARS[d]) for d in dtypes] or [("sm90_all", "")]


def object_list(ops: list[Op], root: Path) -> str:
    """For builds: one `room|instance|scalar|namespace|source|object` per compiled file of each instance."""
    lines = []
    for op in ops:
        for file in op.kernel_files:
            part = "" if file.parent == op.path.parent else f".{file.stem}"
            for name, scalar in instances(op):
                fields = (op.name, name, scalar, scope(op, name), file.relative_to(root), f"{op.name}.{name}{part}")
                lines.append("|".join(map(str, fields)))
    return "\n".join(lines) + "\n"


def scope(op: Op, namespace: str) -> str:
    """One namespace for each object: rooms share headers with kernels in them, and helpers of one name."""
    return f"sm90_{op.name}::{namespace}"


def declare(op: Op, namespace: str) -> list[str]:
    args = f"const {op.name}_args &"
    optional = '[[gnu::weak, gnu::visibility("hidden")]]'
    return [
        f"namespace {scope(op, namespace)} {{",
        f"OPSWAP_INSTANCE opswap_status {op.name}_sm90({args}, const opswap_exec &);",
        f"{optional} const char *{op.name}_sm90_can({args});",
        f"{optional} size_t {op.name}_sm90_workspace({args}, const opswap_exec &);",
        f"{optional} Sm90Plans<{op.name}_args> {op.name}_sm90_plans();",
        f"}}  // namespace {scope(op, namespace)}",
    ]


def members(op: Op, namespace: str) -> str:
    name = f"{scope(op, namespace)}::{op.name}_sm90"
    return f"{{{name}, {name}_can, {name}_workspace, {name}_plans}}"


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
    variable = next(iter(op.data["instances"]), None)
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
        f"static Sm90<{op.name}_args> {op.name}_first() {{ return {members(op, made[0][0])}; }}",
        f"static ImplRecord {record} = sm90_record<{op.name}_args, {op.name}_instance>(",
        f'    "{op.name}", {evidence_of(standing(root, op))});',
        f"static const RegisterSm90Plans<{op.name}_args, {op.name}_instance, {op.name}_first> "
        f"{op.name}_sm90_plans_registered{{{record}}};",
        f"static const RegisterImpl {op.name}_sm90_registered{{{record}}};",
    ]


def glue_of_all(ops: list[Op], root: Path) -> list[str]:
    rooms = [o for o in ops if o.kernel_files]
    return ["#ifdef OPSWAP_WITH_SM90", *(line for o in rooms for line in glue(o, root)), "#endif"] if rooms else []


def sources_row(op: Op, root: Path) -> str:
    types = op.data["types"]
    cases = sum(len(choices_of(op.data, case)) for case in op.data["cases"])
    dtypes = " ".join(f"{variable}:{dtype}" for variable, of in types.items() for dtype in of)
    return f'{{"{op.name}", "{kernel_digest(root, op)}", {cases}, "{dtypes}"}}'


def sources_table(ops: list[Op], root: Path) -> list[str]:
    """What evidence from a user's card is held against; the last row only ends the table."""
    rows = [sources_row(o, root) for o in ops if o.kernel_files]
    table = ",\n".join(f"    {row}" for row in [*rows, '{"", "", 0, ""}'])
    return [
        f"const KernelSources kKernelSources[] = {{\n{table}}};",
        "#ifdef OPSWAP_WITH_SM90",
        f"const int32_t kKernelSourceCount = {len(rows)};",
        "#else",
        "const int32_t kKernelSourceCount = 0;",
        "#endif",
    ]
