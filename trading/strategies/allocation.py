"""The built-in strategy: long-only tilts around equal weight, by `alphaloop.allocation`."""

from __future__ import annotations

from alphaloop.allocation import AllocationStrategy

STRATEGY = AllocationStrategy
