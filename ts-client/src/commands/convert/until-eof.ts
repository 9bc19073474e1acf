/** --until-eof: a conversion that ends with whoever started it. */
import { Socket } from "node:net";
import { EXIT } from "../context.js";

/** Ends this process when its standard input ends, which whoever started it holds open, until it ends itself. */
export function endWithInput(): void {
  process.stdin.on("end", () => process.exit(EXIT.failed)).resume();
  if (process.stdin instanceof Socket) process.stdin.unref(); // a file ends at once
}
