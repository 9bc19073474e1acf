// `npm run check`: generated files fresh, types, lint, format, house rules. `-- --fix` mends what a tool can mend.
import { spawn } from "node:child_process";
import { join } from "node:path";
import { allChecks } from "./lib/checks.mjs";
import { exitOf } from "./lib/exec.mjs";
import { root } from "./lib/paths.mjs";
import { build, pythonEnv } from "./lib/setup.mjs";
import { runMain, say } from "./lib/ui.mjs";

await runMain(async () => {
  const workshop = await build();
  const { tools } = workshop;
  const failed = [];
  for (const { name, command, args, cwd = "." } of await allChecks(
    workshop,
    process.argv.includes("--fix"),
  )) {
    const child = spawn(command, args, { cwd: join(root, cwd), env: pythonEnv(tools), stdio: "inherit" });
    const code = await exitOf(child);
    say(`  ${name}: ${code === 0 ? "ok" : "FAILED"}`);
    if (code !== 0) failed.push(name);
  }
  if (failed.length > 0)
    say(
      `opswap: check failed: ${failed.join(", ")}; \`npm run check -- --fix\` mends format and generated files`,
    );
  return failed.length === 0 ? 0 : 1;
});
