"""JSON schema -> GBNF, llama.cpp's grammar language: whatever the grammar lets through validates.

A keyword that cannot be expressed is refused, not ignored. Between two values stands at most one blank, for a small
model would fill the page with them. GBNF: https://github.com/ggml-org/llama.cpp/blob/master/grammars/README.md
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import ceil, floor
from typing import Any

from edge.engines.grammar_text import CHARACTER, PatternError, literal, of_pattern, whole_numbers
from edge.errors import UsageError

_LARGEST = 10**15 - 1
"""The largest whole number where the schema sets no bound: a double holds it exactly."""

_FRACTION = '("." [0-9]{1,15})?'
_ANNOTATIONS = frozenset(
    "title description default examples format deprecated readOnly writeOnly $schema $id $comment $defs definitions "
    "additionalProperties discriminator".split()
)
_ALLOWED = {
    "object": {"properties", "required"},
    "array": {"items", "minItems", "maxItems"},
    "string": {"minLength", "maxLength", "pattern"},
    "integer": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
    "number": {"minimum", "maximum"},
    "boolean": set[str](),
    "null": set[str](),
}
_ANY = """space ::= " "?
any ::= object | array | string | number | "true" | "false" | "null"
object ::= "{" (string ":" space any ("," space string ":" space any)*)? "}"
array ::= "[" (any ("," space any)*)? "]"
number ::= "-"? ("0" | [1-9] [0-9]{0,14}) ("." [0-9]{1,15})?
character ::= CHARACTER
string ::= "\\"" character* "\\""
""".replace("CHARACTER", CHARACTER)


def grammar_of(schema: str) -> str:
    """The grammar of a JSON schema given as text. Raises UsageError, in a sentence, for what it cannot express."""
    return _Grammar(json.loads(schema)).text()


class _Grammar:
    def __init__(self, root: Any) -> None:
        self._root = root
        self._rules: dict[str, str] = {}
        self._names: dict[str, str] = {}

    def text(self) -> str:
        root = self._expression(self._root)
        rules = "".join(f"{name} ::= {body}\n" for name, body in self._rules.items())
        return f"root ::= {root}\n{rules}{_ANY}"

    def _rule(self, body: str) -> str:
        name = f"rule{len(self._rules)}"
        self._rules[name] = body
        return name

    def _expression(self, schema: Any) -> str:
        """What stands for a value of `schema`: one term, so that it can be repeated."""
        if schema is True:
            return "any"
        if not isinstance(schema, Mapping):
            raise UsageError(f"response_format asks for {json.dumps(schema)}, which no JSON can be; change the schema")
        for keyword, read in (
            ("$ref", self._reference),
            ("const", lambda s: self._values(s, [s["const"]])),
            ("enum", lambda s: self._values(s, s["enum"])),
            ("anyOf", self._choice),
            ("oneOf", self._choice),
            ("allOf", self._choice),
        ):
            if keyword in schema:
                return read(schema)
        kinds = schema.get("type", _implied(schema))
        kinds = [kinds] if isinstance(kinds, str) else kinds
        if not kinds:
            _refuse_others(schema, set())
            return "any"
        _refuse_others(schema, {"type"}.union(*(_ALLOWED[kind] for kind in kinds)))
        return self._rule(" | ".join(self._of_kind(kind, schema) for kind in kinds))

    def _of_kind(self, kind: str, schema: Mapping[str, Any]) -> str:
        match kind:
            case "object":
                return self._object(schema)
            case "array":
                return self._array(schema)
            case "string":
                return self._string(schema)
            case "integer":
                return _integers(schema)
            case "number":
                return _numbers(schema)
            case "boolean":
                return '"true" | "false"'
            case _:
                return '"null"'

    def _reference(self, schema: Mapping[str, Any]) -> str:
        _refuse_others(schema, {"$ref"})
        reference = schema["$ref"]
        if reference not in self._names:
            target = self._root
            try:
                if not reference.startswith("#"):
                    raise KeyError(reference)
                for step in filter(None, reference[1:].split("/")):
                    target = target[step.replace("~1", "/").replace("~0", "~")]
            except (KeyError, TypeError) as error:
                raise UsageError(f"response_format refers to {reference!r}, which the schema does not hold") from error
            # The name comes first: the target may refer to itself.
            name = self._names[reference] = f"ref{len(self._names)}"
            self._rules[name] = self._expression(target)
        return self._names[reference]

    def _values(self, schema: Mapping[str, Any], values: Sequence[Any]) -> str:
        import jsonschema

        validator = jsonschema.validators.validator_for(self._root)
        whole = {**schema, **{key: self._root[key] for key in ("$defs", "definitions") if key in self._root}}
        fitting = [value for value in values if validator(whole).is_valid(value)]
        if not fitting:
            raise UsageError(f"response_format allows none of the values {json.dumps(values)}; change the schema")
        return self._rule(" | ".join(literal(json.dumps(value, ensure_ascii=False)) for value in fitting))

    def _choice(self, schema: Mapping[str, Any]) -> str:
        keyword = next(name for name in ("anyOf", "oneOf", "allOf") if name in schema)
        _refuse_others(schema, {keyword})
        branches = schema[keyword]
        if keyword == "allOf" and len(branches) > 1:
            raise UsageError("response_format uses allOf, which a grammar cannot express; merge its parts into one")
        if keyword == "oneOf" and not _exclusive(branches):
            raise UsageError(
                "response_format uses oneOf with parts that one value may fit at once; use anyOf, or give the parts "
                "different types"
            )
        return self._rule(" | ".join(self._expression(branch) for branch in branches))

    def _object(self, schema: Mapping[str, Any]) -> str:
        properties, extra = schema.get("properties", {}), schema.get("additionalProperties", True)
        required = [name for name in properties if name in schema.get("required", ())]
        required += [name for name in dict.fromkeys(schema.get("required", ())) if name not in properties]
        if not properties and not required:
            if extra is False:
                return '"{}"'
            pair = f'string ":" space {self._expression(extra)}'
            return f'"{{" ({pair} ("," space {pair})*)? "}}"'
        if extra is False and set(required) - set(properties):
            raise UsageError("response_format requires properties that additionalProperties forbids; name them")

        def member(name: str) -> str:
            value = self._expression(properties.get(name, extra))
            return f"{literal(json.dumps(name, ensure_ascii=False) + ':')} space {value}"

        # What is required comes first, then what may be left out, each in the order of the schema.
        first = ' "," space '.join(member(name) for name in required)
        optional = [self._rule(member(name)) for name in properties if name not in required]
        if first:
            rest = " ".join(f'("," space {name})?' for name in optional)
            return f'"{{" {first} {rest} "}}"'
        tails = [
            " ".join([name, *(f'("," space {later})?' for later in optional[i + 1 :])])
            for i, name in enumerate(optional)
        ]
        return f'"{{" ({" | ".join(tails)})? "}}"'

    def _array(self, schema: Mapping[str, Any]) -> str:
        least, most = schema.get("minItems", 0), schema.get("maxItems")
        if most is not None and most < least:
            raise UsageError(f"response_format wants {least} items or more and {most} or fewer; change the schema")
        if most == 0:
            return '"[]"'
        item = self._expression(schema.get("items", True))
        more = f"{{{max(least - 1, 0)},{'' if most is None else most - 1}}}"
        items = f'{item} ("," space {item}){more}'
        return f'"[" {items} "]"' if least else f'"[" ({items})? "]"'

    def _string(self, schema: Mapping[str, Any]) -> str:
        least, most = schema.get("minLength", 0), schema.get("maxLength", "")
        if "pattern" not in schema:
            return f'"\\"" character{{{least},{most}}} "\\""'
        if least or most != "":
            raise UsageError("response_format has a pattern and a length for one string; put the length in the pattern")
        try:
            return f'"\\"" {of_pattern(schema["pattern"])} "\\""'
        except PatternError as error:
            raise UsageError(f"response_format has the pattern {schema['pattern']!r}, {error}") from error


def _integers(schema: Mapping[str, Any]) -> str:
    least = max(ceil(schema.get("minimum", -_LARGEST)), floor(schema.get("exclusiveMinimum", -_LARGEST - 1)) + 1)
    most = min(floor(schema.get("maximum", _LARGEST)), ceil(schema.get("exclusiveMaximum", _LARGEST + 1)) - 1)
    if least > most:
        raise UsageError("response_format has an integer with bounds that nothing lies between; change the schema")
    parts = []
    if least < 0:
        parts.append(f'"-" ({whole_numbers(max(1, -most), -least)})')
    if most >= 0:
        parts.append(whole_numbers(max(0, least), most))
    return " | ".join(parts)


def _numbers(schema: Mapping[str, Any]) -> str:
    least, most = schema.get("minimum", -_LARGEST), schema.get("maximum", _LARGEST)
    if least != int(least) or most != int(most) or least > most:
        raise UsageError("response_format has a number with bounds that are no whole numbers in order; change them")
    least, most = int(least), int(most)

    def span(low: int, high: int) -> str:
        below = f"({whole_numbers(low, high - 1)}) {_FRACTION} | " if low < high else ""
        return f'{below}"{high}"'

    parts = []
    if least < 0:
        parts.append(f'"-" ({span(max(0, -most), -least)})')
    if most >= 0:
        parts.append(span(max(0, least), most))
    return " | ".join(parts)


def _implied(schema: Mapping[str, Any]) -> list[str]:
    """The kind that a schema without a type speaks of."""
    if "additionalProperties" in schema:
        return ["object"]
    return [kind for kind in ("object", "array", "string") if _ALLOWED[kind] & schema.keys()]


def _exclusive(branches: Sequence[Any]) -> bool:
    """Whether no value fits two of them, as their types or values tell."""
    seen: list[object] = []
    for branch in branches:
        if not isinstance(branch, Mapping):
            return False
        if "const" in branch or "enum" in branch:
            seen += [json.dumps(value) for value in branch.get("enum", [branch.get("const")])]
            continue
        kinds = branch.get("type", ())
        kinds = [kinds] if isinstance(kinds, str) else kinds
        if not kinds:
            return False
        seen += ["number" if kind == "integer" else kind for kind in kinds]
    values = any("const" in branch or "enum" in branch for branch in branches)
    kinds_too = any("type" in branch and "const" not in branch and "enum" not in branch for branch in branches)
    return len(seen) == len(set(seen)) and not (values and kinds_too)


def _refuse_others(schema: Mapping[str, Any], known: set[str]) -> None:
    for keyword in schema:
        if keyword not in known and keyword not in _ANNOTATIONS:
            beside = f" beside {'/'.join(sorted(known))}" if known else ""
            raise UsageError(f"response_format uses {keyword!r}{beside}, which a grammar cannot express; leave it out")
