/** The type of a tensor that calls of ops take. */
import type { TensorLike } from "../generated/ops.js";

/** A tensor in memory that the client which made it can hand to an op without a copy. */
export type OpTensor = TensorLike;
