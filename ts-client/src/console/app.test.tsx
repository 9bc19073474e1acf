import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { render } from "ink-testing-library";
import { afterEach, describe, expect, it, vi } from "vitest";
import { FileAudit } from "../experiments/audit/file-store.js";
import type { AuditEntry } from "../experiments/audit/store.js";
import { type Connect, Feed } from "../feed/feed.js";
import { clientOf, ranks, SWITCHED, status, WHY } from "../testing/console-fixtures.js";
import { OpswapError } from "../types/errors.js";
import { App } from "./app.js";

let ended = () => {};
afterEach(() => {
  ended();
  vi.unstubAllEnvs();
});

function start(connect: Connect) {
  const screen = render(<App feed={new Feed(connect, 20)} colour={false} />);
  ended = screen.unmount;
  const shows = (text: string | RegExp) => vi.waitFor(() => expect(screen.lastFrame()).toMatch(text), 5_000);
  return { ...screen, shows };
}

/** A switch that the audit has. */
function done(from: Record<string, string>, to: Record<string, string>): AuditEntry {
  const who = { user: "test", uid: 1, host: "here" };
  const about = { why: null, ticket: null, epoch: 7, build: null, error: null };
  return { who, action: "use", outcome: "done", engine: "demo", from, to, ...about };
}

describe("console", () => {
  it("shows ops by rank, asks before it switches, and shows the acknowledgements", async () => {
    const use = vi.fn(async () => SWITCHED);
    const client = clientOf({
      status: async () => status(),
      ops: async () => ({ ranks: ranks() }),
      why: async () => WHY,
      use,
    });
    const { stdin, shows } = start(async () => client);
    await shows(/> linear +0 cpu/);
    stdin.write("u");
    await shows(/> ref +usable/);
    stdin.write("\r");
    await shows(/Switch linear from cpu to ref/);
    expect(use).not.toHaveBeenCalled();
    stdin.write("y");
    await shows(/rank 1: step 11, epoch 1, live/);
    expect(use).toHaveBeenCalledExactlyOnceWith([{ op: "linear", impl: "ref" }]);
    stdin.write("\x1b");
    await shows(/> linear/);
  });

  it("asks before it takes back the last switch of the audit, and takes back just that", async () => {
    const folder = mkdtempSync(path.join(tmpdir(), "oc"));
    vi.stubEnv("OPSWAP_STATE_DIR", folder);
    const use = vi.fn(async () => SWITCHED);
    const client = clientOf({
      name: "demo",
      status: async () => status(7),
      ops: async () => ({ ranks: ranks() }),
      use,
    });
    const { stdin, shows } = start(async () => client);
    await shows(/> linear +0 cpu/);
    stdin.write("b");
    await shows(/nothing can be taken back[\s\S]*OPSWAP_E_NO_SWITCH/);
    stdin.write("\x1b");
    await shows(/> linear/);
    await new FileAudit(folder).append(done({ linear: "ref" }, { linear: "cpu" }));
    stdin.write("b");
    await shows(/Switch linear from cpu to ref on every rank\? That takes back record 1/);
    expect(use).not.toHaveBeenCalled();
    stdin.write("y");
    await shows(/rank 1: step 11, epoch 1, live/);
    expect(use).toHaveBeenCalledExactlyOnceWith([{ op: "linear", impl: "ref" }], { ifEpoch: 7 });
    rmSync(folder, { recursive: true });
  });

  it("says so where a switch is not in the audit", async () => {
    vi.stubEnv("OPSWAP_STATE_DIR", "/dev/null/state");
    const client = clientOf({
      status: async () => status(),
      ops: async () => ({ ranks: ranks() }),
      why: async () => WHY,
      use: async () => SWITCHED,
    });
    const { stdin, shows } = start(async () => client);
    await shows(/> linear +0 cpu/);
    stdin.write("u");
    await shows(/> ref +usable/);
    stdin.write("\r");
    await shows(/Switch linear from cpu to ref/);
    stdin.write("y");
    await shows(/linear is switched, but not in the audit/);
    await shows(/OPSWAP_E_AUDIT_STORE/);
  });

  it("waits for an engine, takes it up when it comes, and goes stale when it goes", async () => {
    let up = false;
    const gone = () => new OpswapError("OPSWAP_E_NOT_RUNNING", "no engine is running");
    const connect = async () => {
      if (!up) throw gone();
      const answer = async <T,>(value: T) => {
        if (!up) throw gone();
        return value;
      };
      return clientOf({ status: () => answer(status()), ops: () => answer({ ranks: ranks() }) });
    };
    const { shows } = start(connect);
    await shows(/waiting: no engine is running/);
    up = true;
    await shows(/^live/m);
    up = false;
    await shows(/STALE, last seen/);
    await shows(/rms_norm/);
  });

  it("shows a refusal and leaves the table as it was", async () => {
    const refusal = new OpswapError("OPSWAP_E_REFUSED", "rank 1 refused", {
      ranks: [{ rank: 1, code: "X", reason: "busy" }],
    });
    const client = clientOf({
      status: async () => status(),
      ops: async () => ({ ranks: ranks() }),
      why: async () => WHY,
      use: async () => Promise.reject(refusal),
    });
    const { stdin, shows } = start(async () => client);
    await shows(/> linear/);
    for (const [key, shown] of [
      ["u", /> ref +usable/],
      ["\r", /Switch linear from cpu to ref/],
      ["y", /linear was not switched/],
    ] as const) {
      stdin.write(key);
      await shows(shown);
    }
    await shows(/rank 1: busy/);
    stdin.write("\x1b");
    await shows(/> linear +0 cpu/);
  });

  /** Types what a terminal sends for keys, one after another, and waits for what each shows. */
  async function typed(keys: readonly (readonly [sent: string, shown: string | RegExp])[]) {
    const client = clientOf({
      status: async () => status(),
      ops: async () => ({ ranks: ranks() }),
      why: async () => WHY,
    });
    const { stdin, shows } = start(async () => client);
    await shows(/> linear +0 cpu/);
    for (const [sent, shown] of keys) {
      stdin.write(sent);
      await shows(shown);
    }
  }

  it("moves by the keys of a terminal", () =>
    typed([
      ["\x1b[B", /> linear +1/],
      ["\x1bOB", /> rms_norm +0/],
      ["\x1b[A", /> linear +1/],
      ["j", /> rms_norm +0/],
      ["k", /> linear +1/],
      ["\x1b[F", /> rms_norm +1/],
      ["\x1b[H", /> linear +0/],
      ["\x1b[4~", /> rms_norm +1/],
      ["\x1b[1~", /> linear +0/],
      ["\x1b[6~", /> rms_norm +1/],
      ["\x1b[5~", /> linear +0/],
      ["G", /> rms_norm +1/],
      ["g", /> linear +0/],
      ["jjj", /> rms_norm +1/],
    ]));

  it("chooses by the arrow keys, and goes back by escape", () =>
    typed([
      ["\r", /> ref +usable/],
      ["\x1b[B", /> cpu +active/],
      ["\x1b[A", /> ref +usable/],
      ["\r", /Switch linear from cpu to ref/],
      ["n", /> linear +0/],
      ["u", /> ref +usable/],
      ["\x1b", /> linear +0/],
      ["w", /linear version 1/],
      ["\r", /> linear +0/],
      ["?", /page up, page down/],
      ["q", /> linear +0/],
    ]));

  it("edits the filter with either code of the backspace key, and takes no other control key for a letter", () =>
    typed([
      ["/", /\/_ /],
      ["rmsx", /nothing matches "rmsx"/],
      ["\x7f", /> rms_norm/],
      ["x", /nothing matches "rmsx"/],
      ["\b", /> rms_norm/],
      ["\t\x15\x1bu\x1b[3~\x1b[57R", /\/rm_ /],
      ["s\n", /filter: rms · /],
      ["s", /RANK\^/],
      ["S", /RANKv/],
      ["r", /rms_norm +all/],
      ["\x1b", /linear +all/],
      ["\x15\x1bu\t", /linear +all/],
    ]));
});
