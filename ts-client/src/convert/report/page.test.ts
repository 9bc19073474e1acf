import { expect, it } from "vitest";
import { report, tensor } from "../../testing/reports.js";
import { pageText } from "./page.js";
import type { Report } from "./report.js";

const pageOf = (one: Report) => [...pageText(one)].join("");

it("has a dot for each tensor that lost something, and the worst first", () => {
  const page = pageOf(
    report([tensor("m.0.a.weight", 31), tensor("m.7.b.weight", 20), tensor("m.3.c.weight", null)]),
  );
  expect(page.match(/<circle /g)).toHaveLength(2);
  const worst = page.slice(page.indexOf("The worst"), page.indexOf("Every quantised"));
  expect(worst).toContain("m.7.b.weight");
  expect(worst).not.toContain("m.0.a.weight");
  expect(page).not.toMatch(/NaN|undefined|Infinity/);
});

it("shows small differences on a fine scale, and large ones on a coarse one", () => {
  const labels = (...db: number[]) => {
    const page = pageOf(report(db.map((value, i) => tensor(`m.${i}.a.weight`, value))));
    return [...page.matchAll(/text-anchor="end">([\d.]+)</g)].map(([, label]) => label);
  };
  expect(labels(31.52, 31.6)).toEqual(["31.45", "31.50", "31.55", "31.60", "31.65", "31.70"]);
  expect(labels(11, 31)).toEqual(["10", "15", "20", "25", "30", "35"]);
  expect(labels(20).length).toBeGreaterThan(2);
});

it("takes no markup from names", () => {
  const page = pageOf(report([tensor("<script>alert(1)</script>.weight", 31)]));
  expect(page).toContain("<td>&#60;script&#62;alert(1)&#60;/script&#62;.weight</td>");
  expect(page).not.toContain("<script>");
});

it("stands without a tensor that lost anything", () => {
  expect(pageOf(report([]))).toContain("Nothing was lost");
});

it("shows what was scaled by activations, and by how much that helped", () => {
  const group = { from: "m.0.norm.weight", into: ["m.0.q_proj.weight"], alpha: 0.25 };
  const scaled = [{ ...group, error_before: 4, error_after: 3 }];
  const page = pageOf({ ...report([tensor("m.0.q_proj.weight", 20)]), scaled });
  const shown = page.slice(page.indexOf("Channels scaled by activations</h2>"));
  expect(shown).toMatch(/m\.0\.norm\.weight.*m\.0\.q_proj\.weight.*0\.25.*0\.750/);
  expect(pageOf(report([]))).not.toContain("Channels scaled");
});
