/** Names of the weight files of single tensor-parallel ranks, in vLLM's sharded_state. */

/** A file of one rank, as vLLM's sharded_state looks for it. */
const FILE = /^model-rank-(\d+)-part-\d+\.safetensors$/;

export const rankFile = (rank: number, part: number) => `model-rank-${rank}-part-${part}.safetensors`;

/** Of the rank whose file it is in; ranks have tensors of the same names. */
export const atRank = (tensor: string, rank: number | string) => `${tensor}@${rank}`;

export const rankOf = (file: string): string | undefined => FILE.exec(file)?.[1];
