/** Options that say which calls of an op are chosen: for shadows and recordings alike. */
import { type Command, InvalidArgumentError } from "commander";
import { shareOption } from "./share-option.js";

export interface CallsOptions {
  calls?: number;
  first?: number;
  most?: number;
  salt?: number;
}

export function callsOptions(command: Command): Command {
  return command
    .option(
      "--calls <share>",
      "of the calls of a shape bucket behind its first ones, such as 1%",
      shareOption,
    )
    .option("--first <n>", "so many calls of each bucket in any case", wholeOption)
    .option("--most <n>", "no more calls of one bucket", wholeOption)
    .option("--salt <n>", "the same choice of calls on engines that are given the same", wholeOption);
}

/** A whole number from 0, as the protocol takes it. */
export function wholeOption(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0 || text.trim() === "")
    throw new InvalidArgumentError("a whole number from 0");
  return value;
}

/** As the protocol names them; what is not given is not there. */
export function chosenCalls({ calls, first, most, salt }: CallsOptions) {
  return {
    ...(calls !== undefined && { share_of_calls: calls }),
    ...(first !== undefined && { first_of_bucket: first }),
    ...(most !== undefined && { most_of_bucket: most }),
    ...(salt !== undefined && { salt }),
  };
}
