"""The measures themselves: each must find what it is there to find."""

from __future__ import annotations

from pathlib import Path

from house.rules import ROOT, dead_links, function_lengths

CODE = """
namespace a {
struct S { int x; };
static int small(int x) { return x; }  // {
int S::large(const char *text) const {
  if (x) {
    auto inner = [&](int y) {
      return y;
    };
  }
  return '{';
}
}  // namespace a
"""


def test_function_lengths_are_of_outermost_functions() -> None:
    assert function_lengths(CODE) == {"small": 1, "S::large": 8}


def test_dead_links_are_found_and_live_ones_are_not() -> None:
    text = "[a](README.md) [b](no/such.md) [c](https://example.org) [d](#here) [e](README.md#map)"
    assert dead_links(ROOT / "README.md", text) == ["no/such.md"]
    assert dead_links(Path("/nowhere/README.md"), "[a](README.md)") == ["README.md"]
