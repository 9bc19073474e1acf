import { defineConfig } from "vitest/config";

const ENGINE_TESTS = "test/**/*.engine.test.ts";

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "fast",
          include: ["ts-client/src/**/*.test.{ts,tsx}", "scripts/**/*.test.mjs", "test/**/*.test.ts"],
          exclude: [ENGINE_TESTS],
          testTimeout: 30_000,
          hookTimeout: 60_000,
        },
      },
      {
        // One `vllm serve` for all of them, so the files share a process and run one after another.
        test: {
          name: "engine",
          include: [ENGINE_TESTS],
          testTimeout: 120_000,
          hookTimeout: 900_000,
          fileParallelism: false,
          isolate: false,
        },
      },
    ],
  },
});
