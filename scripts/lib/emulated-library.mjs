// libopswap with each sm90.cu on the emulator: never shipped, for tests and the roofline.
import { availableParallelism } from "node:os";
import { delimiter, join } from "node:path";
import { logged } from "./exec.mjs";
import { buildDir, root } from "./paths.mjs";
import { step } from "./ui.mjs";

/**
 * @param {string} tools folder of the tools environment
 * @returns {Promise<string>} path of the library
 */
export async function buildEmulated(tools) {
  const folder = join(buildDir, "emulated");
  const env = { PATH: `${join(tools, "bin")}${delimiter}${process.env.PATH}` };
  const cmake = join(tools, "bin/cmake");
  const options = ["OPSWAP_EMULATE=ON", "OPSWAP_NODE=OFF", "OPSWAP_LEVELS="];
  const defines = [...options, `OPSWAP_PYTHON=${join(tools, "bin/python")}`].map((option) => `-D${option}`);
  await step("library on the emulator", async (progress) => {
    const place = ["-G", "Ninja", "-S", join(root, "native"), "-B", folder];
    await logged("emulated-configure", cmake, [...place, ...defines], { env, progress });
    const build = ["--build", folder, "--parallel", String(availableParallelism()), "--target", "opswap"];
    await logged("emulated-build", cmake, build, { env, progress });
  });
  return join(folder, "libopswap.so");
}
