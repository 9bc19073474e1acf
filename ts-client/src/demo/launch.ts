/** What differs between the engines that the demo can serve with: how one is started. */

/** Where the pieces are that a server is started from. */
export interface Setup {
  /** vLLM's where none is named. */
  launch?: Launch;
  /** Folder of the engine's Python environment. */
  engine: string;
  /** Folder with the `opswap` package. */
  packages: string;
  /** Folder of the model. */
  model: string;
  /** Everything that the server prints. */
  log: string;
  /** The class of vLLM's workers' extension, where it is not opswap's. */
  extension?: string;
  /** Variables beside opswap's own. */
  env?: NodeJS.ProcessEnv;
}

/** How the server of one engine is started. */
export interface Launch {
  /** Of its package, which is the first half of its name for `opswap`. */
  readonly name: string;
  /** The engine, and its server, for people. */
  readonly engine: string;
  readonly server: string;
  /** The whole of opswap's configuration is here and in `words`. */
  environment(setup: Setup): NodeJS.ProcessEnv;
  /** The command line. */
  words(setup: Setup, port: number): string[];
}

export const HOST = "127.0.0.1";
export const MODEL_NAME = "smollm2";
