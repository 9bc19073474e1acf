"""Writes what messages.json says in the other places where it is read: TypeScript types with zod schemas, and the
protocol page. Standard library only, so it runs before any environment exists.

    python3 ipc/generate.py            write the files
    python3 ipc/generate.py --check    write nothing; exit 1 when a file is stale
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "ipc" / "messages.json"
TYPESCRIPT = ROOT / "ts-client" / "src" / "generated" / "messages.ts"
PAGE = ROOT / "docs" / "protocol.md"
WIDTH = 110

Spec = dict[str, Any]
SCALARS = {
    "string": "string",
    "int": "number",
    "int64": "number | bigint",
    "float": "number",
    "bool": "boolean",
    "null": "null",
    "json": "unknown",
    "bytes": "Uint8Array",
}


def pascal(name: str) -> str:
    """`status_result` -> `StatusResult`."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def camel(name: str) -> str:
    """`StatusResult` -> `statusResult`."""
    return name[:1].lower() + name[1:]


def structs(spec: Spec) -> dict[str, Spec]:
    """Every named struct: the shared types, then request and result of each verb, then the envelope."""
    found = {name: body for name, body in spec["types"].items() if "fields" in body}
    for verb, body in spec["verbs"].items():
        found[f"{pascal(verb)}Request"] = {"doc": body["doc"], "fields": body["request"]}
        found[f"{pascal(verb)}Result"] = {"doc": f"Answer to `{verb}`.", "fields": body["result"]}
    found["Reply"] = {"doc": "What a server sends for each request.", "fields": spec["envelope"]["reply"]}
    return found


def ts_type(field: Spec) -> str:
    """The TypeScript type of a field, without its optional mark."""
    kind = field["type"]
    if kind == "list":
        inner = ts_type(field["of"])
        text = f"({inner})[]" if "|" in inner else f"{inner}[]"
    elif kind == "map":
        text = f"Record<string, {ts_type(field['of'])}>"
    elif kind == "enum":
        text = " | ".join(json.dumps(value) for value in field["values"])
    else:
        text = SCALARS.get(kind) or str(kind)
    return f"{text} | null" if field.get("nullable") else text


def zod_checks(field: Spec, kind: str, *more: str) -> str:
    """`.check(z.minLength(1), z.maxLength(8))` as far as the field states bounds of this kind."""
    names = {"length": ("minLength", "maxLength"), "value": ("minimum", "maximum")}[kind]
    bounds = zip(("min", "max"), names, strict=True)
    checks = [f"z.{check}({field[bound]})" for bound, check in bounds if bound in field] + list(more)
    return f".check({', '.join(checks)})" if checks else ""


def zod_type(field: Spec, limits: Spec) -> str:
    """The zod expression that accepts exactly what the field declares."""
    kind = field["type"]
    if kind == "string":
        bounded = {"max": limits["string"]["value"], **field}
        pattern = [f"z.regex(/{field['pattern']}/)"] if "pattern" in field else []
        text = f"z.string(){zod_checks(bounded, 'length', *pattern)}"
    elif kind == "list":
        bounded = {"max": limits["list"]["value"], **field}
        text = f"z.array({zod_type(field['of'], limits)}){zod_checks(bounded, 'length')}"
    elif kind == "map":
        text = f"z.record(z.string(), {zod_type(field['of'], limits)})"
    elif kind == "enum":
        text = f"z.enum({json.dumps(field['values'])})"
    elif kind in SCALARS:
        text = {
            "int": f"z.int(){zod_checks(field, 'value')}",
            "int64": "z.union([z.int(), z.bigint()])",
            "float": f"z.number(){zod_checks(field, 'value')}",
            "bool": "z.boolean()",
            "null": "z.null()",
            "bytes": f"z.instanceof(Uint8Array).check(z.refine((b) => b.length <= {field.get('max')}))",
            "json": "z.unknown()",
        }[kind]
    else:
        text = f"{camel(kind)}()"
    text = f"z.nullable({text})" if field.get("nullable") else text
    return f"z.optional({text})" if field.get("optional") else text


def ts_schema(name: str, expression: list[str]) -> list[str]:
    """A schema that is made when it is first asked for."""
    first, *rest = expression
    return [f"export const {camel(name)} = once((): Schema<{name}> => {first}", *rest]


def ts_struct(name: str, body: Spec, limits: Spec) -> list[str]:
    """An interface and the schema that checks it."""
    if not body["fields"]:
        return [
            f"/** {body['doc']} */",
            f"export type {name} = Record<string, never>;",
            *ts_schema(name, ["z.object({}));"]),
            "",
        ]
    lines = [f"/** {body['doc']} */", f"export interface {name} {{"]
    for field_name, field in body["fields"].items():
        lines.append(f"  /** {field['doc']} */")
        mark, suffix = ("?", " | undefined") if field.get("optional") else ("", "")
        lines.append(f"  {field_name}{mark}: {ts_type(field)}{suffix};")
    members = [f"  {field_name}: {zod_type(field, limits)}," for field_name, field in body["fields"].items()]
    return [*lines, "}", *ts_schema(name, ["z.object({", *members, "}));"]), ""]


def ts_alias(name: str, body: Spec, limits: Spec) -> list[str]:
    """A named enumeration or union and its schema."""
    if "enum" in body:
        union = " | ".join(json.dumps(value) for value in body["enum"])
        schema = f"z.enum({json.dumps(body['enum'])})"
    else:
        union = " | ".join(ts_type(member) for member in body["union"])
        schema = f"z.union([{', '.join(zod_type(member, limits) for member in body['union'])}])"
    return [
        f"/** {body['doc']} */",
        f"export type {name} = {union};",
        *ts_schema(name, [f"{schema});"]),
        "",
    ]


def ts_tables(spec: Spec) -> list[str]:
    """Constants: protocol, limits, verbs with their types and schemas, and the remedy of each error."""
    verbs = spec["verbs"]
    lines = [f"export const PROTOCOL = {spec['protocol']};", ""]
    lines += ["/** Bounds that both ends keep to. */", "export const LIMITS = {"]
    for name, limit in spec["limits"].items():
        lines += [f"  /** {limit['doc']} */", f"  {name}: {limit['value']},"]
    lines += ["} as const;", "", "/** Request and result of each verb. */", "export interface Verbs {"]
    lines += [f"  {verb}: {{ request: {pascal(verb)}Request; result: {pascal(verb)}Result }};" for verb in verbs]
    lines += ["}", "export type Verb = keyof Verbs;", ""]
    lines += ["/** The schema of each verb's result. */"]
    lines += ['export const RESULTS: { [V in Verb]: () => Schema<Verbs[V]["result"]> } = {']
    lines += [f"  {verb}: {camel(pascal(verb))}Result," for verb in verbs]
    lines += ["};", "", "/** Verbs that each service answers. */"]
    lines += ["export const SERVICES: Record<Service, readonly Verb[]> = {"]
    lines += [f"  {name}: {json.dumps(names)}," for name, names in spec["services"].items()]
    lines += ["};", "", "/** What each error of the protocol means, and what to do. */", "export const ERRORS = {"]
    for code, error in spec["errors"].items():
        lines += [f"  {code}: {{", f"    meaning: {json.dumps(error['meaning'])},"]
        lines += [f"    remedy: {json.dumps(error['remedy'])},", "  },"]
    return [*lines, "} as const;", "export type ProtocolErrorCode = keyof typeof ERRORS;", ""]


TS_HEAD = """// Generated by ipc/generate.py from ipc/messages.json; do not edit.
import * as z from "zod/mini";

// The small zod has no words of its own for what is wrong.
z.config(z.locales.en());

export type Schema<T> = z.ZodMiniType<T>;

/** A command uses few of the schemas, and making all of them takes longer than its answer. */
function once<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => (made ??= make());
}
"""


def typescript(spec: Spec) -> str:
    """ts-client/src/generated/messages.ts."""
    limits = spec["limits"]
    lines = [TS_HEAD]
    for name, body in spec["types"].items():
        if "fields" not in body:
            lines += ts_alias(name, body, limits)
    for name, body in structs(spec).items():
        lines += ts_struct(name, body, limits)
    return "\n".join(lines + ts_tables(spec))


def references(fields: Any) -> set[str]:
    """Names of the declared types that these fields mention, at any depth."""
    named: set[str] = set()
    for field in fields:
        kind = field["type"]
        if kind in ("list", "map"):
            named |= references([field["of"]])
        elif kind not in SCALARS and kind != "enum":
            named.add(kind)
    return named


def md_type(field: Spec) -> str:
    """The type of a field for the protocol page."""
    kind = field["type"]
    if kind in ("list", "map"):
        text = f"{kind} of {md_type(field['of'])}"
    elif kind == "enum":
        text = ", ".join(f"`{value}`" for value in field["values"])
    else:
        text = kind
    bounds = [f"{name} {field[name]}" for name in ("min", "max") if name in field]
    text += f" ({', '.join(bounds)})" if bounds else ""
    return text + (" or null" if field.get("nullable") else "") + (", optional" if field.get("optional") else "")


def md_fields(fields: Spec) -> list[str]:
    """A table of fields, or a line that says there are none."""
    if not fields:
        return ["No fields.", ""]
    rows = [f"| `{name}` | {md_type(field)} | {field['doc']} |" for name, field in fields.items()]
    return ["| field | type | meaning |", "| --- | --- | --- |", *rows, ""]


PREAMBLE = """One MessagePack map in one ZeroMQ frame each way (DEALER to ROUTER) over `ipc://`. `hello` comes first on
every connection. Unknown keys are ignored; an unknown verb, a missing or wrong field, or a message over its bound is
refused with a code, a sentence and a remedy. Tensors never travel in a message: they lie in shared memory.

An engine listens on `<engine>.sock` in a [runtime folder](install.md#runtime-folders) and describes itself in
`<engine>.json` beside it: process, and `state`, which is `starting` until there is somebody to talk to, then `ready`.
It touches that file every second. The sidecar is called `sidecar`."""


def page(spec: Spec) -> str:
    """docs/protocol.md."""
    lines = ["<!-- Generated by ipc/generate.py from ipc/messages.json; do not edit. -->"]
    lines += [f"# The protocol, version {spec['protocol']}", "", PREAMBLE, "", "## Messages", "", "Request:", ""]
    lines += md_fields(spec["envelope"]["request"])
    lines += ["and the fields of the verb beside them. Reply:", "", *md_fields(spec["envelope"]["reply"])]
    lines += ["## Verbs", ""]
    for verb, body in spec["verbs"].items():
        served = " and ".join(name for name, verbs in spec["services"].items() if verb in verbs)
        lines += [f"### `{verb}` ({served})", "", body["doc"], "", "Request:", "", *md_fields(body["request"])]
        lines += ["Result:", "", *md_fields(body["result"])]
    lines += ["## Types", ""]
    for name, body in spec["types"].items():
        lines += [f"### {name}", "", body["doc"], ""]
        if "fields" in body:
            lines += md_fields(body["fields"])
        elif "enum" in body:
            lines += ["One of " + ", ".join(f"`{value}`" for value in body["enum"]) + ".", ""]
        else:
            lines += ["One of " + ", ".join(md_type(member) for member in body["union"]) + ".", ""]
    lines += ["## Bounds", "", "| name | value | meaning |", "| --- | --- | --- |"]
    lines += [f"| `{name}` | {limit['value']} | {limit['doc']} |" for name, limit in spec["limits"].items()]
    lines += ["", "## Errors", "", "Codes of the [native library](errors.md) pass through unchanged.", ""]
    lines += ["| code | meaning | what to do |", "| --- | --- | --- |"]
    lines += [f"| `{code}` | {error['meaning']} | {error['remedy']} |" for code, error in spec["errors"].items()]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Writes or checks both files; the exit status says whether anything was stale under --check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file is stale")
    check = parser.parse_args().check
    spec = json.loads(SOURCE.read_text("utf-8"))
    stale = []
    for path, text in ((TYPESCRIPT, typescript(spec)), (PAGE, page(spec))):
        if path.exists() and path.read_text("utf-8") == text:
            continue
        stale.append(str(path.relative_to(ROOT)))
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    if stale and check:
        sys.stderr.write(f"stale: {', '.join(stale)}; run: python3 ipc/generate.py\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
