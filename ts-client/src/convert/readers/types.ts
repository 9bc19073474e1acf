/** What the rules of a reader look at, and what they answer. */
import type { Modules } from "../formats/types.js";

/** A matrix that is quantised, by its shape before it was packed. */
export interface Matrix {
  name: string;
  shape: readonly number[];
}

/** What readers' rules look at: what an output is, whoever wrote it. */
export interface OutputFacts extends Modules {
  /** Layout id. */
  layout: string;
  architectures: readonly string[];
  matrices: readonly Matrix[];
}

/** Why a reader does not load an output right, and what to do. */
export interface Problem {
  problem: string;
  /** Another layout, or what to keep, that this reader then loads right. */
  remedy: string;
  /** Where the reader's own code says so. */
  file: string;
  tensors?: readonly string[];
}

/** What one reader does with every layout. */
export interface ReaderRules {
  name: string;
  version: string;
  /** Whether its own code was seen loading: how this is known. */
  known: "loaded" | "read";
  problems(facts: OutputFacts): Problem[];
}
