"""Reads kernels/*/op.json, checks every declaration, and derives what all outputs share: dims, schema, hash."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from card.evidence.choices import type_choices

SYMBOL = re.compile(r"[A-Z][A-Z0-9]*")
IDENTIFIER = re.compile(r"[a-z][a-z0-9_]*")
FORMULA = re.compile(r"[A-Z0-9 +*/%()-]+")
BLOCKS = re.compile(r"([a-z][a-z0-9_]*)(?: / ([A-Z][A-Z0-9]*))?")
EXPRESSION = re.compile(r"[A-Za-z0-9_ +*/%()<>=!|&.-]+")
KINDS = {"tensor", "float", "int", "bool", "string"}
#: Names by which the macros of kernels/common register what a room has.
IMPLEMENTATIONS = {"ref", "cpu", "composed", "sm90"}
TOGGLE_CLASSES = {"live", "recapture", "restart"}
ARG_KEYS = {
    "name", "kind", "dtype", "shape", "doc", "writes", "reads", "optional", "dense", "values", "default", "host",
}  # fmt: skip
OP_KEYS = {
    "op", "version", "summary", "source", "types", "args", "require", "tolerance", "toggle_class", "composes",
    "cases", "bench", "floor", "instances", "quantized", "sanitize", "blocks",
    "batch_invariant", "alike",
}  # fmt: skip


#: Element types of kernels/common/device by dtype.
SCALARS = {
    "float32": "float",
    "bfloat16": "bf16",
    "float16": "fp16",
    "float8_e4m3fn": "e4m3",
    "float8_e5m2": "e5m2",
    "float64": "double",
}


class SpecError(Exception):
    """A declaration that cannot be built; the message names the file and what it needs."""


@dataclass
class Op:
    """One op.json: its data, and what the generator derives from it."""

    data: dict
    path: Path
    dims: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.data["op"]

    @property
    def args(self) -> list[dict]:
        return self.data["args"]

    @property
    def tensors(self) -> list[dict]:
        return [a for a in self.args if a["kind"] == "tensor"]

    def blocks(self, arg: dict) -> tuple[str, str | None] | None:
        """The argument that says which entries of a tensor's first dimension a call touches, and the dimension whose
        slots it counts, or None where it counts the entries; None where a call may touch all of the tensor."""
        said = self.data.get("blocks", {}).get(arg["name"])
        match = BLOCKS.fullmatch(said) if said else None
        return (match[1], match[2]) if match else None

    @property
    def type_choices(self) -> list[dict[str, str]]:
        """Every combination of dtypes that the op takes."""
        return type_choices(self.data)

    @property
    def toggle_class(self) -> str:
        """What a switch of an implementation takes that `toggles` does not name."""
        said = self.data["toggle_class"]
        return said["default"] if isinstance(said, dict) else said

    @property
    def toggles(self) -> dict[str, str]:
        """The toggle class by implementation, where it is another one."""
        said = self.data["toggle_class"]
        return {impl: c for impl, c in said.items() if c != self.toggle_class} if isinstance(said, dict) else {}

    @property
    def kernel_files(self) -> list[Path]:
        return kernel_files(self.path.parent)

    @property
    def schema(self) -> str:
        return torch_schema(self)

    @property
    def hash(self) -> str:
        """Digest of everything a caller relies on: name, version, arguments."""
        text = json.dumps([self.name, self.data["version"], self.data["types"], self.args], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def kernel_files(room: Path) -> list[Path]:
    """The CUDA files of a room that are compiled: `sm90.cu`, or every .cu of `sm90/`; not every room has kernels."""
    single, folder = room / "sm90.cu", sorted((room / "sm90").glob("*.cu"))
    require(not (single.exists() and folder), room, "has kernels in sm90.cu and in sm90/; needs them in one of the two")
    return [single] if single.exists() else folder


def torch_schema(op: Op) -> str:
    """The op as torch.library writes it; written tensors carry an alias letter, nothing is returned."""
    letters = iter("abcdefghijklmnop")
    parts = []
    for a in op.args:
        kind = {"float": "float", "int": "int", "bool": "bool", "string": "str"}.get(a["kind"], "Tensor")
        if a.get("writes"):
            kind += f"({next(letters)}!)"
        if a.get("optional"):
            kind += "?"
        default = f"={a['default']}" if "default" in a else ""
        parts.append(f"{kind} {a['name']}{default}")
    return f"{op.name}({', '.join(parts)}) -> ()"


def access(arg: dict) -> str:
    """How a tensor is written, in words; nothing when it is not."""
    if not arg.get("writes"):
        return ""
    reads = arg.get("reads")
    return "written" if not reads else "written in place" if reads is True else f"written, in place if {reads}"


def symbols(expression: str) -> list[str]:
    return SYMBOL.findall(expression)


def is_symbol(expression: str) -> bool:
    return SYMBOL.fullmatch(expression) is not None


def require(condition: bool, path: Path, message: str) -> None:
    if not condition:
        raise SpecError(f"{path}: {message}")


def check_arg(op: Op, arg: dict, dtypes: set[str]) -> None:
    where = f"argument {arg.get('name', arg)}"
    unknown = set(arg) - ARG_KEYS
    require(not unknown, op.path, f"{where} has unknown keys {sorted(unknown)}; known are {sorted(ARG_KEYS)}")
    require(bool(IDENTIFIER.fullmatch(arg.get("name", ""))), op.path, f"{where} needs a lower-case name")
    require(arg.get("kind") in KINDS, op.path, f"{where} has kind {arg.get('kind')}, needs one of {sorted(KINDS)}")
    require(bool(arg.get("doc")), op.path, f"{where} needs a doc")
    if arg["kind"] != "tensor":
        return
    require(arg.get("dtype") in op.data["types"], op.path, f"{where} needs a dtype out of 'types'")
    require(bool(arg.get("shape")), op.path, f"{where} needs a shape")
    check_reads(op, arg)
    for name in op.data["types"][arg["dtype"]]:
        require(name in dtypes, op.path, f"type {arg['dtype']} has dtype {name}, known are {sorted(dtypes)}")


def check_reads(op: Op, arg: dict) -> None:
    """Whether old values are used: true, or a condition over the scalars when it depends on them."""
    reads = arg.get("reads", True)
    scalars = {a["name"] for a in op.args if a.get("kind") != "tensor"}
    known = isinstance(reads, str) and set(re.findall(r"[A-Za-z_]\w*", reads)) - {"and", "or"} <= scalars
    require(reads is True or known, op.path, f"argument {arg['name']} needs reads true, or a condition over scalars")


def check_floor(op: Op) -> None:
    floor = op.data.get("floor", {})
    unknown = set(floor) - {"flops", "touched"}
    require(not unknown, op.path, f"floor has unknown keys {sorted(unknown)}; known are flops and touched")
    touched = floor.get("touched", {})
    rows = [part for part in touched.values() if not isinstance(part, str)]
    require(all(set(part) == {"rows", "of"} for part in rows), op.path, "floor.touched needs a formula or rows and of")
    for name in [*touched, *(part["rows"] for part in rows)]:
        require(name in {a["name"] for a in op.tensors}, op.path, f"floor.touched names '{name}', which is no tensor")
    bound = {s for a in op.tensors for dim in a["shape"] for s in symbols(dim)}
    formulas = [part if isinstance(part, str) else part["of"] for part in touched.values()]
    for text in [*formulas, *([floor["flops"]] if "flops" in floor else [])]:
        require(bool(FORMULA.fullmatch(text)), op.path, f"floor '{text}' has characters outside the grammar")
        loose = set(symbols(text)) - bound
        require(not loose, op.path, f"floor '{text}' uses {sorted(loose)}, which no shape has")


def check_blocks(op: Op) -> None:
    """Tensors that a call reaches at the entries alone that an index names: {"cache": "slots / BS"}. A call on fewer
    entries is then the same call with the index renumbered, so nothing else may depend on how many there are."""
    named = op.data.get("blocks", {})
    for name, said in named.items():
        check_block(op, name, said)
    counts = {a["name"]: a["shape"][0] for a in op.tensors}
    for name, said in named.items():
        count, index = counts[name], said.split()[0]
        alike = [a["name"] for a in op.tensors if count in {s for dim in a["shape"] for s in symbols(dim)}]
        alike += [other for other, text in named.items() if text.split()[0] == index]
        apart = sorted({other for other in alike if (named.get(other), counts[other]) != (said, count)})
        require(is_symbol(count) and not apart, op.path, f"blocks: {apart or count} must be cut as {name} is")
        free = not any(count in symbols(text) for text in op.data.get("require", []))
        require(free, op.path, f"blocks: a requirement names {count}, which a smaller call has smaller")


def check_block(op: Op, name: str, said: str) -> None:
    """One tensor, and what is said of it."""
    tensors, match = {a["name"]: a for a in op.tensors}, BLOCKS.fullmatch(said)
    require(bool(match), op.path, f"blocks of {name} is '{said}', needs 'index' or 'index / SYMBOL'")
    arg, index, slots = tensors.get(name), tensors.get(match[1]), match[2]
    lost = f"blocks of {name} is '{said}', but one of them is no tensor"
    require(arg is not None and index is not None and arg is not index, op.path, lost)
    integers = {"int32", "int64"}.issuperset(op.data["types"][index["dtype"]])
    plain = integers and len(index["shape"]) <= 2 and not index.get("writes")
    require(plain, op.path, f"blocks: {match[1]} needs to be integers of at most two dimensions, and only read")
    kept = not arg.get("writes") or arg.get("reads") is True
    require(kept, op.path, f"blocks: {name} is written, needs reads true")
    require(slots is None or slots in arg["shape"][1:], op.path, f"blocks: {name} has no dimension {slots}")


def check_quantized(op: Op) -> None:
    """Two tensors that a caller may give as one quantised argument: {"layout": id, "data": name, "scale": name}."""
    names = {a["name"] for a in op.tensors}
    for row in op.data.get("quantized", []):
        require(set(row) == {"layout", "data", "scale"}, op.path, "quantized needs layout, data and scale")
        lost = {row["data"], row["scale"]} - names
        require(not lost, op.path, f"quantized names {sorted(lost)}, which is no tensor")


def check_instances(op: Op) -> None:
    """What kernels are compiled for: once for each dtype of one type variable, or once, in rooms that move bits."""
    there = "instances" in op.data or not op.kernel_files
    require(there, op.path, "has kernels and needs the key 'instances': the dtypes that they are compiled for")
    instances = op.data.get("instances", {})
    require(len(instances) <= 1, op.path, f"instances names {sorted(instances)}, needs at most one type variable")
    for variable, dtypes in instances.items():
        known = op.data["types"].get(variable, [])
        require(bool(known), op.path, f"instances names '{variable}', which is no type variable")
        lost = [d for d in dtypes if d not in known or d not in SCALARS]
        require(bool(dtypes) and not lost, op.path, f"instances of {variable} has {lost}, needs some of {known}")


def check_alike(op: Op) -> None:
    """Pairs of type variables, the second one stated by an earlier argument."""
    order = list(dict.fromkeys(a["dtype"] for a in op.tensors if not a.get("optional")))
    for pair in op.data.get("alike", {}).items():
        known = set(pair) <= set(order) and order.index(pair[1]) < order.index(pair[0])
        require(known, op.path, f"alike names {pair}, needs two type variables, the second given before the first")


def check_toggle_class(op: Op) -> None:
    """One class for all implementations, or {"default": class, IMPLEMENTATION: class}."""
    said = op.data["toggle_class"]
    classes = said if isinstance(said, dict) else {"default": said}
    require("default" in classes, op.path, "toggle_class needs the key 'default', beside the implementations it names")
    lost = set(classes) - IMPLEMENTATIONS - {"default"}
    names = sorted(IMPLEMENTATIONS)
    require(not lost, op.path, f"toggle_class names {sorted(lost)}, which a room does not have; it may have {names}")
    for impl, value in classes.items():
        one_of = f"one of {sorted(TOGGLE_CLASSES)}"
        require(value in TOGGLE_CLASSES, op.path, f"toggle_class of {impl} is {value!r}, needs to be {one_of}")


def check_op(op: Op, dtypes: set[str]) -> None:
    data, path = op.data, op.path
    unknown = set(data) - OP_KEYS
    require(not unknown, path, f"unknown keys {sorted(unknown)}; known are {sorted(OP_KEYS)}")
    for key in ("op", "version", "summary", "source", "types", "args", "tolerance", "toggle_class", "cases"):
        require(key in data, path, f"needs the key '{key}'")
    require(data["op"] == path.parent.name, path, f"names the op {data['op']}, but lies in {path.parent.name}/")
    require(isinstance(data["version"], int) and data["version"] > 0, path, "version needs to be an integer above 0")
    check_toggle_class(op)
    require(data.get("sanitize", False) in (True, False), path, "sanitize needs to be true or false")
    costs = data.get("batch_invariant", {})
    asked = any(a["name"] == "batch_invariant" for a in data.get("args", []))
    texts = isinstance(costs, dict) and all(isinstance(t, str) and 0 < len(t) <= 240 for t in costs.values())
    require(texts and (asked or not costs), path, "batch_invariant needs a text of its cost for each implementation")
    require(bool(data["cases"]), path, "needs at least one case")
    for arg in op.args:
        check_arg(op, arg, dtypes)
    check_floor(op)
    check_blocks(op)
    check_instances(op)
    check_alike(op)
    check_quantized(op)
    names = [a["name"] for a in op.args]
    require(len(names) == len(set(names)), path, "two arguments have one name")
    require(bool(op.tensors) and not op.args[0].get("optional"), path, "the first argument needs to be a given tensor")
    for expression in data.get("require", []):
        require(
            bool(EXPRESSION.fullmatch(expression)), path, f"require '{expression}' has characters outside the grammar"
        )


def collect_dims(op: Op) -> list[str]:
    """Symbols in order of first appearance; one that appears only inside an expression cannot be bound."""
    bound: list[str] = []
    for a in op.tensors:
        bound += [s for s in a["shape"] if is_symbol(s) and s not in bound]
    for a in op.tensors:
        for dim in a["shape"]:
            for s in symbols(dim):
                require(s in bound, op.path, f"dimension {dim} of {a['name']} uses {s}, which no shape states alone")
    return bound


def read_table(path: Path) -> list[list[str]]:
    """Rows of an X-macro table: X(a, b, "c") as lists of strings."""
    rows = []
    for line in path.read_text().splitlines():
        match = re.fullmatch(r"X\((.*)\)", line.strip())
        if match:
            rows.append([c.strip().strip('"') for c in re.split(r',\s*(?=(?:[^"]*"[^"]*")*[^"]*$)', match[1])])
    return rows


def dtype_table(root: Path) -> list[str]:
    return [row[0].rstrip("_") for row in read_table(root / "native/core/dtypes.def")]


def load(root: Path) -> list[Op]:
    """All ops, by name."""
    dtypes = set(dtype_table(root))
    ops = []
    for path in sorted(root.glob("kernels/*/op.json")):
        try:
            op = Op(json.loads(path.read_text()), path)
        except json.JSONDecodeError as error:
            raise SpecError(f"{path}: is not JSON: {error}") from error
        check_op(op, dtypes)
        op.dims = collect_dims(op)
        ops.append(op)
    if not ops:
        raise SpecError(f"{root}/kernels: has no room with an op.json")
    return ops


def build_digest(root: Path) -> str:
    """sha256 over every source that the library is made of, names included. Python of kernels/ says what is right and
    what to compare with; it is no part of the library."""
    digest = hashlib.sha256()
    paths = [
        p for d in ("native/core", "native/include", "native/gen", "kernels", "evidence") for p in (root / d).rglob("*")
    ]
    for path in sorted(p for p in paths if p.suffix in {".h", ".cpp", ".cu", ".cuh", ".def", ".json", ".py"}):
        if path.suffix == ".py" and path.is_relative_to(root / "kernels"):
            continue
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def manifest(root: Path, ops: list[Op]) -> dict:
    """What the library carries and every reader sees (docs/manifest.md)."""
    version = json.loads((root / "package.json").read_text())["version"]
    keep = (
        "version",
        "summary",
        "source",
        "types",
        "alike",
        "args",
        "require",
        "tolerance",
        "composes",
        "quantized",
    )
    return {
        "schema": 1,
        "pack": {"name": "opswap", "version": version, "build_digest": build_digest(root)},
        "dtypes": dtype_table(root),
        "errors": [
            {"code": int(n), "name": name, "meaning": meaning, "remedy": remedy}
            for n, name, meaning, remedy in read_table(root / "native/core/errors.def")
        ],
        "ops": [
            {
                "op": o.name,
                "schema": o.schema,
                "hash": o.hash,
                "symbols": o.dims,
                **{k: o.data[k] for k in keep if k in o.data},
                "toggle_class": o.toggle_class,
                **({"toggle_classes": o.toggles} if o.toggles else {}),
            }
            for o in ops
        ],
    }
