// Test results: one shape for all runners, read from the JUnit files that pytest and ctest write.
import { existsSync, readFileSync } from "node:fs";
import { basename } from "node:path";

/** @typedef {{ passed: number, failed: string[], skipped: { name: string, reason: string }[] }} Results each failure by its name and message */

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
  const results = { passed: 0, failed: [], skipped: [] };
  for (const [, tag = "", body = ""] of xml.matchAll(
    /<testcase\b((?:"[^"]*"|[^>"])*?)(?:\/>|>([\s\S]*?)<\/testcase>)/g,
  )) {
    const skip = body.match(/<skipped\b([^>]*)/);
    const failure = body.match(/<(?:failure|error)\b([^>]*)/);
    if (failure || attribute(tag, "status") === "fail")
      results.failed.push(withMessage(nameOf(tag), attribute(failure?.[1] ?? "", "message")));
    else if (skip) results.skipped.push({ name: nameOf(tag), reason: attribute(skip[1] ?? "", "message") });
    else results.passed += 1;
  }
  return results;
}

const MOST_OF_A_MESSAGE = 200;

/** @param {string} name @param {string} message @returns {string} on one line */
export function withMessage(name, message) {
  const line = message.replaceAll(/\s+/g, " ").trim().slice(0, MOST_OF_A_MESSAGE);
  return line === "" ? name : `${name}: ${line}`;
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
  const results = existsSync(file)
    ? read(readFileSync(file, "utf8"))
    : { passed: 0, failed: [], skipped: [] };
  const silent =
    results.failed.length === 0 && (exitCode !== 0 || results.passed + results.skipped.length === 0);
  return silent ? { ...results, failed: [`${basename(file)}: exit ${exitCode}, no failure named`] } : results;
}

/** @param {Results[]} all @returns {Results} */
export function total(all) {
  return {
    passed: all.reduce((sum, one) => sum + one.passed, 0),
    failed: all.flatMap((one) => one.failed),
    skipped: all.flatMap((one) => one.skipped),
  };
}
