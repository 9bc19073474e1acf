import { cpSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { packageVersion } from "../../ts-client/src/version.js";
import { NATIVE, Place, TARBALLS } from "./installed.js";

const version = packageVersion();
/** One line that says it, with its code, and what to do below. */
const refusal = (code: string, remedy: RegExp) =>
  new RegExp(`^opswap: [^\\n]+ \\[${code}\\]\\n {2}[^\\n]*${remedy.source}[^\\n]*\\n$`);

/** A setting that plays another machine before opswap is read. */
const played = (place: Place, code: string) => {
  const file = path.join(place.app, "played.cjs");
  writeFileSync(file, code);
  return { NODE_OPTIONS: `--require ${file}` };
};

/** What plays another machine, and what is said of it. */
const OTHERS: [string, string, RegExp][] = [
  [
    "another processor",
    "Object.defineProperty(process, 'arch', { value: 'arm64' })",
    /linux-x64 alone, and this is linux-arm64/,
  ],
  [
    "another system",
    "Object.defineProperty(process, 'platform', { value: 'darwin' })",
    /Linux alone, and this is darwin/,
  ],
  [
    "another C library",
    "process.report.getReport = () => ({ header: {}, sharedObjects: ['/lib/ld-musl-x86_64.so.1'] })",
    /GNU C library alone.*musl/,
  ],
];

describe("without the package of native code", () => {
  let place: Place;
  beforeAll(() => {
    place = new Place();
    place.install(TARBALLS.main);
  });
  afterAll(() => place.remove());

  it("installs, and does what needs no library", () => {
    expect(place.opswap(["--version"]).out).toBe(`${version}\n`);
    expect(place.opswap(["status"]).err).toMatch(/OPSWAP_E_NOT_RUNNING/);
    expect(place.opswap(["doctor"]).out).toMatch(
      /^fail +library: @opswap\/native-linux-x64 is not installed/m,
    );
  });

  it("says which package is missing and how to get it", () => {
    const { code, err } = place.opswap(["ops", "--local"]);
    expect(code).toBe(3);
    expect(err).toMatch(refusal("OPSWAP_E_NATIVE", /install both packages together.*npm install/));
  });

  it.each(OTHERS)("on %s says that there is none (played)", (_what, code, remedy) => {
    const { err } = place.opswap(["ops", "--local"], played(place, code));
    expect(err).toMatch(refusal("OPSWAP_E_NATIVE", remedy));
  });
});

describe("the package of native code", () => {
  let place: Place;
  beforeAll(() => {
    place = new Place();
  });
  afterAll(() => place.remove());

  // Which C library there is npm reads from the machine's own ldd, which cannot be played.
  it.each(OTHERS.slice(0, 2))("is refused by npm itself on %s (played)", (_what, code) => {
    const args = ["install", "--ignore-scripts", TARBALLS.native];
    const { code: exit, err } = place.run("npm", args, played(place, code));
    expect(exit).not.toBe(0);
    expect(err).toMatch(/EBADPLATFORM/);
  });
});

describe("an installation whose parts do not fit", () => {
  let place: Place;
  beforeAll(() => {
    place = new Place();
    place.install(TARBALLS.main, TARBALLS.native);
  });
  afterAll(() => place.remove());
  const local = (more?: NodeJS.ProcessEnv) => place.opswap(["ops", "--local"], more);

  /** With a file away. */
  const without = (file: string, look: () => void) => {
    renameSync(file, `${file}.away`);
    try {
      look();
    } finally {
      renameSync(`${file}.away`, file);
    }
  };

  it("half of the native package is gone", () => {
    without(place.file(NATIVE, "libopswap.so"), () => {
      const { code, err } = local();
      expect(code).toBe(3);
      expect(err).toMatch(refusal("OPSWAP_E_NATIVE", /install both packages together/));
      expect(err).toMatch(/libopswap\.so: cannot open/);
    });
    expect(local().code).toBe(0);
  });

  it("the library is another file", () => {
    const library = place.file(NATIVE, "libopswap.so");
    without(library, () => {
      writeFileSync(library, "not a library");
      expect(local().err).toMatch(refusal("OPSWAP_E_NATIVE", /install both packages together/));
      rmSync(library);
    });
  });

  it("the library is of another version than the client", () => {
    const file = place.file("opswap/package.json");
    const text = readFileSync(file, "utf8");
    writeFileSync(file, text.replace(`"version": "${version}"`, '"version": "9.9.9"'));
    const { code, err } = local();
    writeFileSync(file, text);
    expect(code).toBe(3);
    expect(err).toMatch(refusal("OPSWAP_E_INSTALL", /install both packages together/));
    expect(err).toMatch(new RegExp(`is opswap ${version}, this client is 9\\.9\\.9`));
  });

  describe("two copies in one process", () => {
    const second = () => path.join(place.app, "second/node_modules");
    const code = () => `
      const first = await (await import("opswap")).connectLocal();
      await first.use([{ op: "silu", impl: "ref" }]);
      const { connectLocal } = await import(${JSON.stringify(path.join(second(), "opswap/dist/client/index.js"))});
      try {
        const { ranks } = await (await connectLocal()).ops("silu");
        console.log(ranks[0].ops[0].active);
      } catch ({ code, message, remedy }) {
        console.log(JSON.stringify({ code, message, remedy }));
      }`;
    beforeAll(() => {
      mkdirSync(second(), { recursive: true });
      for (const name of ["opswap", "@opswap", "zeromq"])
        cpSync(place.file(name), path.join(second(), name), { recursive: true });
    });

    it("of one version share the library, and so its choice of kernels", () => {
      expect(place.module(code())).toEqual({ code: 0, out: "ref\n", err: "" });
    });

    it("of two versions are refused, both named", () => {
      const file = path.join(second(), "opswap/package.json");
      writeFileSync(
        file,
        readFileSync(file, "utf8").replace(`"version": "${version}"`, '"version": "9.9.9"'),
      );
      const refused = JSON.parse(place.module(code()).out);
      expect(refused).toMatchObject({
        code: "OPSWAP_E_INSTALL",
        remedy: expect.stringMatching(/npm ls opswap/),
      });
      expect(refused.message).toContain(`${version} of ${place.file(NATIVE, "opswap.node")}`);
      expect(refused.message).toContain(`9.9.9 of ${path.join(second(), NATIVE, "opswap.node")}`);
    });
  });
});
