// A folder that is made beside its place takes that place whole.
import { mkdirSync, renameSync, rmSync } from "node:fs";

/** @param {string} fresh @param {string} place */
export function replaceFolder(fresh, place) {
  const old = `${place}.old`;
  rmSync(old, { recursive: true, force: true });
  mkdirSync(place, { recursive: true });
  renameSync(place, old);
  renameSync(fresh, place);
  rmSync(old, { recursive: true, force: true });
}
