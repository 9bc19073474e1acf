"""The latency bound: bytes of loads that an SM has under way, over what a device's bandwidth needs for its latency."""

from __future__ import annotations

from roofline.cards import DEVICES

#: Of a load from global memory under load: assumed, the same for every device.
LATENCY_NS = 700


def needed(device: dict) -> float:
    """Bytes under way on an SM that keep the memory busy: GB/s are bytes a nanosecond."""
    return device["bandwidth_gbps"] / device["sms"] * LATENCY_NS


def bounds(outstanding: int, threads_on_sm: int) -> dict[str, float]:
    return {name: outstanding * threads_on_sm / needed(device) for name, device in DEVICES.items()}
