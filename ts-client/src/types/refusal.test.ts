import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { OpswapError, remedyOf } from "./errors.js";
import { asRefusal } from "./refusal.js";

function thrownBy(work: () => unknown): unknown {
  try {
    return work();
  } catch (error) {
    return error;
  }
}

const system = (code: string, errno: number) =>
  Object.assign(new Error(`${code}: words, open 'f'`), { code, errno: -errno, syscall: "open", path: "f" });

describe("whatever is thrown becomes a refusal", () => {
  it("one of ours stays what it is", () => {
    const error = new OpswapError("OPSWAP_E_SHAPE", "no");
    expect(asRefusal(error)).toBe(error);
  });

  it.each([
    ["ENOENT", 2, "OPSWAP_E_IO", /exists/],
    ["EACCES", 13, "OPSWAP_E_IO", /read and write/],
    ["EISDIR", 21, "OPSWAP_E_IO", /not a folder/],
    ["ENOTDIR", 20, "OPSWAP_E_IO", /parents are folders/],
    ["EROFS", 30, "OPSWAP_E_IO", /can be written/],
    ["EMFILE", 24, "OPSWAP_E_IO", /ulimit -n/],
    ["ENOSPC", 28, "OPSWAP_E_DISK_FULL", /make room/],
    ["EDQUOT", 122, "OPSWAP_E_DISK_FULL", /make room/],
    ["EFBIG", 27, "OPSWAP_E_DISK_FULL", /ulimit -f/],
    ["EIO", 5, "OPSWAP_E_IO", /system's own words/],
  ])("%s", (code, errno, expected, remedy) => {
    const refusal = asRefusal(system(code, errno));
    expect(refusal).toMatchObject({ code: expected, message: `open f: ${code}` });
    expect(refusal.remedy).toMatch(remedy);
  });

  it("one that Node has no name for: a full quota", () => {
    const odd = Object.assign(system("EDQUOT", 122), { code: "Unknown system error -122" });
    expect(asRefusal(odd)).toMatchObject({ code: "OPSWAP_E_DISK_FULL", message: "open f: EDQUOT" });
  });

  it("a real one of Node", () => {
    const refusal = asRefusal(thrownBy(() => readFileSync("/nowhere/at/all")));
    expect(refusal).toMatchObject({ code: "OPSWAP_E_IO", message: "open /nowhere/at/all: ENOENT" });
  });

  it("one of the addon keeps its code and gets the remedy of its table", () => {
    const refusal = asRefusal(Object.assign(new Error("too big"), { code: "OPSWAP_E_MEMORY" }));
    expect(refusal).toMatchObject({
      code: "OPSWAP_E_MEMORY",
      message: "too big",
      remedy: remedyOf("OPSWAP_E_MEMORY"),
    });
    expect(refusal.remedy).not.toBe("");
  });

  it.each([
    [new TypeError("x is not\n a function"), "TypeError: x is not a function"],
    ["text", "text"],
    [undefined, "undefined"],
    [Object.assign(new Error("odd"), { code: "ERR_ODD" }), "Error: odd"],
  ])("%s is a defect in one line, with what shows more", (thrown, message) => {
    const refusal = asRefusal(thrown);
    expect(refusal).toMatchObject({ code: "OPSWAP_E_UNEXPECTED", message, cause: thrown });
    expect(refusal.remedy).toMatch(/OPSWAP_DEBUG=1/);
  });
});
