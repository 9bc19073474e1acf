// Test results: one shape for all runners, read from the JUnit files that pytest and ctest write.
import { existsSync, readFileSync } from "node:fs";

/** @typedef {{ passed: number, failed: number, skipped: { name: string, reason: string }[] }} Results */

const ENTITIES = { "&lt;": "<", "&gt;": ">", "&quot;": '"', "&apos;": "'", "&#10;": " ", "&amp;": "&" };

/** @param {string} text */
function decodeEntities(text) {
  return text.replace(
    /&(?:lt|gt|quot|apos|amp|#10);/g,
    (e) => ENTITIES[/** @type {keyof typeof ENTITIES} */ (e)],
  );
}

/** @param {string} tag @param {string} name */
function attribute(tag, name) {
  return decodeEntities(tag.match(new RegExp(`(?:^|\\s)${name}="([^"]*)"`))?.[1] ?? "");
}

/** @param {string} xml @returns {Results} */
export function readJUnit(xml) {
  /** @type {Results} */
  const results = { passed: 0, failed: 0, skipped: [] };
  for (const [, tag = "", body = ""] of xml.matchAll(
    /<testcase\b((?:"[^"]*"|[^>"])*?)(?:\/>|>([\s\S]*?)<\/testcase>)/g,
  )) {
    const skip = body.match(/<skipped\b([^>]*)/);
    if (/<(failure|error)\b/.test(body) || attribute(tag, "status") === "fail") results.failed += 1;
    else if (skip) results.skipped.push({ name: nameOf(tag), reason: attribute(skip[1] ?? "", "message") });
    else results.passed += 1;
  }
  return results;
}

/** @param {string} tag */
function nameOf(tag) {
  return [attribute(tag, "classname"), attribute(tag, "name")].filter(Boolean).join(" ");
}

/**
 * What a runner reported; a runner that fails without naming a failure, or reports nothing, is one failure.
 * @param {string} file
 * @param {(text: string) => Results} read
 * @param {number | string} exitCode
 * @returns {Results}
 */
export function collect(file, read, exitCode) {
  const results = existsSync(file) ? read(readFileSync(file, "utf8")) : { passed: 0, failed: 0, skipped: [] };
  const silent = results.failed === 0 && (exitCode !== 0 || results.passed + results.skipped.length === 0);
  return silent ? { ...results, failed: 1 } : results;
}

/** @param {Results[]} all @returns {Results} */
export function total(all) {
  return {
    passed: all.reduce((sum, one) => sum + one.passed, 0),
    failed: all.reduce((sum, one) => sum + one.failed, 0),
    skipped: all.flatMap((one) => one.skipped),
  };
}
