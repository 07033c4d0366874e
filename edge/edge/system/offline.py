"""What keeps libraries silent and off the network: in a host's process, in our own, and in our child processes.

The stock onnxruntime wheels look up a telemetry host and write a device id when they are imported, unless
ORT_DISABLE_TELEMETRY is set before; the Hugging Face libraries ask a hub, and count who trains, unless told not to.
"""

from __future__ import annotations

import os
import sys

NATIVE = {"ORT_DISABLE_TELEMETRY": "1"}
"""All that a program which embeds edge finds in its environment afterwards. onnxruntime-genai, when it is imported,
adds ORT_LIB_PATH itself."""

ENVIRONMENT = NATIVE | {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_DATASETS_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "true",
}
"""What holds in processes that are ours alone: the command line, and the children that work for a host."""

_ours = False


def silence_native() -> None:
    """Call it before onnxruntime is imported: its telemetry stays off whatever the user's environment says."""
    os.environ.update(NATIVE)


def silence() -> None:
    """Make this whole process one without a network. Only for processes that are ours: it is never undone."""
    global _ours
    _ours = True
    os.environ.update(ENVIRONMENT)


def is_ours() -> bool:
    """Whether this process is ours alone, so that libraries which change a process may be used in it."""
    return _ours


def child_environment() -> dict[str, str]:
    """The environment of a Python process that works for this one: offline, and with the same modules."""
    return {
        **os.environ,
        **ENVIRONMENT,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONSAFEPATH": "1",
        "PYTHONWARNINGS": "ignore",
    }
