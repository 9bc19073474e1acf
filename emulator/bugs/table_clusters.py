"""Bugs of clusters: what blocks that reach into each other's shared memory forget."""

from __future__ import annotations

from bug import Bug

SUM = "kernels/cluster_sum.h"
CLUSTER_BUGS = (
    Bug(
        "no_cluster_barrier_before_the_read",
        "cluster_sum",
        SUM,
        "  cluster_sync();  // the peers' sums are there\n",
        "",
        "data race",
        "cluster_load(",
        "tsan",
    ),
    Bug(
        "no_cluster_barrier_before_the_end",
        "cluster_sum",
        SUM,
        "  cluster_sync();  // the peers have read this block's sum\n",
        "",
        "has ended",
        "cluster_load(",
        seeds=4,
        why="where the blocks take turns, peers have read before one ends; under half of the seeds they go one by one",
    ),
    Bug(
        "nothing_orders_the_read_before_the_end",
        "cluster_sum",
        SUM,
        "  cluster_sync();  // the peers have read this block's sum\n",
        "",
        "data race",
        "cluster_load(",
        "tsan",
    ),
    Bug(
        "peer_that_is_not_there",
        "cluster_sum",
        SUM,
        "rank < blocks ?",
        "rank <= blocks ?",
        "rank 4 of a cluster of 4 blocks",
        "cluster_load(",
    ),
)
