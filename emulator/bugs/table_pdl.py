"""Bugs of programmatic launches: rooms' kernels that do not wait for the kernel in front, or not soon enough."""

from __future__ import annotations

from bug import Bug

NORM, MOE = "rms_norm/sm90.cu", "moe_permute/sm90.cu"
WAIT = "  dependency_wait();\n  dependency_trigger();\n  int turn"
PDL_BUGS = (
    Bug(
        "room_input_read_before_the_wait",
        "room_rms_norm",
        NORM,
        WAIT,
        "  if (first < held_end) x[0] = load<N>(input + first);\n" + WAIT,
        "before dependency_wait(), which the kernel in front writes",
        "x[0] = load<N>",
    ),
    Bug(
        "room_output_written_before_the_wait",
        "room_rms_norm",
        NORM,
        WAIT,
        "  if (first < held_end) store(out + first, Vec<Scalar, N>{});\n" + WAIT,
        "programmatic launch: writes",
        "store(out + first",
    ),
    Bug(
        "room_no_dependency_wait",
        "room_rms_norm",
        NORM,
        "  dependency_wait();\n",
        "",
        "before dependency_wait(), which the kernel in front writes",
        "x[k] = load<N>",
    ),
    Bug(
        "room_one_thread_waits",
        "room_rms_norm",
        NORM,
        "  dependency_wait();\n",
        "  if (threadIdx.x == 0) dependency_wait();\n",
        "before dependency_wait(), which the kernel in front writes",
        "x[k] = load<N>",
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
