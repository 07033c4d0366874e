"""JSON schema -> llguidance's grammar, the same for every engine: whatever it lets through validates.

llguidance (https://github.com/guidance-ai/llguidance) knows most keywords and refuses those that it does not; of the
published JSON-Schema-Test-Suite it lets nothing through that is invalid, but for dates. What it cannot do, or not well
enough, is put into its words here: `format`, `oneOf` over references, `propertyNames`, small sets, bounds of numbers.
What no grammar can do is refused, by name; only `uniqueItems` over more than a few values is left to the check of the
finished reply (edge.structured).

A grammar of our own for llama.cpp stood here before: 12 ms a token for a vocabulary of 49,152 against 0.1 ms, and
onnxruntime-genai, which has an older llguidance inside, read the same schema otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import permutations
from math import perm
from typing import Any

from edge.engines.string_formats import FREE_FORMATS, INTEGER_FORMATS, StringFormat, string_formats
from edge.errors import UsageError

_LARGEST = 10**15 - 1
"""The largest number where the schema sets no bound: a double holds it exactly."""

_MOST_VALUES, _MOST_ORDERS = 20, 400
"""A set of so many values is written out in all its orders, if they are so few: of five values there are 326."""

_LONGEST_HTTP_URL = 2083
"""The maxLength by which pydantic's HttpUrl can be told from its AnyUrl: its schema does not name the scheme."""

_VALUES = frozenset(
    "const enum type required minItems maxItems minProperties maxProperties minLength maxLength minimum maximum "
    "exclusiveMinimum exclusiveMaximum multipleOf".split()
)
_SCHEMAS = frozenset({"items", "additionalProperties"})
_LISTS = frozenset({"prefixItems"})
_MAPS = frozenset({"properties", "patternProperties"})
_MERGING = frozenset({"$ref", "allOf", "anyOf", "oneOf"})
_ANNOTATIONS = frozenset(
    "title description default example examples deprecated readOnly writeOnly $schema $id $comment $defs definitions "
    "$anchor $dynamicAnchor discriminator".split()
)


@lru_cache(maxsize=32)
def grammar_of(schema: str) -> str:
    """llguidance's grammar of a JSON schema given as text. Raises UsageError, in a sentence, for what it cannot hold
    a reply to."""
    from llguidance import LLMatcher

    try:
        rewritten = _Rewriter(json.loads(schema)).rewrite()
    except RecursionError as error:
        raise UsageError("response_format is nested too deeply; make it flatter") from error
    grammar = _compiled(rewritten)
    if reason := LLMatcher.validate_grammar(grammar):
        raise UsageError(f"response_format cannot be followed: {_sentence(reason)}")
    if not _ends(rewritten):
        raise UsageError("response_format wants a value that would never end, for it must hold itself; change it")
    return grammar


def _compiled(schema: Mapping[str, Any]) -> str:
    from llguidance import LLMatcher

    # At most one blank between two values: a small model would fill the page with them.
    return LLMatcher.grammar_from_json_schema(
        json.dumps(schema),
        overrides={
            "whitespace_flexible": False,
            "item_separator": ", ?",
            "key_separator": ": ?",
            "json_allow_general_unicode_escapes": True,
        },
    )


def _sentence(reason: str) -> str:
    line = reason.strip().partition("\n")[0]
    if "oneOf" in line:
        return "oneOf has parts that one value may fit at once; use anyOf, or give the parts different types or values"
    if "recursion limit" in line:
        return "it is nested too deeply; make it flatter"
    return f"{line[:300]}; change the schema"


class _Rewriter:
    """One schema in the words that llguidance knows. What is referred to, and every `oneOf`, becomes a definition."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._definitions: dict[str, Any] = {}
        self._names: dict[str, str] = {}
        self._writers = {
            "$ref": self._reference,
            "allOf": self._all_of,
            "anyOf": self._any_of,
            "oneOf": self._one_of,
            "pattern": self._pattern,
            "format": self._format,
            "contentEncoding": self._encoding,
            "uniqueItems": self._set,
            "propertyNames": self._names_of_properties,
        }
        """What says a keyword in other words, into what stands in the place of its schema."""

    def rewrite(self) -> dict[str, Any]:
        if self._root is False:
            raise UsageError("response_format is false, which no JSON can be; change the schema")
        root = self._read(self._root)
        return {**({} if root is True else root), "$defs": self._definitions}

    def _read(self, schema: Any, *, merged: bool = False) -> Any:
        """`merged`: another schema speaks of the same value."""
        if isinstance(schema, bool):
            return schema
        if "$id" in schema and schema is not self._root:
            raise UsageError("response_format holds a schema with an '$id' of its own; leave the '$id' out")
        schema = _in_new_words(schema)
        merged = merged or (len(schema.keys() - _ANNOTATIONS) > 1 and not _MERGING.isdisjoint(schema))
        out: dict[str, Any] = {}
        for keyword, value in schema.items():
            if keyword in _VALUES:
                out[keyword] = int(value) if isinstance(value, float) and value.is_integer() else value
            elif keyword in _SCHEMAS:
                out.setdefault(keyword, self._read(value))
            elif keyword in _LISTS:
                out[keyword] = [self._read(part) for part in value]
            elif keyword in _MAPS:
                out[keyword] = {name: self._read(part) for name, part in value.items()}
            elif keyword in self._writers:
                self._writers[keyword](out, schema, merged)
            elif keyword not in _ANNOTATIONS and not keyword.startswith("x-"):
                raise UsageError(
                    f"response_format uses {keyword!r}, which no reply can be held to; leave it out or say it otherwise"
                )
        _bound_numbers(out)
        if not merged:
            _close(out)
        return out

    def _reference(self, out: dict[str, Any], schema: Mapping[str, Any], merged: bool) -> None:
        reference = schema["$ref"]
        key = f"{reference} merged" if merged else reference
        out["$ref"] = self._define(key, lambda: self._read(self._target(reference), merged=merged))

    def _all_of(self, out: dict[str, Any], schema: Mapping[str, Any], merged: bool) -> None:
        parts = schema["allOf"]
        read = [self._read(part, merged=merged or len(parts) > 1) for part in parts]
        out["allOf"] = [*out.get("allOf", ()), *read]

    def _any_of(self, out: dict[str, Any], schema: Mapping[str, Any], merged: bool) -> None:
        parts = schema["anyOf"]
        out["anyOf"] = [self._read(part, merged=merged) for part in (parts[:1] if _is_decimal(parts) else parts)]

    def _one_of(self, out: dict[str, Any], schema: Mapping[str, Any], merged: bool) -> None:
        # llguidance tells that parts exclude one another only where it sees them; a definition ends the recursion.
        parts = {"oneOf": schema["oneOf"], "discriminator": schema.get("discriminator")}
        key = json.dumps([parts, merged])
        name = self._define(key, lambda: {"oneOf": list(self._parts(parts, [], merged))})
        out.setdefault("allOf", []).append({"$ref": name})

    def _pattern(self, out: dict[str, Any], schema: Mapping[str, Any], merged: bool) -> None:
        _constrain(out, _checked(schema["pattern"]))

    def _format(self, out: dict[str, Any], schema: Mapping[str, Any], merged: bool) -> None:
        name = schema["format"]
        if name in INTEGER_FORMATS:
            least, most = INTEGER_FORMATS[name]
            out.setdefault("allOf", []).append({"minimum": least, "maximum": most})
        elif name not in FREE_FORMATS:
            http = name == "uri" and schema.get("maxLength") == _LONGEST_HTTP_URL
            found = _string_format("http-url" if http else name)
            _constrain(out, f"^(?:{found.pattern})$", found.longest)

    def _encoding(self, out: dict[str, Any], schema: Mapping[str, Any], merged: bool) -> None:
        if schema["contentEncoding"] not in ("base64", "base64url"):
            raise UsageError(f"response_format uses the contentEncoding {schema['contentEncoding']!r}; use base64")
        _constrain(out, f"^(?:{_string_format(schema['contentEncoding']).pattern})$")

    def _set(self, out: dict[str, Any], schema: Mapping[str, Any], merged: bool) -> None:
        values = self._values(schema.get("items"))
        if not schema["uniqueItems"] or values is None or "prefixItems" in schema:
            return
        least, most = schema.get("minItems", 0), min(schema.get("maxItems", len(values)), len(values))
        sizes = range(int(least), int(most) + 1)
        if len(values) <= _MOST_VALUES and sum(perm(len(values), size) for size in sizes) <= _MOST_ORDERS:
            sets = [list(order) for size in sizes for order in permutations(values, size)]
            out.setdefault("allOf", []).append({"enum": sets})
        else:
            out.setdefault("allOf", []).append({"maxItems": most})

    def _names_of_properties(self, out: dict[str, Any], schema: Mapping[str, Any], merged: bool) -> None:
        names = self._resolved(schema["propertyNames"])
        if not isinstance(names, Mapping):
            out.update({} if names else {"maxProperties": 0})
            return
        if not names.keys() - _ANNOTATIONS - {"type"}:
            return
        value = self._read(schema.get("additionalProperties", True))
        allowed = self._values(names)
        if schema.keys() & {"properties", "patternProperties"} or not (
            allowed is not None or names.keys() <= _ANNOTATIONS | {"type", "pattern", "format"}
        ):
            raise UsageError("response_format uses 'propertyNames' with more than an enum, a pattern or a format")
        if allowed is not None:
            out["properties"] = {name: value for name in allowed if isinstance(name, str)}
        else:
            out["patternProperties"] = {self._read(names)["pattern"]: value}
        out["additionalProperties"] = False

    def _define(self, key: str, read: Any) -> str:
        """The reference to a definition, which may refer to itself: its name comes first."""
        if key not in self._names:
            name = self._names[key] = f"d{len(self._names)}"
            self._definitions[name] = read()
        return f"#/$defs/{self._names[key]}"

    def _parts(self, schema: Mapping[str, Any], tags: list[str], merged: bool) -> Iterator[Any]:
        """The parts of a `oneOf`, those of parts that are a `oneOf` themselves among them, each in full. A property
        by which they are told apart must be there."""
        discriminator = schema.get("discriminator")
        if isinstance(discriminator, Mapping) and isinstance(discriminator.get("propertyName"), str):
            tags = [*tags, discriminator["propertyName"]]
        for part in map(self._resolved, schema["oneOf"]):
            if isinstance(part, Mapping) and part.keys() - _ANNOTATIONS == {"oneOf"}:
                yield from self._parts(part, tags, merged)
            elif tags and isinstance(part, Mapping):
                required = list(dict.fromkeys([*part.get("required", ()), *tags]))
                yield self._read({**part, "required": required}, merged=merged)
            else:
                yield self._read(part, merged=merged)

    def _resolved(self, schema: Any) -> Any:
        """What a schema that is nothing but a reference stands for."""
        seen: set[str] = set()
        while isinstance(schema, Mapping) and "$ref" in schema and not schema.keys() - _ANNOTATIONS - {"$ref"}:
            if schema["$ref"] in seen:
                raise UsageError(f"response_format refers from {schema['$ref']!r} to itself; change the schema")
            seen.add(schema["$ref"])
            schema = self._target(schema["$ref"])
        return schema

    def _target(self, reference: str) -> Any:
        if not reference.startswith("#"):
            raise UsageError(
                f"response_format refers to {reference!r}, and nothing is fetched; put it into the schema's $defs"
            )
        target = self._root
        try:
            for step in filter(None, reference[1:].split("/")):
                step = step.replace("~1", "/").replace("~0", "~")
                target = target[int(step)] if isinstance(target, list) else target[step]
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise UsageError(f"response_format refers to {reference!r}, which the schema does not hold") from error
        return target

    def _values(self, schema: Any) -> list[Any] | None:
        """All values of a schema, where it is one that lists them."""
        schema = self._resolved(schema)
        if not isinstance(schema, Mapping) or schema.keys() - _ANNOTATIONS - {"type", "enum", "const"}:
            return None
        if schema.get("type") == "boolean" and not schema.keys() & {"enum", "const"}:
            return [True, False]
        values = schema.get("enum", [schema["const"]] if "const" in schema else None)
        return None if values is None else [json.loads(text) for text in dict.fromkeys(map(json.dumps, values))]


def _in_new_words(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Drafts before 2020-12 have a list of `items`, and `additionalItems` for the rest."""
    if not isinstance(schema.get("items"), list):
        return schema
    rest = {key: value for key, value in schema.items() if key not in ("items", "additionalItems")}
    return {**rest, "prefixItems": schema["items"], "items": schema.get("additionalItems", True)}


def _is_decimal(parts: Sequence[Any]) -> bool:
    """Whether an `anyOf` is how pydantic writes a Decimal: a number, or a string that its schema says too little of, by
    version nothing or a pattern that looks ahead. The number is enough."""
    if len(parts) != 2 or not all(isinstance(part, Mapping) for part in parts):
        return False
    number, string = parts
    anything = str(string.get("pattern", "^(?!")).startswith("^(?!")
    return (number.get("type"), string.get("type")) == ("number", "string") and (
        anything and string.keys() <= {"type", "pattern"}
    )


def _string_format(name: Any) -> StringFormat:
    found = string_formats().get(name)
    if found is None:
        known = ", ".join(sorted({*string_formats(), *INTEGER_FORMATS, *FREE_FORMATS}))
        raise UsageError(
            f"response_format uses the format {name!r}, which no reply can be held to; leave it out, write it as a "
            f"pattern, or take one of {known}"
        )
    return found


def _checked(pattern: str) -> str:
    from llguidance import LLMatcher

    if reason := LLMatcher.validate_grammar(_compiled({"type": "string", "pattern": pattern})):
        raise UsageError(f"response_format has the pattern {pattern!r}, which cannot be followed: {_sentence(reason)}")
    return pattern


def _constrain(out: dict[str, Any], pattern: str, longest: int | None = None) -> None:
    """One more thing that a string must match."""
    if "pattern" not in out and longest is None:
        out["pattern"] = pattern
    else:
        out.setdefault("allOf", []).append({"pattern": pattern} | ({} if longest is None else {"maxLength": longest}))


def _bound_numbers(out: dict[str, Any]) -> None:
    """A number without a bound could go on for ever."""
    type_names = out.get("type", ())
    if not {"integer", "number"} & set([type_names] if isinstance(type_names, str) else type_names):
        return
    least = max(out.get("minimum", -_LARGEST), out.get("exclusiveMinimum", -_LARGEST))
    most = min(out.get("maximum", _LARGEST), out.get("exclusiveMaximum", _LARGEST))
    if "minimum" not in out and "exclusiveMinimum" not in out and most > -_LARGEST:
        out["minimum"] = -_LARGEST
    if "maximum" not in out and "exclusiveMaximum" not in out and least < _LARGEST:
        out["maximum"] = _LARGEST


def _close(out: dict[str, Any]) -> None:
    """Where the schema is silent about other properties, a small model would add them until its tokens are spent."""
    if "properties" in out:
        out["properties"] |= {name: True for name in out.get("required", ()) if name not in out["properties"]}
    if out.get("properties") or out.get("patternProperties"):
        out.setdefault("additionalProperties", False)


def _ends(schema: Mapping[str, Any]) -> bool:
    """Whether a value can be finite: what must hold itself never ends."""
    definitions = schema["$defs"]
    finite: set[str] = set()

    def ends(part: Any) -> bool:
        if isinstance(part, bool):
            return part
        values, items = part.get("properties", {}), part.get("prefixItems", [])
        least = part.get("minItems", 0)
        return (
            ("$ref" not in part or part["$ref"] in finite)
            and all(map(ends, part.get("allOf", ())))
            and all(any(map(ends, part[key])) for key in ("anyOf", "oneOf") if key in part)
            and all(ends(values.get(name, part.get("additionalProperties", True))) for name in part.get("required", ()))
            and all(map(ends, items[:least]))
            and (least <= len(items) or ends(part.get("items", True)))
        )

    while grown := {f"#/$defs/{name}" for name, part in definitions.items() if ends(part)} - finite:
        finite |= grown
    return ends(schema)
