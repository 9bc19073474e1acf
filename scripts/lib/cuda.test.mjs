import { describe, expect, it } from "vitest";
import { costOf, isNewEnough, releaseOf } from "./cuda.mjs";

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

  it("took what the log's last line says", () => {
    expect(costOf("ptxas info\ncost: 3.38 s of CPU, 231 MB\n")).toEqual({ seconds: 3.38, megabytes: 231 });
    expect(costOf("ptxas info\n")).toBeNull();
  });
});
