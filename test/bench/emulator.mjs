// `npm run bench -- emulator`: milliseconds of an emulated launch, of a room's kernel and of a GEMM block.
import { execFileSync } from "node:child_process";
import { availableParallelism } from "node:os";
import { delimiter, join } from "node:path";
import { logged } from "../../scripts/lib/exec.mjs";
import { buildDir, root } from "../../scripts/lib/paths.mjs";
import { prepare } from "../../scripts/lib/setup.mjs";

const { tools } = await prepare();
const folder = join(buildDir, "emulator-tests");
const cmake = join(tools, "bin/cmake");
const env = { PATH: `${join(tools, "bin")}${delimiter}${process.env.PATH}` };
const configure = ["-G", "Ninja", "-S", join(root, "emulator"), "-B", folder];
await logged("emulator-bench-configure", cmake, configure, { env });
const build = ["--build", folder, "--parallel", String(availableParallelism()), "--target", "bench"];
await logged("emulator-bench-build", cmake, build, { env });
execFileSync(join(folder, "bench"), { stdio: "inherit" });
