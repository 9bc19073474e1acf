/** A run whose engine died under its candidate: it has failed, whoever is left to say so. */
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { experimentFile, GOOD, OPEN } from "./ab-specs.js";
import { fakeEngine, opswap, scratch } from "./harness.js";

const { dir, remove } = scratch();
afterAll(remove);
const state = path.join(dir, "state");
const env = { OPSWAP_STATE_DIR: state, OPSWAP_RUNTIME_DIR: dir };
const run = (...args: string[]) => opswap(args, env);
const json = async (...args: string[]) => JSON.parse((await run(...args, "--json")).out);

/** A guarded run on an engine of this name, and what ends either of both. */
async function guarded(name: string) {
  const engine = await fakeEngine(dir, name);
  const open = OPEN.replace("3s", "2s").replace("50s", "100ms").replace("[{", "[{name: safety}, {");
  const file = experimentFile(dir, name, `${GOOD}${open}`);
  expect((await run("ab", "apply", "-f", file, "--engine", name)).code).toBe(0);
  const started = await run("ab", "start", name, "--guarded", "--engine", name);
  expect(started, started.err).toMatchObject({ code: 0 });
  const runs = path.join(state, "experiments", name, "runs");
  const of = () => JSON.parse(readFileSync(path.join(runs, readdirSync(runs)[0] ?? "", "run.json"), "utf8"));
  await expect.poll(() => of().look?.samples ?? 0, { timeout: 60_000 }).toBeGreaterThan(0);
  return {
    engine,
    killEngine: () => process.kill(of().engine_process.pid, "SIGKILL"),
    killController: () => process.kill(of().controller.pid, "SIGKILL"),
  };
}

async function expectFailed(name: string): Promise<void> {
  const found = await json("ab", "status", name);
  expect(found).toMatchObject({
    phase: "failed",
    reason: expect.stringMatching(/^safety: the engine died while it was on trial/),
  });
  const place = path.join(state, "verdicts", found.run.verdict, "verdict.json");
  expect(JSON.parse(readFileSync(place, "utf8"))).toMatchObject({ result: "fail" });
  expect((await run("ab", "derive", found.run.verdict)).code).toBe(0);
  expect((await run("ab", "watch", name)).code).toBe(1);
  expect((await run("ab", "promote", name)).err).toMatch(/is fail: .*the engine died.*NOT_PASSED/);
  const verdicts = (await json("audit", "show")).filter(
    ({ action }: { action: string }) => action === `ab verdict ${name}: fail`,
  );
  expect(verdicts).toHaveLength(1);
}

describe("a run whose engine died under its candidate", () => {
  it("has failed when its controller died with it, and the candidate is barred from the next start on", async () => {
    const { killEngine, killController } = await guarded("both");
    killController();
    killEngine();
    await expectFailed("both");
    const again = await fakeEngine(dir, "both");
    expect((await run("ab", "start", "both", "--engine", "both")).err).toMatch(/barred: .*the engine died/);
    await again.stop();
  });

  it("has failed also when the engine runs again before anybody looks", async () => {
    const { killEngine, killController } = await guarded("again");
    killController();
    killEngine();
    const again = await fakeEngine(dir, "again");
    await expectFailed("again");
    await again.stop();
  });

  it("is lost, and has not failed, where its engine was stopped", async () => {
    const { engine, killController } = await guarded("stopped");
    killController();
    await engine.stop();
    expect((await json("ab", "status", "stopped")).phase).toBe("lost");
  });

  it("has failed by its own controller's word", async () => {
    const { killEngine } = await guarded("engine");
    killEngine();
    expect((await run("ab", "watch", "engine")).code).toBe(1);
    await expectFailed("engine");
  });
});
