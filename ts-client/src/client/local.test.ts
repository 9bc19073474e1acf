import { runClientSuite } from "../testing/client-suite.js";
import { connectLocal } from "./index.js";

runClientSuite({
  makeClient: connectLocal,
  skip: [
    {
      reason: "memory of this process belongs to no client",
      tests: ["call refuses a tensor of another client"],
    },
  ],
});
