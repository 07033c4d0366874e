"""Did the export keep what the original says? The proof that stands beside every converted file."""

from __future__ import annotations

from edge_converters.parity.run import check_parity

__all__ = ["check_parity"]
