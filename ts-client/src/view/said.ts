/** A plain value as a line has it. */
export const said = (value: unknown): string => (value === undefined ? "nothing" : JSON.stringify(value));
