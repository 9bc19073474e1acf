/** `opswap build-key new`. */
import { generateKeyPairSync } from "node:crypto";
import { writeFileSync } from "node:fs";
import { Command } from "commander";
import { type Context, EXIT, examples, show } from "../context.js";
import { publicText } from "./key-file.js";

export function newCommand(context: Context): Command {
  return new Command("new")
    .description("make a key to sign builds with; the public half goes into engines' configurations")
    .argument("<file>", "where the private half goes; it must not be there yet")
    .option("--json", "print JSON")
    .addHelpText("after", examples("build-key new my.key"))
    .action((file: string, { json }: { json?: boolean }) => {
      const { privateKey } = generateKeyPairSync("ed25519");
      // Never another key's place: what it has signed could not be signed again.
      writeFileSync(file, privateKey.export({ type: "pkcs8", format: "pem" }), { flag: "wx", mode: 0o600 });
      show(context.io, json, { file, public_key: publicText(privateKey) }, (made) => [
        `${made.file} has the private half: keep it, and give it to nobody`,
        `"trusted_keys": {"NAME": "${made.public_key}"} in the file that OPSWAP_CANDIDATES names has engines trust it`,
      ]);
      context.exitCode = EXIT.ok;
    });
}
