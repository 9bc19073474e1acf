import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { fakeEngine, type Server, scratch } from "./harness.js";
import { Terminal } from "./terminal.js";

const { dir, remove } = scratch();
/** CI is set as a build server sets it: a console in a terminal draws all the same. */
const env = { OPSWAP_RUNTIME_DIR: dir, CI: "true", NO_COLOR: undefined, FORCE_COLOR: undefined };
let engine: Server | undefined;
let terminal: Terminal;

beforeAll(async () => {
  engine = await fakeEngine(dir, "first");
});
afterEach(() => terminal.close());
afterAll(async () => {
  await engine?.stop();
  remove();
});

it("shows ranks, filters, sorts, and fits 80 columns and 24 lines", async () => {
  terminal = new Terminal(["console", "--interval", "200"], env);
  await terminal.shows(/^live$/m);
  await terminal.shows(/> linear +0 cpu/);
  expect(terminal.lines[0]).toMatch(/first · fake 0 · 2 ranks · epoch 0/);
  terminal.press("/rms_");
  await terminal.shows(/\/rms_/);
  terminal.press("\r");
  await terminal.shows(/> rms_norm +0 cpu/);
  expect(terminal.lines.join("\n")).not.toMatch(/linear/);
  terminal.press("\x1b");
  await terminal.shows(/linear +1 cpu/);
  terminal.press("s");
  await terminal.shows(/RANK\^/);
});

it("switches after a yes and shows both acknowledgements, then quits and gives the screen back", async () => {
  terminal = new Terminal(["console", "--interval", "200"], env);
  await terminal.shows(/> linear +0 cpu/);
  terminal.press("u");
  await terminal.shows(/sm90 +cannot run +no usable CUDA device/);
  terminal.press("j");
  await terminal.shows(/> ref +usable/);
  terminal.press("\r");
  await terminal.shows(/Switch linear from cpu to ref on every rank\?/);
  terminal.press("y");
  await terminal.shows(/rank 0: step \d+, epoch 1, live; linear was cpu/);
  await terminal.shows(/rank 1: step \d+, epoch 1, live; linear was cpu/);
  terminal.press("\x1b");
  await terminal.shows(/> linear +0 ref/);
  terminal.press("q");
  expect(await terminal.exited()).toBe(0);
  expect(terminal.raw).toContain("\x1b[?1049l");
});

it.each([
  [{ CI: "true" }, true],
  [{ CI: "false" }, true],
  [{ CI: "", CONTINUOUS_INTEGRATION: "", NO_COLOR: "" }, true],
  [{ NO_COLOR: "0", FORCE_COLOR: "1" }, false],
  [{ FORCE_COLOR: "0" }, false],
])("with %j colours are there: %s", async (more, coloured) => {
  terminal = new Terminal(["console"], { ...env, ...more });
  await terminal.shows(/^live$/m);
  await terminal.shows(/> linear/);
  // The title is bold, "live" green, the head of the table dim, the selected row inverse.
  const styled = coloured ? ["live", "OP^", "linear"] : [];
  expect(terminal.styled).toEqual(coloured ? expect.arrayContaining(styled) : []);
});

it("moves by the arrow, page, home and end keys of a terminal", async () => {
  terminal = new Terminal(["console"], env);
  await terminal.shows(/^live$/m);
  await terminal.shows(/> linear +0 /);
  for (const [key, shown] of [
    ["\x1b[B", /> linear +1 /],
    ["\x1bOB", /> rms_norm +0 /],
    ["\x1b[A", /> linear +1 /],
    ["\x1b[F", /> silu_and_mul +1 /],
    ["\x1b[H", /> linear +0 /],
    ["\x1b[6~", /> silu_and_mul +1 /],
    ["\x1b[5~", /> linear +0 /],
  ] as const) {
    terminal.press(key);
    await terminal.shows(shown);
  }
  terminal.press("j\x03");
  expect(await terminal.exited()).toBe(0);
});

it("shows reasons in full on a narrow terminal, scrolls on a low one, and follows its size", async () => {
  terminal = new Terminal(["console"], env, 40, 12);
  await terminal.shows(/> linear +0 /);
  terminal.press("w");
  await terminal.shows(/sm90 +cannot run[\s\S]*no usable\s+CUDA device/);
  terminal.press("q");
  await terminal.shows(/> linear/);
  terminal.press("?");
  await terminal.shows(/up, down, j, k/);
  terminal.press("\x1b[F");
  await terminal.shows(/in this\s+order\./);
  // No frame was taller than the terminal, for ink clears the terminal and its history then.
  expect(terminal.raw).not.toContain("\x1b[3J");
  terminal.resize(100, 30);
  await terminal.shows(/up, down, j, k[\s\S]*A ! before ACTIVE: ranks differ\./);
});

it("goes stale when the engine ends, keeps its numbers, and comes back with it", async () => {
  terminal = new Terminal(["console", "--interval", "200"], env);
  await terminal.shows(/^live$/m);
  await engine?.stop();
  await terminal.shows(/^STALE, last seen/m);
  await terminal.shows(/rms_norm/);
  engine = await fakeEngine(dir, "first");
  await terminal.shows(/^live$/m);
});

it("waits for an engine that is not there, and says so", async () => {
  terminal = new Terminal(["console", "--engine", "absent"], env);
  await terminal.shows(/waiting: no engine named absent/);
  terminal.press("q");
  expect(await terminal.exited()).toBe(0);
});
