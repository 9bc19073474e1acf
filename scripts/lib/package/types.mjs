// Declarations of the modules that others import, each in one file that needs no other package than Node's own types.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { generateDtsBundle } from "dts-bundle-generator";
import ts from "typescript";
import { root } from "../paths.mjs";
import { plainAlias } from "./plain-types.mjs";

/** @param {ts.Node} node whether its type is told by zod */
const namesZod = (node) => /(^|[^\w.])z\.(infer|Zod|core)/.test(node.getText());

/**
 * What stands in place of a statement: types that zod infers are written out, and the schemas are left out.
 * @param {ts.Statement} statement @param {import("./plain-types.mjs").Where} where
 */
function withoutZod(statement, where) {
  if (ts.isImportDeclaration(statement) && /['"]zod/.test(statement.moduleSpecifier.getText())) return "";
  if (!namesZod(statement)) return statement.getFullText();
  if (ts.isVariableStatement(statement)) return "";
  if (ts.isTypeAliasDeclaration(statement)) return plainAlias(where, statement);
  throw new Error(`of zod's types: ${statement.getText()}`);
}

/** The bundler leaves out imports of whole modules. */
const ZOD = 'import * as z from "zod/mini";\n';

/** @param {string} bundled declarations that may speak of zod @param {string} name of a file that could stand in the checkout */
export function plainTypes(bundled, name) {
  const text = /^import .*['"]zod/m.test(bundled) ? bundled : ZOD + bundled;
  const file = join(root, "ts-client/src", name);
  const options = {
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    strict: true,
  };
  const host = ts.createCompilerHost(options);
  const read = host.getSourceFile.bind(host);
  host.getSourceFile = (path, version) =>
    path === file ? ts.createSourceFile(path, text, version, true) : read(path, version);
  host.fileExists = (path) => path === file || ts.sys.fileExists(path);
  const program = ts.createProgram([file], options, host);
  const source = program.getSourceFile(file);
  if (source === undefined) throw new Error(`${file} was not read`);
  const where = { checker: program.getTypeChecker(), source };
  return source.statements.map((statement) => withoutZod(statement, where)).join("");
}

/** @param {Record<string, string>} entries source below ts-client/src for each file of declarations @param {string} folder that they go to */
export function writeTypes(entries, folder) {
  const libraries = { inlinedLibraries: [], allowedTypesLibraries: ["node"] };
  const asked = Object.values(entries).map((source) => ({
    filePath: join(root, "ts-client/src", source),
    libraries,
    output: { noBanner: true, exportReferencedTypes: false },
  }));
  const options = { preferredConfigPath: join(root, "tsconfig.json") };
  const texts = generateDtsBundle(asked, options);
  Object.keys(entries).forEach((name, at) => {
    writeFileSync(join(folder, name), `${plainTypes(texts[at] ?? "", name).trim()}\n`);
  });
}
