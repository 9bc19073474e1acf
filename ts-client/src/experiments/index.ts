/** Experiments: what a comparison's samples say, and the record of who changed what. */
export { type About, auditedSwitch } from "./audit/audited-switch.js";
export { collectEvents, collectFirst } from "./audit/collect.js";
export { FileAudit, parseHead, whole } from "./audit/file-store.js";
export { revert, switchBack } from "./audit/revert.js";
export {
  type AuditEntry,
  type AuditRecord,
  type AuditStore,
  MemoryAudit,
  type Verified,
} from "./audit/store.js";
export type { BucketForecast } from "./plan.js";
export { readSamples } from "./samples.js";
export { checkExperiment, checkFreeze } from "./spec/check-names.js";
export { refuseFrozen, refuseShared } from "./spec/exclusion.js";
export { type ExperimentSpec, type FreezeSpec, jsonSchema } from "./spec/experiment.js";
export { parseSpec, type ReadSpec, readExperiment, readFreeze, readSpec } from "./spec/read-file.js";
export { stateFolder } from "./state-folder.js";
export { alphaOfBucket } from "./statistics/confidence-sequence.js";
export { Latency } from "./statistics/latency.js";
export { type Guard, TailGuards } from "./statistics/tail-guards.js";
export { nextAction } from "./verdict/action.js";
export { Judge, type Judgement, judge } from "./verdict/judge.js";
export type { Derivation } from "./verdict/store.js";
export { deriveAgain, deriveVerdict, storeVerdict } from "./verdict/store.js";
