"""Did the export keep what the original says? The proof that stands beside every converted file."""

from __future__ import annotations

from edge_converters.parity.report import Check, Identity, Parity, parity_path, write_report
from edge_converters.parity.run import check_parity

__all__ = ["Check", "Identity", "Parity", "check_parity", "parity_path", "write_report"]
