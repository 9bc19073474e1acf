// Files that are generated and committed: types, documentation of ops and errors, the protocol's two ends.
import { join } from "node:path";
import { digest, stampIs, writeStamp } from "./digest.mjs";
import { logged } from "./exec.mjs";
import { buildDir, root } from "./paths.mjs";
import { step } from "./ui.mjs";

/** @param {string} tools folder of the tools environment */
export async function generate(tools) {
  const stamp = join(buildDir, ".generated-from");
  const inputs = () =>
    digest([
      "native/gen",
      "native/core",
      "adapters",
      "kernels",
      "adapters",
      "evidence",
      "README.md",
      "ipc",
      "ts-client/src/convert/errors.json",
      "ts-client/src/generated",
      "docs",
    ]);
  if (stampIs(stamp, inputs())) return;
  const python = join(tools, "bin/python");
  const env = { PYTHONDONTWRITEBYTECODE: "1" };
  await step("generated files", async (progress) => {
    await logged("generate-ops", python, ["-m", "gen", root, "commit"], {
      cwd: join(root, "native"),
      env,
      progress,
    });
    await logged("generate-protocol", python, ["ipc/generate.py"], { env, progress });
  });
  writeStamp(stamp, inputs());
}
