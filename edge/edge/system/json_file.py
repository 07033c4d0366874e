"""JSON files: what they hold, or a sentence about what is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edge.errors import EdgeError


def read_json(path: Path, raises: type[EdgeError], *, advice: str = "fetch it again") -> Any:
    """What a JSON file holds. Raises `raises` with the `advice` where it cannot be read or is no JSON."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise raises(f"cannot read {path}: {error.strerror}; {advice}") from error
    except ValueError as error:
        raise raises(f"{path} is not JSON ({error}); {advice}") from error


def read_json_object(path: Path, raises: type[EdgeError], *, advice: str = "fetch it again") -> dict[str, Any]:
    """A JSON file that holds an object. Raises as `read_json` does, and for anything else in it."""
    content = read_json(path, raises, advice=advice)
    if not isinstance(content, dict):
        raise raises(f"{path} holds no JSON object; {advice}")
    return content
