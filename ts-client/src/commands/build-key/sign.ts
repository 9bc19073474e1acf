/** `opswap build-key sign`: describes the library of a folder, and signs the description. */
import { createHash, sign } from "node:crypto";
import { readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import path from "node:path";
import { Command, InvalidArgumentError } from "commander";
import { loadNative } from "../../native.js";
import { asOpswapError, OpswapError } from "../../types/errors.js";
import { type Context, EXIT, examples, show } from "../context.js";
import { publicText, readPrivateKey } from "./key-file.js";

interface Options {
  key: string;
  name: string;
  json?: boolean;
}

export function signCommand(context: Context): Command {
  return new Command("sign")
    .description("write build.json and build.json.sig beside the libopswap*.so of a build")
    .argument("<folder>", "the folder of the build")
    .requiredOption("--key <file>", "the private key, as `build-key new` made it")
    .requiredOption("--name <name>", "the build's name: its kernels are listed as cpu@NAME", nameOption)
    .option("--json", "print JSON")
    .addHelpText("after", examples("build-key sign build-7 --key my.key --name tuned"))
    .action((folder: string, options: Options) => {
      const key = readPrivateKey(options.key);
      const build = described(folder, options.name);
      const text = `${JSON.stringify(build, null, 2)}\n`;
      replace(path.join(folder, "build.json"), text);
      replace(
        path.join(folder, "build.json.sig"),
        `${sign(null, Buffer.from(text), key).toString("base64")}\n`,
      );
      show(context.io, options.json, { ...build, public_key: publicText(key) }, (signed) => [
        `${folder} is build ${signed.build_digest.slice(0, 16)} of opswap ${signed.pack_version}, named ${signed.name}`,
        `signed by the key whose public half is ${signed.public_key}`,
      ]);
      context.exitCode = EXIT.ok;
    });
}

interface Facts {
  abi_major: number;
  pack_version: string;
  build_digest: string;
  ops: Record<string, number>;
}

function described(folder: string, name: string) {
  const library = libraryOf(folder);
  const file = path.join(folder, library);
  const sha256 = createHash("sha256").update(readFileSync(file)).digest("hex");
  return { schema: 1, name, library, sha256, ...facts(path.resolve(file)) };
}

function facts(file: string): Facts {
  try {
    return JSON.parse(loadNative().readBuild(file));
  } catch (error) {
    throw asOpswapError(error);
  }
}

function libraryOf(folder: string): string {
  const found = readdirSync(folder).filter((each) => /^libopswap.*\.so$/.test(each));
  if (found.length === 1 && found[0] !== undefined) return found[0];
  const what = found.length === 0 ? "has no libopswap*.so" : `has ${found.join(" and ")}, one is needed`;
  throw new OpswapError("OPSWAP_E_CANDIDATE", `${folder} ${what}`, {
    remedy: "name the folder of one build",
  });
}

/** A reader sees the old file or the new one. */
function replace(file: string, text: string): void {
  writeFileSync(`${file}.${process.pid}.tmp`, text);
  renameSync(`${file}.${process.pid}.tmp`, file);
}

function nameOption(name: string): string {
  if (/^[a-z][a-z0-9_]{0,31}$/.test(name)) return name;
  throw new InvalidArgumentError("a letter and at most 31 of a-z, 0-9 and _");
}
