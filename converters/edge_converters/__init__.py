"""Everything that turns one file of weights into another."""

from __future__ import annotations

from edge_converters.encoder import to_encoder

__all__ = ["to_encoder"]
