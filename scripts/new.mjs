// `npm run new -- op NAME`: a room that builds and passes, ready to be filled.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./lib/paths.mjs";
import { runMain, SetupError } from "./lib/ui.mjs";

const NAME = /^[a-z][a-z0-9]*(_[a-z0-9]+)*$/;
const template = join(root, "scripts/templates/room");

/** @param {string | undefined} kind @param {string | undefined} name @returns {string} */
function checkedName(kind, name) {
  if (kind !== "op" || name === undefined) throw new SetupError("usage: npm run new -- op NAME");
  if (!NAME.test(name)) {
    throw new SetupError(`op names are lower case with underscores, such as rms_norm; got "${name}"`);
  }
  if (existsSync(join(root, "kernels", name))) throw new SetupError(`kernels/${name} exists already`);
  return name;
}

await runMain(async () => {
  const [kind, given] = process.argv.slice(2);
  const name = checkedName(kind, given);
  const room = join(root, "kernels", name);
  mkdirSync(room, { recursive: true });
  for (const file of readdirSync(template)) {
    const text = readFileSync(join(template, file), "utf8");
    writeFileSync(join(room, file), text.replaceAll("__OP__", name));
    console.log(`kernels/${name}/${file}`);
  }
  console.log(`fill these files, then: npm run build && npm run test:fast`);
});
