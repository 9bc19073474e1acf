// Finds g++ 11 or later.
import { probe } from "./exec.mjs";
import { SetupError } from "./ui.mjs";

const OLDEST = 11;
const CANDIDATES = ["g++", "g++-14", "g++-13", "g++-12", "g++-11"];

/** CXX when set, else the first g++ on PATH that is new enough. */
export async function findCompiler() {
  const commands = process.env.CXX ? [process.env.CXX] : CANDIDATES;
  const seen = [];
  for (const command of commands) {
    const version = await probe(command, ["-dumpfullversion"]);
    if (version === null) continue;
    if (Number.parseInt(version, 10) >= OLDEST) return command;
    seen.push(`${command} ${version}`);
  }
  throw new SetupError(
    `needs g++ ${OLDEST} or later, found: ${seen.join(", ") || "none"}; on Debian or Ubuntu: sudo apt install g++`,
  );
}
