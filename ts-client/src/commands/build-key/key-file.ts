/** The file of a private key: ed25519, in PEM, and nobody else's to read. */
import { createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
import { closeSync, constants, fstatSync, openSync, readFileSync } from "node:fs";
import { OpswapError } from "../../types/errors.js";

const OTHERS = 0o077;
const MOST_BYTES = 4096;
/** The DER of an ed25519 public key ends with the key itself. */
const KEY_BYTES = 32;

export function readPrivateKey(file: string): KeyObject {
  const descriptor = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const { mode, size } = fstatSync(descriptor);
    if (mode & OTHERS)
      throw refused(`${file} can be read by others (mode ${(mode & 0o777).toString(8)}): chmod 600 ${file}`);
    return parsed(file, size <= MOST_BYTES ? readFileSync(descriptor, "utf8") : "");
  } finally {
    closeSync(descriptor);
  }
}

/** The base64 that engines' configurations have. */
export function publicText(key: KeyObject): string {
  return createPublicKey(key).export({ type: "spki", format: "der" }).subarray(-KEY_BYTES).toString("base64");
}

function parsed(file: string, text: string): KeyObject {
  try {
    const key = createPrivateKey(text);
    if (key.asymmetricKeyType === "ed25519") return key;
  } catch {
    // Told below: what a parser says of a private key is not repeated.
  }
  throw refused(`${file} has no ed25519 private key in PEM, as \`opswap build-key new\` writes it`);
}

function refused(message: string): OpswapError {
  return new OpswapError("OPSWAP_E_SIGNATURE", message, { remedy: "name the file of a key of yours" });
}
