/** The store of experiments: specs as they were applied, and their runs. */
export { alone } from "./files.js";
export * from "./runs.js";
export * from "./specs.js";
