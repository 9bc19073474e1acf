// What a finished wheel must hold: the library of build/native byte for byte, its licence and bill of materials, binaries
// within the allow-list, and no path of the machine that made it.
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { logged } from "../exec.mjs";
import { nativeDir, root } from "../paths.mjs";
import { SetupError } from "../ui.mjs";
import { checkBinaries } from "./binaries.mjs";
import { sha256 } from "./checksums.mjs";

/** Below the folder NAME-VERSION.dist-info. */
const BESIDE = ["licenses/LICENSE", "licenses/NOTICE", "sboms/opswap.cdx.json", "entry_points.txt"];

/** @param {string} wheel @param {string} folder of the unpacked wheel */
function findFaults(wheel, folder) {
  const metadata = readdirSync(folder).find((name) => name.endsWith(".dist-info")) ?? "no .dist-info";
  const faults = BESIDE.filter((name) => !existsSync(join(folder, metadata, name))).map(
    (name) => `lacks ${metadata}/${name}`,
  );
  const library = join(folder, "opswap/libopswap.so");
  if (!existsSync(library) || sha256(library) !== sha256(join(nativeDir, "libopswap.so")))
    faults.push("its libopswap.so is not the one of build/native");
  const binaries = readdirSync(join(folder, "opswap")).filter((name) => name.endsWith(".so"));
  for (const name of binaries)
    if (readFileSync(join(folder, "opswap", name)).includes(root))
      faults.push(`${name} names the folder it was built in`);
  return faults.map((fault) => `${basename(wheel)}: ${fault}`);
}

/** @param {string} python its program @param {string} wheel @param {string} folder */
export async function unpack(python, wheel, folder) {
  await logged("unpack-wheel", python, ["-m", "zipfile", "-e", wheel, folder]);
}

/**
 * Unpacks and examines a wheel, and copies it to `out`.
 * @param {string} wheel @param {{ python: string, work: string, out: string }} places `python` is a program, the others folders
 */
export async function checkWheel(wheel, { python, work, out }) {
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  await unpack(python, wheel, work);
  await checkBinaries(join(work, "opswap"));
  const faults = findFaults(wheel, work);
  if (faults.length > 0) throw new SetupError(faults.join("\n"));
  copyFileSync(wheel, join(out, basename(wheel)));
}
