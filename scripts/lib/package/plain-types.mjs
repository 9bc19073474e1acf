// Writes types out that a library infers, so that whoever reads the declarations needs no such library.
import ts from "typescript";

/** @typedef {{ checker: ts.TypeChecker, source: ts.SourceFile }} Where */

/** Types that are said in one word. */
const WORDS = [
  ...[
    ts.TypeFlags.Any,
    ts.TypeFlags.Unknown,
    ts.TypeFlags.Null,
    ts.TypeFlags.Undefined,
    ts.TypeFlags.Literal,
  ],
  ...[ts.TypeFlags.String, ts.TypeFlags.Number, ts.TypeFlags.BigInt, ts.TypeFlags.Boolean],
].reduce((all, flag) => all | flag);

/** A type that the declarations name. @param {Where} where @param {ts.Type} type */
function nameIn({ source }, type) {
  const symbol = type.aliasSymbol ?? type.symbol;
  const declared = symbol?.declarations?.[0];
  const named = declared && (ts.isTypeAliasDeclaration(declared) || ts.isInterfaceDeclaration(declared));
  return named && declared.getSourceFile() === source && !type.aliasTypeArguments ? symbol?.name : undefined;
}

/** @param {Where} where @param {ts.Type} type */
function members(where, type) {
  const { checker, source } = where;
  const properties = type.getProperties().map((property) => {
    const optional = property.flags & ts.SymbolFlags.Optional ? "?" : "";
    const key = /^[A-Za-z_$][\w$]*$/.test(property.name) ? property.name : JSON.stringify(property.name);
    return `${key}${optional}: ${written(where, checker.getTypeOfSymbolAtLocation(property, source))}`;
  });
  const indexed = checker
    .getIndexInfosOfType(type)
    .map((info) => `[key: ${checker.typeToString(info.keyType)}]: ${written(where, info.type)}`);
  const all = [...properties, ...indexed];
  if (all.length === 0) throw new Error(`cannot see into the type ${checker.typeToString(type)}`);
  return `{ ${all.join("; ")} }`;
}

/** @param {string[]} parts */
function union(parts) {
  const whole = parts.includes("true") && parts.includes("false");
  const plain = parts.map((part) => (whole && /^(true|false)$/.test(part) ? "boolean" : part));
  return [...new Set(plain)].join(" | ");
}

/** @param {Where} where @param {ts.Type} type @returns {string} */
function written(where, type) {
  const { checker } = where;
  const name = nameIn(where, type);
  if (name !== undefined) return name;
  if (type.flags & WORDS) return checker.typeToString(type);
  if (type.isUnion()) return union(type.types.map((one) => written(where, one)));
  const parts = checker.getTypeArguments(/** @type {ts.TypeReference} */ (type));
  if (checker.isArrayType(type)) return `Array<${parts.map((part) => written(where, part)).join()}>`;
  if (checker.isTupleType(type)) return `[${parts.map((part) => written(where, part)).join(", ")}]`;
  if (!(type.flags & ts.TypeFlags.Object) || type.getCallSignatures().length > 0)
    throw new Error(`cannot write out the type ${checker.typeToString(type)}`);
  return members(where, type);
}

/** The same alias without the library. @param {Where} where @param {ts.TypeAliasDeclaration} alias */
export function plainAlias(where, alias) {
  const type = where.checker.getTypeFromTypeNode(alias.type);
  const modifiers = alias.modifiers?.map((modifier) => `${modifier.getText()} `).join("") ?? "";
  const plain = type.isUnion() ? written(where, type) : members(where, type);
  return `\n${modifiers}type ${alias.name.text} = ${plain};`;
}
