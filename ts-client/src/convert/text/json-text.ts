/** Changes of a JSON object's text that leave the rest of it as it is. */
import { endOfString } from "./duplicate-keys.js";

interface Member {
  key: string;
  /** From the key's quote to the end of its value, which begins at `value`. */
  begin: number;
  value: number;
  end: number;
}

/** Where the value begins whose key ends at `close`. */
function valueAfter(text: string, close: number): number {
  let at = text.indexOf(":", close) + 1;
  while (/\s/.test(text[at] ?? "")) at++;
  return at;
}

/** The members of the object that a valid JSON text is; none where it is something else. */
function membersOf(text: string): Member[] {
  const members: Member[] = [];
  let depth = 0;
  let member: Omit<Member, "end"> | undefined;
  let end = 0;
  if (!text.trimStart().startsWith("{")) return members;
  for (let at = 0; at < text.length; at++) {
    const char = text[at] ?? "";
    if (char === '"') {
      const close = endOfString(text, at);
      if (depth === 1 && member === undefined)
        member = {
          key: String(JSON.parse(text.slice(at, close + 1))),
          begin: at,
          value: valueAfter(text, close),
        };
      at = close;
    } else if (char === "{" || char === "[") depth++;
    else if ((char === "," && depth === 1) || ((char === "}" || char === "]") && --depth === 0)) {
      if (member !== undefined) members.push({ ...member, end });
      member = undefined;
    }
    if (!/\s/.test(char)) end = at + 1;
  }
  return members;
}

/** Without a member, its comma and the space before it; all of them where a key is there twice. */
export function withoutKey(text: string, key: string): string {
  const members = membersOf(text);
  const i = members.findIndex((one) => one.key === key);
  const found = members[i];
  if (found === undefined) return text;
  const before = members[i - 1];
  const after = members[i + 1];
  const without =
    before !== undefined
      ? text.slice(0, before.end) + text.slice(found.end)
      : text.slice(0, found.begin) + text.slice(after?.begin ?? found.end);
  return withoutKey(without, key);
}

/** Without the member at the end of a path of keys. */
export function withoutPath(text: string, [key, ...rest]: readonly string[]): string {
  if (key === undefined) return text;
  if (rest.length === 0) return withoutKey(text, key);
  const found = membersOf(text).filter((one) => one.key === key);
  return found.reduceRight((changed, { value, end }) => {
    const inner = withoutPath(changed.slice(value, end), rest);
    return changed.slice(0, value) + inner + changed.slice(end);
  }, text);
}

/** With a member more, at the end. */
export function withKey(text: string, key: string, value: unknown): string {
  const end = text.lastIndexOf("}");
  const comma = membersOf(text).length === 0 ? "" : ",";
  const shown = JSON.stringify(value, null, 2).replaceAll("\n", "\n  ");
  return `${text.slice(0, end).trimEnd()}${comma}\n  ${JSON.stringify(key)}: ${shown}\n${text.slice(end)}`;
}
