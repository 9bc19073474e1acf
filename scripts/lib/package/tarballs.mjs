// The npm packages: `opswap`, which is JavaScript alone, and the one with addon and library, which npm chooses by platform.
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, sep } from "node:path";
import { logged } from "../exec.mjs";
import { distDir, root } from "../paths.mjs";
import { SetupError } from "../ui.mjs";
import { writeTypes } from "./types.mjs";

/** @typedef {{ name: string, file: string, bytes: number }} Tarball */

const NATIVE = { name: "@opswap/native-linux-x64", os: ["linux"], cpu: ["x64"], libc: ["glibc"] };
/** Both together are not larger. */
const LIMIT_MB = 12;
/** Modules that others import, by the name that they import them by. */
const MODULES = {
  ".": { source: "client/index.ts", types: "client.d.ts", code: "dist/client/index.js" },
  "./convert": { source: "convert/index.ts", types: "convert.d.ts", code: "dist/convert/index.js" },
};
/** What a checkout alone uses: `npm start`, maps of the sources, the compiled code of earlier runs. */
const NOT_GIVEN = new RegExp(`\\.map$|\\${sep}\\.built-from$|\\${sep}(demo|compiled)$`);

function project() {
  return JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
}

/** Packages that dist/ asks for when it runs; the others are inside it. @param {Record<string, string>} dependencies */
async function neededBeside(dependencies) {
  const { external } = await import("../../../rolldown.config.mjs");
  const names = Object.keys(dependencies).filter((name) => external.includes(name));
  return Object.fromEntries(names.map((name) => [name, dependencies[name]]));
}

function exported() {
  const entries = Object.entries(MODULES).map(([name, { types, code }]) => [
    name,
    { types: `./dist/types/${types}`, default: `./${code}` },
  ]);
  return { ...Object.fromEntries(entries), "./package.json": "./package.json" };
}

/** @param {string} folder @param {object} description of package.json, beside what both packages say */
function describe(folder, description) {
  const { version, license, engines, type } = project();
  const text = JSON.stringify({ version, license, type, engines, ...description }, null, 2);
  writeFileSync(join(folder, "package.json"), `${text}\n`);
  for (const file of ["LICENSE", "NOTICE"]) cpSync(join(root, file), join(folder, file));
}

/** @param {string} folder */
async function fillMain(folder) {
  const { name, description, version, bin, dependencies } = project();
  cpSync(distDir, join(folder, "dist"), { recursive: true, filter: (file) => !NOT_GIVEN.test(file) });
  mkdirSync(join(folder, "dist/types"));
  writeTypes(
    Object.fromEntries(Object.values(MODULES).map(({ types, source }) => [types, source])),
    join(folder, "dist/types"),
  );
  cpSync(join(root, "README.md"), join(folder, "README.md"));
  describe(folder, {
    ...{ name, description, bin, exports: exported() },
    dependencies: await neededBeside(dependencies),
    optionalDependencies: { [NATIVE.name]: version },
  });
}

/** @param {string} folder @param {string} native */
async function fillNative(folder, native) {
  const binaries = ["opswap.node", "libopswap.so"];
  for (const file of binaries) cpSync(join(native, file), join(folder, file));
  const { description } = project();
  describe(folder, {
    ...NATIVE,
    description: `${description}: native code for linux-x64`,
    type: "commonjs",
  });
}

/**
 * npm gives all files one time, so the same files make the same bytes.
 * @param {string} name @param {string} out @param {(folder: string) => Promise<void>} fill @returns {Promise<Tarball>}
 */
async function pack(name, out, fill) {
  const folder = mkdtempSync(join(tmpdir(), "opswap-pack-"));
  try {
    await fill(folder);
    const args = ["pack", "--ignore-scripts", "--pack-destination", out];
    await logged(`pack-${basename(name)}`, "npm", args, { cwd: folder });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const file = join(out, `${name.replace("@", "").replace("/", "-")}-${project().version}.tgz`);
  return { name, file, bytes: statSync(file).size };
}

/** @param {Tarball[]} tarballs */
function checkSizes(tarballs) {
  const bytes = tarballs.reduce((sum, tarball) => sum + tarball.bytes, 0);
  if (bytes <= LIMIT_MB * 1e6) return;
  throw new SetupError(`the tarballs take ${(bytes / 1e6).toFixed(1)} MB together, and may take ${LIMIT_MB}`);
}

/**
 * Makes both from a build.
 * @param {{ native: string, out: string }} where `native` has opswap.node and libopswap.so; the tarballs go to `out`
 * @returns {Promise<Tarball[]>}
 */
export async function makeTarballs({ native, out }) {
  mkdirSync(out, { recursive: true });
  const tarballs = [
    await pack(project().name, out, fillMain),
    await pack(NATIVE.name, out, (folder) => fillNative(folder, native)),
  ];
  checkSizes(tarballs);
  return tarballs;
}
