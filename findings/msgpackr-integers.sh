#!/usr/bin/env bash
# msgpackr (JavaScript) and msgpack (Python): what becomes of an integer beyond 32 bits on the way.
# Expected: MessagePack has uint64, so 4294967296 travels as one, and Python reads the int 4294967296.
# Seen: a float64 travels, and Python reads the float 4294967296.0; only a BigInt travels as an integer.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --ignore-scripts --no-audit --no-fund msgpackr@2.1.3
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check msgpack==1.1.1
cat > send.mjs <<'JS'
import { pack } from "msgpackr";
for (const value of [4294967295, 4294967296, 4294967296n]) console.log(Buffer.from(pack(value)).toString("hex"));
JS
node send.mjs | python/bin/python -c '
import msgpack, sys
for line in sys.stdin:
    value = msgpack.unpackb(bytes.fromhex(line))
    print(type(value).__name__, value)
' | tee seen
cat > expected <<'TEXT'
int 4294967295
float 4294967296.0
int 4294967296
TEXT
diff expected seen && echo "as seen with msgpackr 2.1.3 and msgpack 1.1.1"
