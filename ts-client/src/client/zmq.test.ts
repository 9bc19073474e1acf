import { afterAll, beforeAll, describe } from "vitest";
import { runClientSuite } from "../testing/client-suite.js";
import { runtimeFolder, type Server, startEngine, startSidecar } from "../testing/servers.js";
import { connectEngine, connectSidecar } from "./index.js";

const folder = runtimeFolder();
const servers: Server[] = [];

beforeAll(async () => {
  servers.push(...(await Promise.all([startSidecar(folder.dir), startEngine(folder.dir, "engine")])));
});

afterAll(async () => {
  await Promise.all(servers.map((server) => server.stop()));
  folder.remove();
});

describe("sidecar", () => {
  runClientSuite({
    makeClient: () => connectSidecar({ runtimeDir: folder.dir }),
    skip: [
      {
        reason: "a sidecar is not switched: every call names its implementation",
        tests: [
          "use switches, says what ran before, and switches back",
          "use of what runs already is no switch",
          "reset brings back what ran at load, and unpins it",
          "use is all or nothing",
          "use of an unknown op",
        ],
      },
      { reason: "a sidecar has no ranks to examine", tests: ["doctor finds a fresh process healthy"] },
    ],
  });
});

describe("engine", () => {
  runClientSuite({
    makeClient: () => connectEngine({ name: "engine", runtimeDir: folder.dir }),
    skip: [
      {
        reason: "an engine runs its model's ops, not its clients'",
        tests: [
          "call writes into the tensor it is given",
          "call runs the implementation it is told to",
          "call takes strides, scalars of both kinds and absent tensors",
          "call by named arguments fills in defaults",
          "call refuses wrong shapes before anything is written",
          "call refuses a tensor of another client",
          "call takes a plan, and codes with their scales as one argument",
          "many calls at once",
          "tensors of bad dtype or shape are refused",
        ],
      },
    ],
  });
});
