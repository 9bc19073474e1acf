import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { CONVERT_ERRORS } from "./errors.js";

it("docs/convert.md lists every error as the code has it", () => {
  const page = readFileSync(new URL("../../../docs/convert.md", import.meta.url), "utf8");
  const rows = [...page.matchAll(/^\| `(OPSWAP_E_\w+)` \| (.+) \| (.+) \|$/gm)];
  const documented = Object.fromEntries(rows.map(([, code, meaning, remedy]) => [code, { meaning, remedy }]));
  expect(documented).toEqual(CONVERT_ERRORS);
});
