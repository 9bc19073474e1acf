import { describe, expect, it } from "vitest";
import type { EngineVersions } from "../generated/compat.js";
import { installedEngines, versionChecks } from "./doctor-versions.js";

const row = (version: string, status: "tested" | "expected" | "broken", broken = "", remedy = "") => ({
  version,
  status,
  evidence: `ran: ${version} (test/x)`,
  broken,
  remedy,
});
const TOY: EngineVersions[] = [
  {
    engine: "Toy",
    package: "toy-engine",
    versions: [
      row("2.1", "expected"),
      row("2", "broken", "no seam", "pip install toy-engine==1.5"),
      row("1.5", "tested"),
    ],
  },
];
const of = (version: string) => versionChecks({ "toy-engine": version }, TOY)[0];

describe("versions of engines", () => {
  it.each(["1.5", "1.5.0", "1.5.0.post1", "1.5+cpu"])("%s is the tested one", (version) => {
    expect(of(version)).toEqual({
      name: "toy-engine",
      state: "ok",
      message: `Toy ${version} is tested [ran: 1.5 (test/x)]`,
      remedy: "",
    });
  });

  it("takes the row that says most exactly which", () => {
    expect(of("2.1.3")).toMatchObject({ state: "warn", remedy: "pip install toy-engine==1.5" });
    expect(of("2.1.3")?.message).toContain("expected to work and was not run [ran: 2.1 (test/x)]");
    expect(of("2.2")).toMatchObject({ state: "fail", remedy: "pip install toy-engine==1.5" });
    expect(of("2.2")?.message).toContain("is broken: no seam");
  });

  it.each(["1.50", "1", "15", "dev", ""])("%j was never looked at", (version) => {
    expect(of(version)?.message).toBe(`Toy ${version} was never looked at`);
  });

  it("is a warning where the user lets that very version start all the same", () => {
    const states = ["toy-engine==2.2", "lora, toy-engine==2.2", "toy-engine==2.3", "toy-engine"].map(
      (accepted) => versionChecks({ "toy-engine": "2.2" }, TOY, accepted)[0]?.state,
    );
    expect(states).toEqual(["warn", "warn", "fail", "fail"]);
  });

  it("sends to the counters where no version was run", () => {
    const read = [{ engine: "Toy", package: "toy-engine", versions: [row("3", "expected")] }];
    const [found] = versionChecks({ "toy-engine": "3.1" }, read);
    expect(found).toMatchObject({ state: "warn", remedy: expect.stringContaining("opswap ops") });
    expect(versionChecks({ "toy-engine": "4" }, read)[0]?.remedy).toBe("pip install toy-engine==3");
  });

  it("says nothing of an engine that is not there", () => {
    expect(versionChecks({}, TOY)).toEqual([]);
  });

  it("asks a Python what it has", () => {
    const python = process.env.OPSWAP_PYTHON ?? "python3";
    expect(typeof installedEngines(python)).toBe("object");
    expect(() => installedEngines("/no/such/python")).toThrow(/ENOENT/);
  });
});
