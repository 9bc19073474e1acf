// The gate on shipped binaries: what they need, which versions of the C and C++ runtimes, and what they export, all as
// readelf and nm tell it, against native/packaging/allowed.json and opswap.h.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { probe } from "../exec.mjs";
import { root } from "../paths.mjs";
import { SetupError } from "../ui.mjs";

/** @typedef {{ pattern: string, needed: string[], exports: string[] }} Allowed */
/** @typedef {{ versions: Record<string, string>, files: Allowed[] }} AllowList */
/** @typedef {{ needed: string[], versions: string[], exports: string[] }} Facts */

const TOO_NEW =
  "newer than native/packaging/allowed.json takes: build with the compiler of an older distribution";

/** All that is wrong is that this machine's C or C++ runtime is newer than a package may need. */
export class TooNewRuntime extends SetupError {}

/** @returns {AllowList} */
export function allowList() {
  return JSON.parse(readFileSync(join(root, "native/packaging/allowed.json"), "utf8"));
}

/** The C ABI as the header declares it. */
function abi() {
  const header = ["opswap.h", "opswap_builds.h", "opswap_plans.h"]
    .map((name) => readFileSync(join(root, "native/include", name), "utf8"))
    .join("");
  return [...header.matchAll(/^OPSWAP_API\b[^(;]*?\b(opswap_\w+)\(/gm)].map(([, name = ""]) => name);
}

/** @param {string} command @param {string[]} args */
async function lines(command, args) {
  const text = await probe(command, args);
  if (text === null)
    throw new SetupError(
      `${command} cannot read ${args.at(-1)}; on Debian or Ubuntu: sudo apt install binutils`,
    );
  return text.split("\n");
}

/** @param {string} file @returns {Promise<Facts>} */
export async function examineBinary(file) {
  const dynamic = (await lines("readelf", ["-dW", file])).join("\n");
  const symbols = (await lines("nm", ["-D", file])).map((line) => line.trim());
  const versions = (await lines("readelf", ["-VW", file])).join("\n").matchAll(/Name: ([A-Z]+_\w[\w.]*)/g);
  return {
    needed: [...dynamic.matchAll(/\(NEEDED\).*\[(.+)\]/g)].map(([, name = ""]) => name),
    versions: [...new Set([...versions].map(([, name = ""]) => name))],
    exports: symbols
      .filter((line) => /^[0-9a-f]+ [A-TV-Z] /.test(line))
      .map((line) => line.split(" ")[2] ?? ""),
  };
}

/** @param {string} a @param {string} b @returns {number} above 0 when `a` is the newer one */
export function compareVersions(a, b) {
  const [left, right] = [a, b].map((text) => text.split(".").map(Number));
  for (let i = 0; i < Math.max(left?.length ?? 0, right?.length ?? 0); i += 1) {
    const difference = (left?.[i] ?? 0) - (right?.[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** @param {Facts} facts @param {Allowed} allowed @param {Record<string, string>} ceilings @returns {string[]} what is beyond the list */
export function beyond(facts, allowed, ceilings) {
  const exported = new Set(allowed.exports.flatMap((name) => (name === "opswap.h" ? abi() : [name])));
  const tooNew = facts.versions.filter((one) => {
    const [family = "", version = ""] = one.split("_");
    const ceiling = ceilings[family];
    // GLIBC_PRIVATE is no number, and below no ceiling.
    return ceiling === undefined || !(compareVersions(version, ceiling) <= 0);
  });
  return [
    ...facts.needed.filter((name) => !allowed.needed.includes(name)).map((name) => `needs ${name}`),
    ...tooNew.map((one) => `needs ${one}, ${TOO_NEW}`),
    ...facts.exports.filter((name) => !exported.has(name)).map((name) => `exports ${name}`),
  ];
}

/** Every binary of a folder. @param {string} folder @returns {Promise<void>} throws with all that is beyond the allow-list */
export async function checkBinaries(folder) {
  const { versions, files } = allowList();
  const faults = [];
  for (const name of readdirSync(folder).filter((file) => /\.(so|node)$/.test(file))) {
    const allowed = files.find(({ pattern }) => new RegExp(pattern).test(name));
    if (allowed === undefined) faults.push(`${name}: no row of native/packaging/allowed.json is for it`);
    else
      faults.push(
        ...beyond(await examineBinary(join(folder, name)), allowed, versions).map(
          (fault) => `${name} ${fault}`,
        ),
      );
  }
  if (faults.length === 0) return;
  const Refusal = faults.every((fault) => fault.endsWith(TOO_NEW)) ? TooNewRuntime : SetupError;
  throw new Refusal(faults.join("\n"));
}
