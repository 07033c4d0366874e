"""Replies that keep to a JSON schema: what may be asked for, and whether a reply is what was asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Protocol

from edge.engines.guidance import matches
from edge.engines.json_schema import grammar_of
from edge.engines.string_formats import string_formats
from edge.errors import FormatError, UsageError
from edge.types import Finish


class ModelWithSchema(Protocol):
    """A pydantic model class."""

    def model_json_schema(self) -> dict[str, Any]: ...


class AdapterWithSchema(Protocol):
    """A pydantic TypeAdapter."""

    def json_schema(self) -> dict[str, Any]: ...


ResponseFormat = Mapping[str, Any] | ModelWithSchema | AdapterWithSchema


def schema_of(response_format: Any) -> str:
    """The JSON schema of a `response_format`, as text.

    It is the schema itself, a pydantic model class or TypeAdapter, or one of OpenAI's forms
    {"type": "json_schema", "json_schema": {"schema": …}} and {"type": "json_object"}. Raises UsageError when it is none
    of these or no valid schema.
    """
    import jsonschema

    schema = _described(response_format)
    try:
        jsonschema.validators.validator_for(schema).check_schema(schema)
        text = json.dumps(schema, allow_nan=False)
    except (jsonschema.SchemaError, TypeError, ValueError, RecursionError) as error:
        reason = error.message if isinstance(error, jsonschema.SchemaError) else str(error)
        raise UsageError(f"response_format is no valid JSON schema: {reason}") from error
    if any(old in str(schema.get("$schema")) for old in ("draft-03", "draft-04")):
        raise UsageError("response_format is a schema of an old draft, whose words mean something else; use 2020-12")
    return text


def followable_schema(response_format: Any) -> str:
    """As `schema_of`, of a schema that replies can be held to. Raises UsageError, by name, for what they cannot."""
    schema = schema_of(response_format)
    grammar_of(schema)
    return schema


def check(text: str, schema: str, *, finish: Finish = "stop") -> None:
    """Raise FormatError unless `text` is JSON that validates, formats included; `finish`: why the reply ended."""
    import jsonschema
    from referencing.exceptions import Unresolvable

    wanted = json.loads(schema)
    try:
        found = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        cut = finish == "length"
        why = "it was cut at the token limit; raise max_tokens" if cut else f"it is no JSON ({error})"
        raise FormatError(f"the reply does not keep to response_format: {why}", text=text, finish=finish) from error
    try:
        _validator(wanted).validate(found)
    except jsonschema.ValidationError as error:
        where = f"{error.json_path}: " if error.absolute_path else ""
        raise FormatError(
            f"the reply does not keep to response_format: {where}{error.message}", text=text, finish=finish
        ) from error
    except Unresolvable as error:
        raise FormatError(
            f"response_format refers to {error.ref!r}, which it does not hold; nothing is fetched", text=text
        ) from error


def _described(response_format: Any) -> Any:
    schema: Any = response_format
    if isinstance(response_format, Mapping):
        match response_format.get("type"):
            case "json_schema":
                inner = response_format.get("json_schema")
                return inner.get("schema") if isinstance(inner, Mapping) else response_format.get("schema")
            case "json_object":
                return {"type": "object"}
        return schema
    describe = getattr(response_format, "model_json_schema" if isinstance(schema, type) else "json_schema", None)
    if not callable(describe):
        name = schema.__name__ if isinstance(schema, type) else f"{type(schema).__name__} {str(schema)[:60]!r}"
        raise UsageError(
            f"response_format cannot be {name}; give a JSON schema as a dict, a pydantic model class or TypeAdapter, "
            'or OpenAI\'s {"type": "json_schema", "json_schema": {"schema": …}} or {"type": "json_object"}'
        )
    try:
        return describe()
    except Exception as error:  # pydantic raises what it likes for types that have no JSON
        raise UsageError(f"response_format has no JSON schema: {error}") from error


def _validator(schema: Any) -> Any:
    """jsonschema's, with patterns and formats as replies are held to them, and nothing fetched."""
    import jsonschema
    from referencing import Registry

    own = {"pattern": _pattern, "format": _format, "multipleOf": _multiple}
    kind: Any = jsonschema.validators
    return kind.extend(kind.validator_for(schema), own)(schema, registry=Registry())


def _pattern(_validator: Any, pattern: str, found: Any, _schema: Any) -> Iterator[Exception]:
    if not isinstance(found, str):
        return
    try:
        fits = matches(pattern, found)
    except UsageError:  # of a form that replies are only measured by
        fits = re.search(pattern, found) is not None
    if not fits:
        yield _invalid(f"{found!r} does not match {pattern!r}")


def _format(_validator: Any, name: str, found: Any, _schema: Any) -> Iterator[Exception]:
    form = string_formats().get(name)
    if isinstance(found, str) and form is not None and not matches(f"^(?:{form.pattern})$", found):
        yield _invalid(f"{found!r} is not a {name!r}")


def _multiple(_validator: Any, unit: float, found: Any, _schema: Any) -> Iterator[Exception]:
    """By decimals: 0.3 is a multiple of 0.1, which binary fractions do not know."""
    number = isinstance(found, int | float) and not isinstance(found, bool)
    if number and Decimal(str(found)) % Decimal(str(unit)):
        yield _invalid(f"{found} is not a multiple of {unit}")


def _invalid(message: str) -> Exception:
    import jsonschema

    error: Exception = jsonschema.ValidationError(message)
    return error


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number in JSON")
