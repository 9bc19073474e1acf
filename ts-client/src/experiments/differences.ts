/** Where two plain values differ. */

/** A path of keys, with what stands there in the one and in the other. */
export interface Difference {
  path: string;
  one: unknown;
  other: unknown;
}

/** Every place in which they differ, down to what is no object. */
export function differences(one: unknown, other: unknown, at = ""): Difference[] {
  if (Object.is(one, other)) return [];
  if (!isObject(one) || !isObject(other)) return [{ path: at, one, other }];
  const keys = new Set([...Object.keys(one), ...Object.keys(other)]);
  return [...keys].flatMap((key) => differences(one[key], other[key], at === "" ? key : `${at}.${key}`));
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null;
