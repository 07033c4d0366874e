"""Files of many formats -> one text with its sections."""

from __future__ import annotations

from edge_index.loaders.extracted import Extracted, Section
from edge_index.loaders.registry import FORMATS_FOR_PEOPLE, SUFFIXES, close, given, load, parse, supported

__all__ = ["FORMATS_FOR_PEOPLE", "SUFFIXES", "Extracted", "Section", "close", "given", "load", "parse", "supported"]
