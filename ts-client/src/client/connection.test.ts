import net from "node:net";
import path from "node:path";
import { Packr, Unpackr } from "msgpackr";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Router } from "zeromq";
import { LIMITS, PROTOCOL } from "../generated/messages.js";
import { runtimeFolder } from "../testing/servers.js";
import { Connection } from "./connection.js";

interface Asked {
  id: number;
  verb: string;
  deadline: number;
}
type Answer = Record<string, unknown> | Buffer | undefined;

/** A client takes a peer without a listening socket for gone before that. */
const LONGER_THAN_NOBODY_MS = 2_500;

const packr = new Packr({ useRecords: false });
const unpackr = new Unpackr({ useRecords: false, int64AsType: "number" });
const HELLO = { protocol: PROTOCOL, service: "engine", name: "e", pid: 1 };

/** A server that answers as a test says; without an answer it stays silent. */
class Fake {
  readonly asked: Asked[] = [];
  readonly #router = new Router({ linger: 0 });

  constructor(readonly answer: (asked: Asked) => Answer) {}

  async listen(socket: string): Promise<void> {
    await this.#router.bind(`ipc://${socket}`);
    void this.#serve();
  }

  async #serve(): Promise<void> {
    for await (const [peer, frame] of this.#router) {
      if (!peer || !frame) continue;
      const asked = unpackr.unpack(frame) as Asked;
      this.asked.push(asked);
      const answer = this.answer(asked);
      if (answer) await this.#router.send([peer, Buffer.isBuffer(answer) ? answer : packr.pack(answer)]);
    }
  }

  close(): void {
    this.#router.close();
  }
}

const ok = ({ id }: Asked, result: unknown) => ({ id, ok: true, result });
const no = ({ id }: Asked, code: string) => ({ id, ok: false, error: { code, message: "no", remedy: "do" } });
const hello = (asked: Asked) => (asked.verb === "hello" ? ok(asked, HELLO) : undefined);

let folder: ReturnType<typeof runtimeFolder>;
let fakes: Fake[];
let connections: Connection[];

beforeEach(() => {
  folder = runtimeFolder();
  fakes = [];
  connections = [];
});

afterEach(() => {
  for (const connection of connections) connection.close();
  for (const fake of fakes) fake.close();
  folder.remove();
});

async function serve(answer: (asked: Asked) => Answer): Promise<Fake> {
  const fake = new Fake(answer);
  fakes.push(fake);
  await fake.listen(path.join(folder.dir, "e.sock"));
  return fake;
}

function connect(socket = path.join(folder.dir, "e.sock")): Connection {
  const connection = new Connection(socket, "test");
  connections.push(connection);
  return connection;
}

describe("connection", () => {
  test("says hello once, before anything else", async () => {
    const fake = await serve((asked) => hello(asked) ?? ok(asked, { manifest: 1 }));
    const connection = connect();
    await Promise.all([1, 2, 3].map(() => connection.request("manifest", {}, 10_000)));
    expect(fake.asked.map((asked) => asked.verb)).toEqual(["hello", "manifest", "manifest", "manifest"]);
    expect(fake.asked.at(-1)?.deadline).toBeGreaterThan(Date.now() - 1_000);
  });

  test("a refused hello is the error of the request", async () => {
    await serve((asked) => no(asked, "OPSWAP_E_PROTOCOL"));
    const refused = connect().request("manifest", {}, 10_000);
    await expect(refused).rejects.toMatchObject({ code: "OPSWAP_E_PROTOCOL", remedy: "do" });
  });

  test("answers may come in any order", async () => {
    const held: Asked[] = [];
    const fake = await serve((asked) => {
      if (asked.verb === "hello") return ok(asked, HELLO);
      held.push(asked);
      return held.length === 2 ? ok(held[1] as Asked, { manifest: held[1]?.id }) : undefined;
    });
    const connection = connect();
    const first = connection.request("manifest", {}, 400);
    const second = connection.request("manifest", {}, 400);
    expect(await second).toEqual({ manifest: fake.asked.at(-1)?.id });
    await expect(first).rejects.toMatchObject({ code: "OPSWAP_E_TIMEOUT" });
  });

  test("silence is a time-out, and the answer that comes too late is dropped", async () => {
    const late: Asked[] = [];
    await serve((asked) => {
      if (asked.verb === "hello") return ok(asked, HELLO);
      const [first] = late.splice(0);
      late.push(asked);
      return first ? ok(first, { manifest: "late" }) : undefined;
    });
    const connection = connect();
    await expect(connection.request("manifest", {}, 50)).rejects.toMatchObject({ code: "OPSWAP_E_TIMEOUT" });
    await expect(connection.request("manifest", {}, 50)).rejects.toMatchObject({ code: "OPSWAP_E_TIMEOUT" });
  });

  test("nobody there is an error, not a wait", async () => {
    await expect(connect().hello()).rejects.toMatchObject({ code: "OPSWAP_E_NOT_RUNNING" });
  });

  test("whoever listens is waited for as long as the request is, however late the greeting comes", async () => {
    await serve((asked) => hello(asked) ?? ok(asked, { manifest: 1 }));
    const slow = path.join(folder.dir, "slow.sock");
    const server = net.createServer((client) => {
      const through = () => client.pipe(net.connect(path.join(folder.dir, "e.sock"))).pipe(client);
      setTimeout(through, LONGER_THAN_NOBODY_MS);
    });
    await new Promise<void>((listening) => server.listen(slow, listening));
    const connection = connect(slow);
    expect(await connection.request("manifest", {}, 10_000)).toEqual({ manifest: 1 });
    server.close();
  });

  test("whoever listens and never answers is a time-out", async () => {
    const mute = path.join(folder.dir, "mute.sock");
    const server = net.createServer(() => {});
    await new Promise<void>((listening) => server.listen(mute, listening));
    const asked = connect(mute).request("manifest", {}, LONGER_THAN_NOBODY_MS);
    await expect(asked).rejects.toMatchObject({ code: "OPSWAP_E_TIMEOUT" });
    server.close();
  });

  test.each([
    ["bytes that are not MessagePack", () => Buffer.from([0xc1, 0xc1])],
    ["a value that is not a reply", () => packr.pack([1, 2])],
    ["a result that is not as declared", (asked: Asked) => ok(asked, { ranks: [{ rank: "zero" }] })],
  ])("%s", async (_name, answer: (asked: Asked) => Answer) => {
    await serve((asked) => hello(asked) ?? answer(asked));
    const refused = connect().request("ops", {}, 10_000);
    await expect(refused).rejects.toMatchObject({ code: "OPSWAP_E_MESSAGE" });
  });

  test("a key like __proto__ in a reply pollutes nothing", async () => {
    const choice = JSON.parse('{"__proto__": {"planted": 1}, "rms_norm": "ref"}');
    await serve((asked) => hello(asked) ?? ok(asked, { manifest: { choice } }));
    const { manifest } = (await connect().request("manifest", {}, 10_000)) as {
      manifest: { choice: object };
    };
    expect(manifest.choice).toMatchObject({ rms_norm: "ref" });
    expect(Object.getPrototypeOf(manifest.choice)).toBe(Object.prototype);
    expect(({} as Record<string, unknown>).planted).toBeUndefined();
  });

  test("integers beyond 32 bits stay numbers", async () => {
    await serve((asked) => hello(asked) ?? ok(asked, { op: "x", impl: "y", elapsed_ns: 5e12 }));
    const result = await connect().request("call", { op: "x", args: [] }, 10_000);
    expect(result.elapsed_ns).toBe(5e12);
  });

  test("a server that forgot the connection is greeted again, and the request is repeated once", async () => {
    let greetings = 0;
    const fake = await serve((asked) => {
      if (asked.verb === "hello") {
        greetings++;
        return ok(asked, HELLO);
      }
      return greetings < 2 ? no(asked, "OPSWAP_E_HELLO") : ok(asked, { manifest: 1 });
    });
    expect(await connect().request("manifest", {}, 10_000)).toEqual({ manifest: 1 });
    expect(fake.asked.map((asked) => asked.verb)).toEqual(["hello", "manifest", "hello", "manifest"]);
  });

  test("a lost server fails what was under way at once; its successor gets none of it", async () => {
    const first = await serve(hello);
    const connection = connect();
    const lost = connection.request("use", { changes: [{ op: "a", impl: "b" }] }, 60_000);
    const refused = expect(lost).rejects.toMatchObject({ code: "OPSWAP_E_NOT_RUNNING" });
    while (first.asked.length < 2) await new Promise((resolve) => setTimeout(resolve, 10));
    first.close();
    await refused;
    const second = await serve((asked) => hello(asked) ?? ok(asked, { manifest: 2 }));
    expect(await connection.request("manifest", {}, 10_000)).toEqual({ manifest: 2 });
    expect(second.asked.map((asked) => asked.verb)).toEqual(["hello", "manifest"]);
  });

  test("requests under way are bounded", async () => {
    await serve(hello);
    const connection = connect();
    await connection.hello();
    const waiting = Array.from({ length: LIMITS.in_flight }, () => connection.request("manifest", {}, 300));
    const settled = Promise.allSettled(waiting);
    const oneMore = connection.request("manifest", {}, 300);
    await expect(oneMore).rejects.toMatchObject({ code: "OPSWAP_E_BUSY" });
    const codes = (await settled).map((result) => (result.status === "rejected" ? result.reason.code : "ok"));
    expect(codes).toEqual(Array.from({ length: LIMITS.in_flight }, () => "OPSWAP_E_TIMEOUT"));
  });

  test("a request over its bound is not sent", async () => {
    const fake = await serve(hello);
    const big = connect().request("why", { op: "x".repeat(LIMITS.request_bytes) }, 1_000);
    await expect(big).rejects.toMatchObject({ code: "OPSWAP_E_TOO_LARGE" });
    expect(fake.asked.map((asked) => asked.verb)).toEqual(["hello"]);
  });

  test("closing fails what was under way", async () => {
    await serve(hello);
    const connection = connect();
    await connection.hello();
    const waiting = expect(connection.request("manifest", {}, 60_000)).rejects.toMatchObject({
      code: "OPSWAP_E_CLOSED",
    });
    await new Promise((resolve) => setImmediate(resolve));
    connection.close();
    await waiting;
  });
});
