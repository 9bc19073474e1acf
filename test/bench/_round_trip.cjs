// The least that `opswap status` could be: ZeroMQ loaded, one request to the agent answered. Its answer is a refusal,
// since an empty map is no request.
//
// node test/bench/_round_trip.cjs ADDRESS
const { Dealer } = require("zeromq");

const socket = new Dealer({ linger: 0 });
socket.connect(process.argv[2]);
socket
  .send(Buffer.from([0x80]))
  .then(() => socket.receive())
  .then(() => socket.close());
