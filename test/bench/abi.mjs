// `npm run bench -- abi`: one C ABI call by name with its checks, out of a C++ loop.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nativeDir, root } from "../../scripts/lib/paths.mjs";

const folder = mkdtempSync(join(tmpdir(), "opswap-bench-"));
try {
  const program = join(folder, "abi");
  const link = [`-L${nativeDir}`, "-lopswap", `-Wl,-rpath,${nativeDir}`];
  const args = ["-O2", "-std=c++20", `-I${join(root, "native/include")}`, join(root, "test/bench/_abi.cpp")];
  execFileSync(process.env.CXX ?? "g++", [...args, "-o", program, ...link], { stdio: "inherit" });
  execFileSync(program, { stdio: "inherit" });
} finally {
  rmSync(folder, { recursive: true, force: true });
}
