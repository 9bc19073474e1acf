import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { clientOf, ranks, status } from "../testing/console-fixtures.js";
import { OpswapError } from "../types/errors.js";
import { Feed, type FeedEvent } from "./feed.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A feed of an engine whose answer a test changes, with the number of times it was asked. */
function engine() {
  const now = { ranks: ranks(), up: true };
  const asked = vi.fn(async () => {
    if (!now.up) throw new OpswapError("OPSWAP_E_NOT_RUNNING", "gone");
    return { ranks: now.ranks };
  });
  const connect = vi.fn(async () => clientOf({ status: async () => status(), ops: asked }));
  const events: FeedEvent[] = [];
  return { now, asked, connect, events, feed: new Feed(connect, 1_000) };
}

it("asks once whatever the number of subscribers, and tells each of them", async () => {
  const { feed, asked, events } = engine();
  const others: FeedEvent[] = [];
  const ends = [feed.subscribe((one) => events.push(one)), feed.subscribe((one) => others.push(one))];
  await vi.advanceTimersByTimeAsync(3_500);
  expect(asked).toHaveBeenCalledTimes(4);
  expect(others).toEqual(events);
  expect(events).toHaveLength(4);
  for (const end of ends) end();
  await vi.advanceTimersByTimeAsync(5_000);
  expect(asked).toHaveBeenCalledTimes(4);
});

it("tells a new subscriber all that is known, and others only what changed", async () => {
  const { feed, now, events } = engine();
  feed.subscribe((one) => events.push(one));
  await vi.advanceTimersByTimeAsync(1_500);
  now.ranks = ranks("ref", 1);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(events.map((one) => Object.keys(one).sort())).toEqual([
    ["at", "ranks", "status", "type"],
    ["at", "type"],
    ["at", "ranks", "type"],
  ]);
  const late: FeedEvent[] = [];
  feed.subscribe((one) => late.push(one));
  expect(late).toEqual([{ type: "seen", at: expect.any(Number), status: status(), ranks: now.ranks }]);
});

it("tells a loss, connects again, and never asks twice at a time", async () => {
  const { feed, now, connect, events } = engine();
  feed.subscribe((one) => events.push(one));
  await vi.advanceTimersByTimeAsync(500);
  now.up = false;
  await vi.advanceTimersByTimeAsync(1_000);
  const late: FeedEvent[] = [];
  feed.subscribe((one) => late.push(one));
  expect(late.map(({ type }) => type)).toEqual(["seen", "lost"]);
  now.up = true;
  await vi.advanceTimersByTimeAsync(1_000);
  expect(events.map(({ type }) => type)).toEqual(["seen", "lost", "seen"]);
  expect(connect).toHaveBeenCalledTimes(2);
});

it("keeps the connection of an engine that is slow or refuses, for a switch may be under way on it", async () => {
  const close = vi.fn(async () => {});
  const ops = vi
    .fn()
    .mockRejectedValueOnce(new OpswapError("OPSWAP_E_TIMEOUT", "ops: not every rank answered"));
  const client = clientOf({
    status: async () => status(),
    ops: ops.mockResolvedValue({ ranks: ranks() }),
    close,
  });
  const connect = vi.fn(async () => client);
  const types: string[] = [];
  new Feed(connect, 1_000).subscribe(({ type }) => types.push(type));
  await vi.advanceTimersByTimeAsync(1_500);
  expect(types).toEqual(["lost", "seen"]);
  expect(connect).toHaveBeenCalledTimes(1);
  expect(close).not.toHaveBeenCalled();
});

it("connects again when that failed, whatever the reason was", async () => {
  const connect = vi.fn().mockRejectedValueOnce(new OpswapError("OPSWAP_E_AMBIGUOUS", "two engines"));
  connect.mockResolvedValue(
    clientOf({ status: async () => status(), ops: async () => ({ ranks: ranks() }) }),
  );
  const types: string[] = [];
  new Feed(connect, 1_000).subscribe(({ type }) => types.push(type));
  await vi.advanceTimersByTimeAsync(1_500);
  expect(types).toEqual(["lost", "seen"]);
});

it("tells nothing to a subscriber whose subscription another ends on the way", async () => {
  const { feed } = engine();
  const told: string[] = [];
  const ends: (() => void)[] = [];
  feed.subscribe(() => {
    told.push("first");
    for (const end of ends) end();
  });
  ends.push(feed.subscribe(() => told.push("second")));
  await vi.advanceTimersByTimeAsync(500);
  expect(told).toEqual(["first"]);
});

it("asks a slow engine no second time before it has answered", async () => {
  const ops = vi.fn(() => new Promise<never>(() => {}));
  const client = clientOf({ status: async () => status(), ops });
  const feed = new Feed(async () => client, 100);
  const end = feed.subscribe(() => {});
  await vi.advanceTimersByTimeAsync(1_000);
  end();
  feed.subscribe(() => {});
  await vi.advanceTimersByTimeAsync(1_000);
  expect(ops).toHaveBeenCalledTimes(1);
});
