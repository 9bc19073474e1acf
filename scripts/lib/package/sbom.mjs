// The bill of materials, CycloneDX: what is inside the wheel or needed beside it, from the locks; and npm's own for its half.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { releaseOf } from "../cuda.mjs";
import { probe } from "../exec.mjs";
import { nativeDir, root } from "../paths.mjs";
import { SetupError } from "../ui.mjs";
import { sha256 } from "./checksums.mjs";

/** @typedef {Record<string, unknown> & { name: string }} Component */

/** Compiled into the binaries; the first word is the package of env/*.lock or package-lock.json that brings it. */
const COMPILED_IN = {
  pybind11: { lock: "package", license: { id: "BSD-3-Clause" } },
};
const CUDA_LICENSE = { name: "NVIDIA CUDA Toolkit EULA" };
const CUDA_RUNTIME = { "nvidia-cuda-runtime": { lock: "cuda", license: CUDA_LICENSE } };
const BESIDE = {
  pyzmq: { lock: "package", license: { id: "BSD-3-Clause" } },
  msgpack: { lock: "package", license: { id: "Apache-2.0" } },
};

/** @param {string} lock @param {string} name */
function lockedVersion(lock, name) {
  const text = readFileSync(join(root, `env/${lock}.lock`), "utf8");
  const found = new RegExp(`^${name}==(\\S+)`, "m").exec(text)?.[1];
  if (found === undefined) throw new SetupError(`env/${lock}.lock has no ${name}`);
  return found;
}

/** @param {Record<string, { lock: string, license: object }>} table @param {string} role @returns {Component[]} */
function fromLocks(table, role) {
  return Object.entries(table).map(([name, { lock, license }]) => {
    const version = lockedVersion(lock, name);
    const purl = `pkg:pypi/${name}@${version}`;
    const properties = [{ name: "opswap:role", value: role }];
    return { type: "library", "bom-ref": purl, name, version, purl, licenses: [{ license }], properties };
  });
}

/** @returns {Component} */
function theLibrary() {
  const content = sha256(join(nativeDir, "libopswap.so"));
  return {
    type: "file",
    "bom-ref": "libopswap.so",
    name: "libopswap.so",
    hashes: [{ alg: "SHA-256", content }],
  };
}

/** The CUDA runtime inside the library: the locked one, or that of an installed toolkit. @param {string | null} nvcc @returns {Promise<Component[]>} */
async function cudaRuntime(nvcc) {
  if (nvcc === null) return [];
  if (nvcc.includes("site-packages/nvidia")) return fromLocks(CUDA_RUNTIME, "compiled in");
  const version = releaseOf((await probe(nvcc, ["--version"])) ?? "") ?? "unknown";
  const name = "cuda-runtime";
  return [{ type: "library", "bom-ref": name, name, version, licenses: [{ license: CUDA_LICENSE }] }];
}

/** What npm knows of package-lock.json. @returns {Promise<Component[]>} */
async function ofNpm() {
  const text = await probe("npm", [
    "--prefix",
    root,
    "sbom",
    "--sbom-format=cyclonedx",
    "--package-lock-only",
    "--omit=dev",
  ]);
  if (text === null) throw new SetupError("`npm sbom` failed; it needs npm 10 or later");
  return JSON.parse(text).components;
}

/** @param {Component[]} components */
function bill(components) {
  const { name, version, license } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const component = {
    type: "library",
    "bom-ref": name,
    name,
    version,
    licenses: [{ license: { id: license } }],
  };
  return { bomFormat: "CycloneDX", specVersion: "1.5", version: 1, metadata: { component }, components };
}

/** @param {string} file @param {Component[]} components */
function write(file, components) {
  writeFileSync(file, `${JSON.stringify(bill(components), null, 2)}\n`);
}

/**
 * Writes opswap.cdx.json, of all packages together, and the wheel's own.
 * @param {{ out: string, work: string, nvcc: string | null }} what `work` is the folder of the wheel's own @returns {Promise<string>} path of the wheel's own
 */
export async function writeSbom({ out, work, nvcc }) {
  const wheels = [
    theLibrary(),
    ...(await cudaRuntime(nvcc)),
    ...fromLocks(COMPILED_IN, "compiled in"),
    ...fromLocks(BESIDE, "needed beside"),
  ];
  const file = join(work, "opswap.cdx.json");
  write(file, wheels);
  write(join(out, "opswap.cdx.json"), [...wheels, ...(await ofNpm())]);
  return file;
}
