/** The types of elements that a GGUF file may hold, with the size of their groups. */

/** A type of GGUF: elements are stored in groups, whose bytes are the same for every group. */
export interface GgufType {
  name: string;
  elements: number;
  bytes: number;
  /** Whether the converter can read its elements. */
  read: boolean;
}

type Row = [id: number, name: string, elements: number, bytes: number, read?: "read"];

const ROWS: readonly Row[] = [
  [0, "F32", 1, 4, "read"],
  [1, "F16", 1, 2, "read"],
  [2, "Q4_0", 32, 18, "read"],
  [3, "Q4_1", 32, 20, "read"],
  [6, "Q5_0", 32, 22, "read"],
  [7, "Q5_1", 32, 24, "read"],
  [8, "Q8_0", 32, 34, "read"],
  [9, "Q8_1", 32, 36],
  [10, "Q2_K", 256, 84],
  [11, "Q3_K", 256, 110],
  [12, "Q4_K", 256, 144, "read"],
  [13, "Q5_K", 256, 176, "read"],
  [14, "Q6_K", 256, 210, "read"],
  [15, "Q8_K", 256, 292],
  [16, "IQ2_XXS", 256, 66],
  [17, "IQ2_XS", 256, 74],
  [18, "IQ3_XXS", 256, 98],
  [19, "IQ1_S", 256, 50],
  [20, "IQ4_NL", 32, 18],
  [21, "IQ3_S", 256, 110],
  [22, "IQ2_S", 256, 82],
  [23, "IQ4_XS", 256, 136],
  [24, "I8", 1, 1],
  [25, "I16", 1, 2],
  [26, "I32", 1, 4],
  [27, "I64", 1, 8],
  [28, "F64", 1, 8, "read"],
  [29, "IQ1_M", 256, 56],
  [30, "BF16", 1, 2, "read"],
  [34, "TQ1_0", 256, 54],
  [35, "TQ2_0", 256, 66],
  [39, "MXFP4", 32, 17],
];

export const GGUF_TYPES: ReadonlyMap<number, GgufType> = new Map(
  ROWS.map(([id, name, elements, bytes, read]) => [id, { name, elements, bytes, read: read === "read" }]),
);

/** Names of the types that the converter reads. */
export const READ_TYPES = ROWS.filter((row) => row[4] === "read").map(([, name]) => name);
