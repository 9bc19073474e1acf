/** The projects of the TypeScript tests: fast, with a real engine, and of the packages as they are installed. */
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const ENGINE_TESTS = "test/**/*.engine.test.ts";
/** What is told of every engine, on SGLang too. */
const SGLANG_TESTS = ["ab", "ab-story", "bisect", "engine-pages", "live"].map(
  (name) => `test/cli/${name}.engine.test.ts`,
);
const PACKAGE_TESTS = "test/package/**/*.test.ts";

/** A time-out ends what hangs; a slow or busy machine must not meet it. */
const HANGS_MS = 600_000;

/** What tests switch goes into an audit of their own, not into that of whoever runs them. */
const env = { OPSWAP_STATE_DIR: fileURLToPath(new URL("build/test-state", import.meta.url)) };

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "fast",
          env,
          include: ["ts-client/src/**/*.test.{ts,tsx}", "scripts/**/*.test.mjs", "test/**/*.test.ts"],
          exclude: [ENGINE_TESTS, PACKAGE_TESTS],
          testTimeout: HANGS_MS,
          hookTimeout: HANGS_MS,
        },
      },
      {
        test: {
          name: "package",
          include: [PACKAGE_TESTS],
          testTimeout: HANGS_MS,
          hookTimeout: HANGS_MS,
        },
      },
      {
        // One `vllm serve` for all of them, so the files share a process and run one after another.
        test: {
          name: "engine",
          env,
          include: [ENGINE_TESTS],
          testTimeout: HANGS_MS,
          hookTimeout: 2 * HANGS_MS,
          fileParallelism: false,
          isolate: false,
        },
      },
      {
        test: {
          name: "sglang",
          env: { ...env, OPSWAP_TEST_ENGINE: "sglang" },
          include: SGLANG_TESTS,
          testTimeout: HANGS_MS,
          hookTimeout: 2 * HANGS_MS,
          fileParallelism: false,
          isolate: false,
        },
      },
    ],
  },
});
