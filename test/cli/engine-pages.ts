/** What the pages of docs/engines tell a user to type. */
import { readFileSync } from "node:fs";
import path from "node:path";
import { root } from "./harness.js";

export interface Page {
  /** Folder of the adapter, and name of the page. */
  engine: string;
  text: string;
}

export function page(engine: string): Page {
  return { engine, text: readFileSync(path.join(root, `docs/engines/${engine}.md`), "utf8") };
}

/** Blocks of lines for a shell. */
export function blocks({ text }: Page): string[] {
  const found = text.matchAll(/^( *)```\n(.*?)^\1```$/gms);
  return [...found].map(([, indent = "", block = ""]) => block.replace(new RegExp(`^${indent}`, "gm"), ""));
}

/** Lines of opswap, as words. */
export function commands(of: Page): { line: string; words: string[] }[] {
  const lines = blocks(of).flatMap((block) => [...block.matchAll(/^npx opswap (.*)$/gm)]);
  return lines.map(([, line = ""]) => {
    const [said = ""] = line.split(/\s{2,}# /);
    const words = [...said.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, word]) => quoted ?? word ?? "");
    return { line: said, words };
  });
}
