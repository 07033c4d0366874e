"""One question set answered in several variants, measured and judged, and what to do next by the outcome."""
