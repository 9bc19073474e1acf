import { describe, expect, it } from "vitest";
import { isNewEnough, releaseOf } from "./cuda.mjs";

describe("nvcc", () => {
  it("is read from its own words", () => {
    const text = "Cuda compilation tools, release 13.0, V13.0.88\nBuild cuda_13.0.r13.0/compiler.1";
    expect(releaseOf(text)).toBe("13.0.88");
    expect(releaseOf("gcc (Debian) 12.2.0")).toBeNull();
  });

  it("needs 12.8", () => {
    const releases = ["11.8.89", "12.4.131", "12.7.1", "12.8.61", "13.0.88"];
    expect(releases.filter(isNewEnough)).toEqual(["12.8.61", "13.0.88"]);
  });
});
