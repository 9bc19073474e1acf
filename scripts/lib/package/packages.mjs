// All packages around the one library of build/native. They are made beside build/packages and take its place when whole.
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { digest, stampIs, writeStamp } from "../digest.mjs";
import { replaceFolder } from "../folders.mjs";
import { withLock } from "../mutex.mjs";
import { buildDir, nativeDir, packagesDir } from "../paths.mjs";
import { everyPython, MINORS } from "../python.mjs";
import { checkBinaries } from "./binaries.mjs";
import { writeChecksums } from "./checksums.mjs";
import { writeSbom } from "./sbom.mjs";
import { measure, sizeLines } from "./sizes.mjs";
import { makeWheels } from "./wheels.mjs";

/** @typedef {import("../setup.mjs").Workshop} Workshop */

const INPUTS = [
  ...[
    "README.md",
    "pyproject.toml",
    "LICENSE",
    "NOTICE",
    "native",
    "kernels",
    "adapters",
    "ipc",
    "env",
    "ts-client/src",
  ],
  ...[
    "package.json",
    "package-lock.json",
    "rolldown.config.mjs",
    "scripts/lib/package",
    "scripts/package.mjs",
  ],
];

/** @param {import("../python.mjs").Python[]} pythons */
function madeFrom(pythons) {
  const versions = pythons.map((python) => python.version);
  return digest(INPUTS, [readFileSync(join(nativeDir, ".built-from"), "utf8"), ...versions]);
}

/** @param {Workshop} workshop @param {import("../python.mjs").Python[]} pythons @param {string} out */
async function fill(workshop, pythons, out) {
  await checkBinaries(nativeDir);
  const work = join(buildDir, "packages-work");
  mkdirSync(work, { recursive: true });
  const sbom = await writeSbom({ out, work, nvcc: workshop.nvcc });
  const wheels = await makeWheels(workshop, pythons, { out, sbom });
  // It needs node packages, which a fresh clone gets in the set-up.
  const { makeTarballs } = await import("./tarballs.mjs");
  const sizes = await measure(out, wheels, await makeTarballs({ native: nativeDir, out }));
  writeFileSync(join(out, "sizes.json"), `${JSON.stringify(sizes, null, 2)}\n`);
  writeChecksums(out);
}

/**
 * Makes build/packages unless it is of these sources and Pythons already.
 * @param {Workshop} workshop @returns {Promise<string[]>} lines that say what was made, how large it is, and what is left out
 */
export async function makePackages(workshop) {
  const pythons = await everyPython(workshop.python);
  await withLock(join(buildDir, ".packages.lock"), "packages", async () => {
    const stamp = join(buildDir, ".packages-made-from");
    const wanted = madeFrom(pythons);
    if (stampIs(stamp, wanted) && existsSync(packagesDir)) return;
    const fresh = `${packagesDir}.unfinished`;
    rmSync(fresh, { recursive: true, force: true });
    mkdirSync(fresh, { recursive: true });
    await fill(workshop, pythons, fresh);
    replaceFolder(fresh, packagesDir);
    writeStamp(stamp, wanted);
  });
  const lacking = MINORS.filter((minor) => !pythons.some((python) => python.minor === minor));
  const without = lacking.map(
    (minor) => `no wheel for Python 3.${minor}, which this machine lacks (with headers and venv)`,
  );
  return [...sizeLines(JSON.parse(readFileSync(join(packagesDir, "sizes.json"), "utf8"))), ...without];
}
