#!/usr/bin/env bash
# expectation: an empirical Bernstein confidence sequence for observations between known bounds.
# Expected: for observations between 0 and 10 with a mean of 5, an interval round 5 whose lower end is below its upper end.
# Seen: both ends are multiplied by the width of the range before they are drawn in to the bounds, so the lower end is above
# the upper one. With bounds of 0 and 1 the interval is round the mean.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3.12}" -m venv python # it takes no older one
python/bin/pip install --quiet --disable-pip-version-check expectation==0.6.1 numpy==2.5.5 scipy==1.18.1
cat > ask.py <<'PY'
import warnings

warnings.simplefilter("ignore")
import numpy as np
from expectation.confseq.confidencesequence import EmpiricalBernsteinConfidenceSequence
from expectation.confseq.confidenceconfig import EmpiricalBernsteinConfig

for width in (1.0, 10.0):
    rng = np.random.default_rng(7)
    config = EmpiricalBernsteinConfig(lower_bound=0.0, upper_bound=width)
    result = EmpiricalBernsteinConfidenceSequence(config=config).update(rng.uniform(0.0, width, 5000))
    print(f"0 to {width:g}: {result.lower:.3f} to {result.upper:.3f}")
PY
python/bin/python ask.py | tee seen
printf '%s\n' "0 to 1: 0.480 to 0.515" "0 to 10: 47.847 to 10.000" > expected
diff expected seen && echo "as seen with expectation 0.6.1"
