/** Parses an option that is a share. */
import { InvalidArgumentError } from "commander";

/** A share from 0 to 1, as 0.01 or 1%. */
export function shareOption(text: string): number {
  const [, number, percent] = /^([0-9.]+)(%?)$/.exec(text) ?? [];
  const share = Number(number) / (percent ? 100 : 1);
  if (!(share >= 0 && share <= 1)) throw new InvalidArgumentError("a share from 0 to 1, such as 0.01 or 1%");
  return share;
}
