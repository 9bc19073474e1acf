/** Formats numbers, times, bytes and ages for people. */

/** 1234567 as 1,234,567. */
export function count(value: number): string {
  return value.toLocaleString("en-US");
}

/** Nanoseconds with three digits and the unit that fits; a dash when nothing was measured. */
export function duration(ns: number): string {
  if (ns <= 0) return "-";
  if (ns < 1_000) return `${Math.round(ns)} ns`;
  if (ns < 1_000_000) return `${digits(ns / 1_000)} us`;
  if (ns < 1_000_000_000) return `${digits(ns / 1_000_000)} ms`;
  return `${digits(ns / 1_000_000_000)} s`;
}

/** Bytes with three digits and the unit that fits. */
export function bytes(value: number): string {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  const step = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, value)) / 3)));
  return step === 0 ? `${value} bytes` : `${digits(value / 1000 ** step)} ${units[step]}`;
}

/** How long ago, for people. */
export function age(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1_000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`;
  return `${Math.floor(seconds / 3_600)} h ${Math.floor((seconds % 3_600) / 60)} min`;
}

function digits(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}
