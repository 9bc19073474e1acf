/** Who runs this process, in one word. */
import { whoRuns } from "../../experiments/audit/audited-switch.js";

export function whoAmI(): string {
  const { user, host } = whoRuns();
  return `${user}@${host}`;
}
