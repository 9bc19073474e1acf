"""C++ out of op.json: per op an argument struct with checked binding, plus the table of ops and the manifest."""

from __future__ import annotations

import json
import re
from pathlib import Path

from . import sm90
from .spec import Op, is_symbol

FIELD = {"float": "double", "int": "int64_t", "bool": "bool", "string": "const char *"}
NEEDS = {"float": "a float", "int": "an int", "bool": "a bool", "string": "a string"}
WORDS = {"and": "&&", "or": "||"}


def expression(text: str) -> str:
    """op.json's arithmetic over dims and scalars as C++ over the struct `s`."""
    return re.sub(r"[A-Za-z_][A-Za-z0-9_]*", lambda m: WORDS.get(m[0], f"s.{m[0]}"), text)


def struct(op: Op) -> list[str]:
    lines = [f"struct {op.name}_args : ArgsBase {{"]
    for a in op.args:
        if a["kind"] == "tensor":
            note = f"  // [{', '.join(a['shape'])}]{' or not given' if a.get('optional') else ''}"
            lines.append(f"  Tensor {a['name']};{note}")
        else:
            lines.append(f"  {FIELD[a['kind']]} {a['name']} = {{}};")
    lines.append(f"  int64_t {', '.join(f'{d} = 0' for d in op.dims)};")
    lines += [f"  DType {t}_dtype = DType::float32;" for t in op.data["types"]]
    return [*lines, "};"]


def spec_name(arg: dict) -> str:
    return f"k_{arg['name']}"


def spec_table(op: Op) -> list[str]:
    lines = []
    for a in op.tensors:
        mask = " | ".join(f"dtype_bit(DType::{d})" for d in op.data["types"][a["dtype"]])
        flags = ", ".join(str(bool(a.get(key))).lower() for key in ("dense", "writes", "host"))
        fields = f'"{op.name}", "{a["name"]}", {len(a["shape"])}, {mask}, {flags}'
        lines.append(f"static constexpr TensorSpec {spec_name(a)} = {{{fields}}};")
    return lines


def bind_scalar(op: Op, i: int, a: dict) -> list[str]:
    tag = {
        "float": "is_number(a[%d])",
        "int": "a[%d].tag == OPSWAP_INT",
        "bool": "a[%d].tag == OPSWAP_BOOL",
        "string": "a[%d].tag == OPSWAP_STRING",
    }
    value = {"float": "number(a[%d])", "int": "a[%d].v.i", "bool": "a[%d].v.i != 0", "string": "a[%d].v.s"}
    return [
        f"if (!({tag[a['kind']] % i})) [[unlikely]]",
        f'  return cold::scalar_kind("{op.name}", "{a["name"]}", "{NEEDS[a["kind"]]}", a[{i}].tag);',
        f"s.{a['name']} = {value[a['kind']] % i};",
    ]


def stating(op: Op) -> dict[str, str]:
    """The tensor that says what each type variable is: the first one that is always given, or else the first."""
    always = {a["dtype"]: a["name"] for a in reversed(op.tensors) if not a.get("optional")}
    return {a["dtype"]: a["name"] for a in reversed(op.tensors)} | always


def bind_tensor(i: int, a: dict, seen_dims: set[str], states: bool) -> list[str]:
    """Kind, rank, dtype, device, strides; then the dims that this tensor is the first to state."""
    lines = [
        f"if (opswap_status e = bind_tensor({spec_name(a)}, a[{i}], s.{a['name']}, s)) [[unlikely]]",
        "  return e;",
    ]
    if states:
        lines.append(f"s.{a['dtype']}_dtype = s.{a['name']}.dtype;")
    for d, dim in enumerate(a["shape"]):
        if is_symbol(dim) and dim not in seen_dims:
            seen_dims.add(dim)
            lines.append(f"s.{dim} = s.{a['name']}.shape[{d}];")
    if a.get("optional"):
        lines = [f"if (a[{i}].tag != OPSWAP_NONE) {{", *("  " + line for line in lines), "}"]
    return lines


def check_dtypes(op: Op) -> list[str]:
    """Tensors of one type variable have one dtype."""
    lines = []
    for a in op.tensors:
        if stating(op)[a["dtype"]] == a["name"]:
            continue
        variable, given = f"s.{a['dtype']}_dtype", f"s.{a['name']} && " if a.get("optional") else ""
        lines += [
            f"if ({given}s.{a['name']}.dtype != {variable}) [[unlikely]]",
            f'  return cold::dtype_differs({spec_name(a)}, s.{a["name"]}.dtype, "{a["dtype"]}", {variable});',
        ]
    return lines


def check_shapes(op: Op) -> list[str]:
    lines, stated = [], set()
    for a in op.tensors:
        checks = []
        for d, dim in enumerate(a["shape"]):
            if is_symbol(dim) and dim not in stated:
                stated.add(dim)
                continue
            value = expression(dim)
            checks += [
                f"if (s.{a['name']}.shape[{d}] != {value}) [[unlikely]]",
                f'  return cold::shape({spec_name(a)}, {d}, s.{a["name"]}.shape[{d}], "{dim}", {value});',
            ]
        if checks and a.get("optional"):
            checks = [f"if (s.{a['name']}) {{", *("  " + c for c in checks), "}"]
        lines += checks
    return lines


def check_requirements(op: Op) -> list[str]:
    lines = []
    kinds = {a["name"]: a["kind"] for a in op.args}
    for text in op.data.get("require", []):
        names = list(dict.fromkeys(n for n in re.findall(r"[A-Za-z_][A-Za-z0-9_]*", text) if n not in WORDS))
        formats = ", ".join(f"{n} is {'%g' if kinds.get(n) == 'float' else '%lld'}" for n in names)
        values = ", ".join(f"s.{n}" if kinds.get(n) == "float" else f"static_cast<long long>(s.{n})" for n in names)
        lines += [
            f"if (!({expression(text)})) [[unlikely]] {{",
            "  char facts[200];",
            f'  std::snprintf(facts, sizeof facts, "{formats}", {values});',
            f'  return cold::require("{op.name}", "{text}", facts);',
            "}",
        ]
    return lines


def check_overlap(op: Op) -> list[str]:
    lines = []
    for i, w in enumerate(op.tensors):
        for k, other in enumerate(op.tensors):
            if not w.get("writes") or i == k or (other.get("writes") and k < i):
                continue
            pair = f"{spec_name(w)}, s.{w['name']}, {spec_name(other)}, s.{other['name']}"
            lines += [f"if (opswap_status e = check_apart({pair})) [[unlikely]]", "  return e;"]
    return lines


def check_values(op: Op) -> list[str]:
    lines = []
    for a in op.tensors:
        if "values" in a:
            low, high = expression(a["values"]["min"]), expression(a["values"]["max"])
            lines += [
                f"if (opswap_status e = check_values({spec_name(a)}, s.{a['name']}, {low}, {high})) [[unlikely]]",
                "  return e;",
            ]
    return ["if (s.device_type == kDLCPU) {", *("  " + line for line in lines), "}"] if lines else []


def check_alike(op: Op) -> list[str]:
    """A dtype that two type variables may have is the same of both."""
    lines = []
    for name, other in op.data.get("alike", {}).items():
        mask = " | ".join(f"dtype_bit(DType::{d})" for d in op.data["types"][other])
        arg = next(a for a in op.tensors if a["dtype"] == name)
        lines += [
            f"if (s.{name}_dtype != s.{other}_dtype && (dtype_bit(s.{name}_dtype) & ({mask}))) [[unlikely]]",
            f'  return cold::dtype_differs({spec_name(arg)}, s.{name}_dtype, "{other}", s.{other}_dtype);',
        ]
    return lines


def bind(op: Op) -> list[str]:
    seen_dims: set[str] = set()
    mixed = any(a.get("host") for a in op.tensors)
    body = [f"bind_device(a, {len(op.args) if mixed else 1}, s);"]
    for i, a in enumerate(op.args):
        states = stating(op).get(a.get("dtype")) == a["name"]
        body += bind_tensor(i, a, seen_dims, states) if a["kind"] == "tensor" else bind_scalar(op, i, a)
    body += (
        check_dtypes(op)
        + check_alike(op)
        + check_shapes(op)
        + check_requirements(op)
        + check_overlap(op)
        + check_values(op)
    )
    return [
        f"namespace bind_{op.name} {{",
        *spec_table(op),
        "static opswap_status bind(const opswap_arg *a, void *out) {",
        f"  {op.name}_args &s = *new (out) {op.name}_args{{}};",
        *("  " + line for line in body),
        "  return OPSWAP_OK;",
        "}",
        f"}}  // namespace bind_{op.name}",
        f"static_assert(sizeof({op.name}_args) <= kArgsRoom && std::is_trivially_destructible_v<{op.name}_args>);",
    ]


def room_header(op: Op) -> str:
    """What the room's cpu.cpp includes: the checked arguments."""
    lines = [
        "#pragma once",
        '#include "types.h"',
        "namespace opswap {",
        f"// {op.data['summary']}",
        *struct(op),
        "}  // namespace opswap",
    ]
    return "\n".join(lines) + "\n"


def chunks(text: str, size: int = 8000) -> str:
    """A long JSON text as adjacent string literals."""
    return "\n".join(json.dumps(text[i : i + size], ensure_ascii=True) for i in range(0, len(text), size))


def quantized_table(op: Op) -> list[str]:
    """Which arguments may be given as one quantised argument."""
    index = {a["name"]: i for i, a in enumerate(op.args)}
    rows = [f'{{"{q["layout"]}", {index[q["data"]]}, {index[q["scale"]]}}}' for q in op.data.get("quantized", [])]
    return [f"static constexpr QuantizedSpec k_{op.name}_quantized[] = {{{', '.join(rows)}}};"] if rows else []


def bucket(op: Op) -> list[str]:
    """The shape bucket of checked arguments (native/core/shape_bucket.h)."""
    dtype = f"s.{next(iter(op.data['types']))}_dtype"
    return [
        f"static uint64_t bucket_{op.name}(const void *args) {{",
        f"  const {op.name}_args &s = *static_cast<const {op.name}_args *>(args);",
        f"  return shape_bucket({dtype}, {{{', '.join(f's.{d}' for d in op.dims)}}});",
        "}",
    ]


def flag(value: object) -> str:
    return "true" if value else "false"


def arg_row(op: Op, a: dict) -> str:
    """One ArgSpec, member by member."""
    index, slots = op.blocks(a) or (None, None)
    at = [arg["name"] for arg in op.args].index(index) if index else -1
    dim = a["shape"].index(slots) if slots else -1
    flags = ", ".join(flag(a.get(key)) for key in ("writes", "reads", "host"))
    return f'{{"{a["name"]}", {flags}, {at}, {dim}}}'


def tables(op: Op) -> list[str]:
    """What core asks of an op at run time: its arguments, tolerances, symbols and toggle classes."""
    args = ", ".join(arg_row(op, a) for a in op.args)
    rows = [
        f"{{DType::{d}, {t['atol']}, {t['rtol']}, {t.get('equal_ratio', 0)}}}" for d, t in op.data["tolerance"].items()
    ]
    symbols = ", ".join(f'"{d}"' for d in op.dims)
    costs = op.data.get("batch_invariant", {})
    invariants = ", ".join(f"{{{json.dumps(impl)}, {json.dumps(cost)}}}" for impl, cost in costs.items())
    toggles = ", ".join(f'{{"{impl}", "{value}"}}' for impl, value in op.toggles.items())
    return [
        f"static constexpr std::array<ToggleSpec, {len(op.toggles)}> k_{op.name}_toggles = {{{{{toggles}}}}};",
        f"static constexpr std::array<InvariantSpec, {len(costs)}> k_{op.name}_invariants = {{{{{invariants}}}}};",
        f"static constexpr ArgSpec k_{op.name}_args[] = {{{args}}};",
        f"static constexpr std::array<Tolerance, {len(rows)}> k_{op.name}_tolerances = {{{{{', '.join(rows)}}}}};",
        f"static constexpr std::array<const char *, {len(op.dims)}> k_{op.name}_symbols = {{{{{symbols}}}}};",
        f'static_assert(k_{op.name}_symbols.size() <= kBucketSymbols, "{op.name} has more symbols than a bucket");',
    ]


def op_row(op: Op) -> str:
    """One OpSpec, member by member."""
    name, quantized = op.name, len(op.data.get("quantized", []))
    members = [
        f'"{name}"',
        op.data["version"],
        len(op.args),
        f"bind_{name}::bind",
        f"bucket_{name}",
        f"k_{name}_args",
        f"k_{name}_quantized" if quantized else "nullptr",
        quantized,
        f"k_{name}_tolerances.data()",
        len(op.data["tolerance"]),
        f"k_{name}_symbols.data()",
        len(op.dims),
        f'"{op.toggle_class}"',
        f"k_{name}_toggles.data()",
        len(op.toggles),
        f"k_{name}_invariants.data()",
        len(op.data.get("batch_invariant", {})),
    ]
    return f"{{{', '.join(map(str, members))}}}"


def registry_source(root: Path, ops: list[Op], manifest: dict) -> str:
    lines = [f'#include "{o.name}.gen.h"' for o in ops]
    lines += [
        "#include <array>",
        "#include <cstdio>",
        "#include <new>",
        "#include <type_traits>",
        '#include "check.h"',
        '#include "evidence_file.h"',
        '#include "registry.h"',
        '#include "shape_bucket.h"',
        '#include "sm90.h"',
        "namespace opswap {",
    ]
    for op in ops:
        lines += bind(op)
    lines += sm90.glue_of_all(ops, root)
    for op in ops:
        lines += quantized_table(op) + tables(op) + bucket(op)
    rows = ",\n".join(f"    {op_row(o)}" for o in ops)
    pack = manifest["pack"]
    lines += [
        f"const OpSpec kOps[] = {{\n{rows}}};",
        f"const int32_t kOpCount = {len(ops)};",
        *sm90.sources_table(ops, root),
        f'const char kBuildDigest[] = "{pack["build_digest"]}";',
        f'const char kPackVersion[] = "{pack["version"]}";',
        f"const char kManifest[] =\n{chunks(json.dumps(manifest, separators=(',', ':')))};",
        "}  // namespace opswap",
    ]
    return "\n".join(lines) + "\n"
