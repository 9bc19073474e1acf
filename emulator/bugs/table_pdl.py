"""Bugs of programmatic launches: rooms' kernels that do not wait for the kernel in front, or not soon enough."""

from __future__ import annotations

from bug import Bug

NORM, NORM_ROWS = "rms_norm/sm90.cu", "common/device/norm_rows.h"
MOE = "moe_permute/sm90.cu"
WAIT = "  sm90::dependency_wait();\n"
ALL_ROWS = "  norm_rows<P>(source, weight"
PDL_BUGS = (
    Bug(
        "room_input_read_before_the_wait",
        "room_rms_norm",
        NORM_ROWS,
        WAIT,
        "  source.again(features, 0, features.first);\n" + WAIT,
        "before dependency_wait(), which the kernel in front writes",
        "store_normed_rows<P>(",
        line_in=NORM,
    ),
    Bug(
        "room_output_written_before_the_wait",
        "room_rms_norm",
        NORM_ROWS,
        ALL_ROWS,
        "  store(out[0], Vec<T, 1>{});\n" + ALL_ROWS,
        "programmatic launch: writes",
        "store_normed_rows<P>(",
        line_in=NORM,
    ),
    Bug(
        "room_no_dependency_wait",
        "room_rms_norm",
        NORM_ROWS,
        WAIT,
        "",
        "before dependency_wait(), which the kernel in front writes",
        "store_normed_rows<P>(",
        line_in=NORM,
    ),
    Bug(
        "room_one_thread_waits",
        "room_rms_norm",
        NORM_ROWS,
        WAIT,
        "  if (threadIdx.x + threadIdx.y == 0) sm90::dependency_wait();\n",
        "before dependency_wait(), which the kernel in front writes",
        "store_normed_rows<P>(",
        line_in=NORM,
    ),
    Bug(
        "room_choices_counted_before_the_wait",
        "room_moe_permute",
        MOE,
        "  dependency_wait();\n  dependency_trigger();\n  Sorted sorted(p, memory);\n  sorted.sort();\n",
        "  Sorted sorted(p, memory);\n  sorted.sort();\n  dependency_wait();\n  dependency_trigger();\n",
        "before dependency_wait(), which the kernel in front writes",
        "sorted.sort();",
    ),
)
