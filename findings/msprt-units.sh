#!/usr/bin/env bash
# msprt: a mixture sequential probability ratio test of two series with a known standard deviation.
# Expected: the decision does not depend on the unit. The same durations in milliseconds and in seconds, each with its
# standard deviation in that unit, are decided in the same way after the same number of observations.
# Seen: in milliseconds they differ after 3,836 observations. In seconds the call is refused, "tau must be positive", though
# tau is no argument of it: the width of the mixture is computed from the standard deviation in a way that a change of unit
# does not carry along. In hundredths of a second the same durations do not differ.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check msprt==0.1.2 numpy==1.26.4 scipy==1.14.1
cat > ask.py <<'PY'
import numpy as np
from msprt import msprt

rng = np.random.default_rng(3)
x, y = rng.normal(10.0, 1.0, 4000), rng.normal(10.08, 1.0, 4000)
for unit, factor in (("ms", 1.0), ("10 ms", 0.1), ("s", 0.001)):
    try:
        result = msprt(x=x * factor, y=y * factor, sigma=factor, truncation=4000)
        print(f"{unit}: {result.decision} after {result.n_rejection}")
    except ValueError as error:
        print(f"{unit}: {error}")
PY
python/bin/python -W ignore ask.py | tee seen
printf '%s\n' "ms: Accept H1 after 3836" "10 ms: Accept H0 after 4000" "s: tau must be positive" > expected
diff expected seen && echo "as seen with msprt 0.1.2"
