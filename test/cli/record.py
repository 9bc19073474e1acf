"""Records one call of rms_norm of rows [3, 4] for the tests of `opswap replay`, and prints the file's name.

With the word `wrong` the recording says that the op had another version.
"""

import sys
import time
from pathlib import Path

import numpy as np
import opswap

folder = Path(sys.argv[1])
opswap.record_start("rms_norm", folder, share_of_calls=1.0)
rows = np.array([[3, 4, 0, 0], [1, 1, 1, 1], [0, 0, 0, 2]], np.float32)
opswap.call("rms_norm", np.empty_like(rows), rows, np.arange(1, 5, dtype=np.float32), 1e-5)
while opswap.record_status("rms_norm")["files"] == 0:
    time.sleep(0.001)
(file,) = folder.glob("rms_norm-*.safetensors")
if sys.argv[2:] == ["wrong"]:
    file.write_bytes(file.read_bytes().replace(b'"op_version":"1"', b'"op_version":"7"'))
print(file)
