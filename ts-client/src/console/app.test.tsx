import { render } from "ink-testing-library";
import { afterEach, describe, expect, it, vi } from "vitest";
import { OpswapError } from "../client/index.js";
import { clientOf, ranks, SWITCHED, status, WHY } from "../testing/console-fixtures.js";
import { App } from "./app.js";
import { type Connect, Session } from "./session.js";

let ended = () => {};
afterEach(() => ended());

function start(connect: Connect) {
  const screen = render(<App session={new Session(connect)} intervalMs={20} colour={false} />);
  ended = screen.unmount;
  const shows = (text: string | RegExp) => vi.waitFor(() => expect(screen.lastFrame()).toMatch(text), 5_000);
  return { ...screen, shows };
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
    for (const key of ["u", "\r", "y"]) {
      stdin.write(key);
      await new Promise((done) => setTimeout(done, 60));
    }
    await shows(/linear was not switched/);
    await shows(/rank 1: busy/);
  });
});
