"""The environment that keeps native libraries silent. Imported before anything heavy.

The stock onnxruntime wheels look up a telemetry host and write a device id when they are imported, unless
ORT_DISABLE_TELEMETRY is set before; the Hugging Face libraries ask a hub unless told that there is none.
"""

from __future__ import annotations

import os

ENVIRONMENT = {
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_DATASETS_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "true",
}


def silence() -> None:
    """Set the variables above; telemetry stays off whatever the user's environment says."""
    os.environ.update(ENVIRONMENT)
