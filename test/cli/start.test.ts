import { execFileSync } from "node:child_process";
import { pathToFileURL } from "node:url";
import { expect, it } from "vitest";
import { cli } from "./harness.js";

it("loads ZeroMQ for verbs that talk alone: at exit it can hold a process up, and says so on stderr", () => {
  const code = `await import(${JSON.stringify(pathToFileURL(cli))});
    process.stdout.write(JSON.stringify(process.report.getReport().sharedObjects))`;
  const loaded = execFileSync(process.execPath, ["--input-type=module", "-e", code], { encoding: "utf8" });
  expect(JSON.parse(loaded)).not.toEqual([]);
  expect(JSON.parse(loaded).filter((file: string) => file.includes("zeromq"))).toEqual([]);
});
