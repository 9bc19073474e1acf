#!/usr/bin/env bash
# jStat: probabilities of counts as a busy server has them.
# Expected: P(X <= 150) of a Poisson mean of 140 is 0.8134, P(X <= 200) of a mean of 180 is 0.9348, and the binomial
# probability of 500 in 2,000 at 0.25 is 0.0206 (scipy 1.17).
# Seen: Infinity, NaN and Infinity, without an error. A count of 100 is right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --ignore-scripts --no-audit --no-fund jstat@1.9.6
cat > ask.cjs <<'JS'
const { jStat } = require("jstat");
console.log(jStat.poisson.cdf(100, 100).toFixed(4));
console.log(String(jStat.poisson.cdf(150, 140)));
console.log(String(jStat.poisson.cdf(200, 180)));
console.log(String(jStat.binomial.pdf(500, 2000, 0.25)));
JS
node ask.cjs | tee seen
printf '%s\n' 0.5266 Infinity NaN Infinity > expected
diff expected seen && echo "as seen with jStat 1.9.6"
