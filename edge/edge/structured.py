"""Replies that keep to a JSON schema: what may be asked for, and whether a reply is what was asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from edge.errors import FormatError, UsageError


def schema_of(response_format: Mapping[str, Any]) -> str:
    """The JSON schema of a `response_format`, as text.

    It is the schema itself, or one of OpenAI's forms {"type": "json_schema", "json_schema": {"schema": …}} and
    {"type": "json_object"}. Raises UsageError when it is no valid schema.
    """
    import jsonschema

    schema: Any = response_format
    if response_format.get("type") == "json_schema":
        inner = response_format.get("json_schema")
        schema = inner.get("schema") if isinstance(inner, Mapping) else response_format.get("schema")
    elif response_format.get("type") == "json_object":
        schema = {"type": "object"}
    try:
        jsonschema.validators.validator_for(schema).check_schema(schema)
    except (jsonschema.SchemaError, TypeError) as error:
        reason = error.message if isinstance(error, jsonschema.SchemaError) else "it is no JSON object"
        raise UsageError(f"response_format is no valid JSON schema: {reason}") from error
    return json.dumps(schema)


def check(text: str, schema: str, *, cut: bool) -> None:
    """Raise FormatError unless `text` is JSON that validates; `cut`: the reply ended at its token limit."""
    import jsonschema

    wanted = json.loads(schema)
    try:
        found = json.loads(text)
    except ValueError as error:
        why = "it was cut at the token limit; raise max_tokens" if cut else f"it is no JSON ({error})"
        raise FormatError(f"the reply does not keep to response_format: {why}", text=text) from error
    try:
        jsonschema.validators.validator_for(wanted)(wanted).validate(found)
    except jsonschema.ValidationError as error:
        raise FormatError(f"the reply does not keep to response_format: {error.message}", text=text) from error
