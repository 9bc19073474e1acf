/** conversion.html: the report as a page with tables and a picture of the error by layer. */
import { perplexityWords } from "./perplexity-report.js";
import type { Report } from "./report.js";
import type { ScaledGroup } from "./scaled-groups.js";
import type { TensorReport } from "./tensor-report.js";

const WIDTH = 960;
const HEIGHT = 260;
/** Room for neighbours to either side of a layer's place. */
const DODGE = 8;
const LEAST_RANGE = 0.2;
const MARGIN = { left: 48, right: 12, top: 12, bottom: 34 };

type Measured = TensorReport & { quality: NonNullable<TensorReport["quality"]> };

/** The report as a page that needs nothing else: totals, a picture of the error by layer, the worst, every tensor. */
export function* pageText(report: Report): Generator<string> {
  const measured = report.tensors.filter((one): one is Measured => one.quality !== null);
  const { totals, layout } = report;
  yield `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Conversion to ${text(layout.id)}</title><style>${STYLE}</style></head><body>
<h1>Conversion to ${text(layout.id)}</h1>
<dl>${facts(report)}</dl>
<h2>Signal to noise by layer, in decibels</h2>
`;
  yield* picture(measured);
  yield `<h2>The worst of ${totals.quantized}</h2>`;
  yield* table(measured.toSorted((a, b) => decibel(a) - decibel(b)).slice(0, report.worst.length));
  if (report.scaled) yield* scaledTable(report.scaled);
  yield "<h2>Every quantised tensor</h2>";
  yield* table(measured);
  yield "<h2>Not quantised</h2>";
  yield* keptTable(report.tensors.filter((one) => one.quality === null));
  yield "</body></html>\n";
}

const decibel = (one: Measured) => one.quality.sqnr_db ?? Number.POSITIVE_INFINITY;

function facts(report: Report): string {
  const { totals, layout, options, tool, source, output, digest_method: method } = report;
  const rows: [string, string][] = [
    ["Tensors", `${totals.tensors}, ${totals.quantized} of them quantised`],
    ["Size", `${gigabytes(totals.source_bytes)} became ${gigabytes(totals.output_bytes)}`],
    ["Signal to noise", totals.sqnr_db === null ? "exact" : `${totals.sqnr_db.toFixed(2)} dB over all`],
    ["Perplexity", perplexityWords(report.perplexity)],
    ["Not finite", totals.nonfinite === 0 ? "none" : `${totals.nonfinite}, policy ${options.nonfinite}`],
    options.repack
      ? ["Codes and scales", "those of the input"]
      : [
          "Policy",
          `${options.policy}; scales: ${options.scales}${options.awq ? ", channels scaled by activations" : ""}; calibration: ${options.calibration ?? "none"}`,
        ],
    ["Layout", `${layout.id}, version ${layout.version}`],
    ["Made by", `${tool.name} ${tool.version}`],
    ["Digest of input", source.digest],
    ["Digest of output", output.digest],
    ["Digests are", method],
  ];
  return rows.map(([name, value]) => `<dt>${text(name)}</dt><dd>${text(value)}</dd>`).join("");
}

const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(3)} GB`;

/** A dot for each tensor over its layer, coloured by what it is. */
function* picture(tensors: readonly Measured[]): Generator<string> {
  const points = tensors.flatMap((one) =>
    one.quality.sqnr_db === null ? [] : [{ name: one.name, db: one.quality.sqnr_db, ...placeOf(one.name) }],
  );
  if (points.length === 0) return yield "<p>Nothing was lost.</p>\n";
  const kinds = [...new Set(points.map((point) => point.kind))].sort();
  const layers = points.reduce((most, { layer }) => Math.max(most, layer), 1);
  const scale = axis(points.map((point) => point.db));
  const { low, high } = scale;
  const y = (db: number) => MARGIN.top + ((high - db) / (high - low)) * (HEIGHT - MARGIN.top - MARGIN.bottom);
  const colour = (kind: string) => `hsl(${Math.round((kinds.indexOf(kind) * 360) / kinds.length)} 65% 42%)`;
  yield `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="signal to noise of each tensor by layer">\n`;
  yield* frame(scale, layers, y);
  const x = across(layers, kinds);
  for (const { name, db, layer, kind } of points)
    yield `<circle cx="${x(layer, kind).toFixed(1)}" cy="${y(db).toFixed(1)}" r="3.5" fill="${colour(kind)}"><title>${text(name)}: ${db.toFixed(2)} dB</title></circle>\n`;
  const legend = kinds.map((kind) => `<span><i style="background:${colour(kind)}"></i>${text(kind)}</span>`);
  yield `</svg><p class="legend">${legend.join(" ")}</p>\n`;
}

/** Where a dot stands: at its layer, kinds of one beside each other, because their values are often the same. */
function across(layers: number, kinds: readonly string[]) {
  const inner = WIDTH - MARGIN.left - MARGIN.right - 2 * DODGE;
  const spread = Math.min(2 * DODGE, (0.7 * inner) / layers);
  const aside = (kind: string) =>
    (kinds.length > 1 ? kinds.indexOf(kind) / (kinds.length - 1) - 0.5 : 0) * spread;
  return (layer: number, kind?: string) =>
    MARGIN.left + DODGE + (layer / layers) * inner + (kind === undefined ? 0 : aside(kind));
}

/** Lines and labels of both axes. */
function* frame(scale: ReturnType<typeof axis>, layers: number, y: (db: number) => number) {
  for (const db of scale.ticks)
    yield `<line x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${y(db)}" y2="${y(db)}"/><text x="${MARGIN.left - 6}" y="${y(db) + 4}" text-anchor="end">${db.toFixed(scale.digits)}</text>`;
  const x = across(layers, []);
  for (const layer of ticks(0, layers))
    yield `<text x="${x(layer)}" y="${HEIGHT - 16}" text-anchor="middle">${layer}</text>`;
  yield `<text x="${WIDTH / 2}" y="${HEIGHT - 2}" text-anchor="middle">layer</text>\n`;
}

/** Layer and kind of a tensor, by its name. */
function placeOf(name: string): { layer: number; kind: string } {
  const layer = /\.(\d+)\./.exec(name)?.[1] ?? "0";
  return { layer: Number(layer), kind: /([^.]+)\.weight$/.exec(name)?.[1] ?? name };
}

/** A range that shows differences, of at least a fifth of a decibel, with four to ten round steps. */
function axis(values: readonly number[]) {
  const [least, most] = values.reduce(
    ([a, b], value) => [Math.min(a, value), Math.max(b, value)],
    [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY],
  );
  const missing = Math.max(0, LEAST_RANGE - (most - least)) / 2;
  const range = most - least + 2 * missing;
  const step = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20].find((one) => range / one <= 8) ?? 50;
  const [first, last] = [Math.floor((least - missing) / step), Math.ceil((most + missing) / step)];
  const ticks = Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
  return { low: first * step, high: last * step, ticks, digits: step < 0.1 ? 2 : step < 1 ? 1 : 0 };
}

/** Up to about ten whole numbers from low to high. */
function ticks(low: number, high: number): number[] {
  const step = Math.max(1, Math.ceil((high - low) / 10));
  return Array.from({ length: Math.floor((high - low) / step) + 1 }, (_, i) => low + i * step);
}

function table(tensors: readonly Measured[]): Iterable<string> {
  const heads = [
    "Tensor",
    "Shape",
    "SQNR dB",
    "Largest error",
    "Scales",
    "Zeros",
    "Became zero",
    "At the limit",
  ];
  return htmlTable(heads, tensors, ({ name, shape, quality }) => [
    name,
    shape.join(" x "),
    quality.sqnr_db?.toFixed(2) ?? "exact",
    quality.max_error.toExponential(2),
    `${quality.smallest_scale.toExponential(2)} to ${quality.largest_scale.toExponential(2)}`,
    String(quality.zeros),
    String(quality.flushed_to_zero),
    String(quality.at_limit),
  ]);
}

function* scaledTable(groups: readonly ScaledGroup[]): Generator<string> {
  yield "<h2>Channels scaled by activations</h2>";
  const heads = ["Divided out of", "Into", "Exponent", "Weighted error before", "After", "Share left"];
  yield* htmlTable(heads, groups, ({ from, into, alpha, error_before: before, error_after: after }) => [
    from,
    into.join(", "),
    String(alpha),
    before.toExponential(3),
    after.toExponential(3),
    before === 0 ? "exact" : (after / before).toFixed(3),
  ]);
}

function keptTable(tensors: readonly TensorReport[]): Iterable<string> {
  const heads = ["Tensor", "Shape", "Dtype", "Why"];
  return htmlTable(heads, tensors, ({ name, shape, dtype, why }) => [name, shape.join(" x "), dtype, why]);
}

const NUMBER = /^(exact|[\d.]+(e[+-]\d+)?)$/;

/** Rows are made twice, once to see which columns are numbers, so that they never are in memory together. */
function* htmlTable<T>(
  heads: readonly string[],
  items: readonly T[],
  rowOf: (item: T) => readonly string[],
): Generator<string> {
  const numeric = heads.map(() => items.length > 0);
  for (const item of items)
    for (const [i, cell] of rowOf(item).entries()) numeric[i] = numeric[i] === true && NUMBER.test(cell);
  const cells = (tag: string, row: readonly string[]) =>
    row.map((cell, i) => `<${tag}${numeric[i] ? ' class="n"' : ""}>${text(cell)}</${tag}>`).join("");
  yield `<div class="wide"><table><thead><tr>${cells("th", heads)}</tr></thead><tbody>\n`;
  for (const item of items) yield `<tr>${cells("td", rowOf(item))}</tr>\n`;
  yield "</tbody></table></div>\n";
}

/** Names come from files that others made. */
function text(value: string): string {
  return value.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}

const STYLE = `body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:62rem;padding:0 1rem;color:#1b1f24;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem}dt{color:#57606a}dd{margin:0;overflow-wrap:anywhere}
svg{width:100%;height:auto;background:#f6f8fa;border-radius:6px}svg line{stroke:#d0d7de}svg text{font-size:11px;fill:#57606a}
.legend span{margin-right:1rem;white-space:nowrap}.legend i{display:inline-block;width:.7rem;height:.7rem;border-radius:50%;margin-right:.3rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:13px}
th,td{text-align:left;padding:.2rem .6rem .2rem 0;border-bottom:1px solid #eaeef2;vertical-align:top}td:first-child{overflow-wrap:anywhere;min-width:12rem}
td:not(:first-child),th{white-space:nowrap}.n{text-align:right}.wide{overflow-x:auto}td:last-child{white-space:normal;min-width:6rem}`;
