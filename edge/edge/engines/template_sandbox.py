"""Jinja for templates that strangers wrote: what they compute is bounded in time, in size and in what they may touch.

jinja2's sandbox keeps a template away from Python's insides and from changing what it is given; it does not stop one
that runs for ever or makes a string of a gigabyte. A thread cannot be ended from outside, so every step that can repeat
or grow asks first: loops, calls, operators, filters and the values that are built. Nothing else in Jinja repeats.

minijinja 3.1.0, which counts its steps itself, renders all 92 templates of the tests and of llama.cpp as transformers
does once `{% generation %}` is out of five of them. But lists that hold a list twice, 24 deep, are compared for 13
seconds without a step being counted, 64 deep for ever, and 20,000 operators in a row end the whole process (SIGSEGV):
no error can be made of either, so jinja2 under the bounds below stays.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import wraps
from time import monotonic
from types import BuiltinMethodType
from typing import Any, NoReturn

from jinja2 import Template, TemplateError, Undefined, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

SECONDS = 3.0
_SOURCE = 1 << 17  # characters; the longest template of a known model has 20,000
_SIZE = 1 << 24  # characters of one text, all texts of a list together
_PARTS = 200_000  # values in a list, its lists and theirs
_TOTAL = 1 << 28  # characters and values of everything that is made while a prompt is rendered
_NUMBER = 10_000  # the largest argument: widths, counts, digits
_INTEGER = 1 << 128

_FILTERS = (
    "abs attr batch capitalize center count d default dictsort e escape first float forceescape format groupby indent"
    " int items join last length list lower map max min reject rejectattr replace reverse round safe select selectattr"
    " slice sort string sum title trim unique upper urlencode wordcount"
).split()
_METHODS = (str, list, tuple, dict)
_NO_METHODS = ("translate", "maketrans", "encode")
# A width of four digits, one that is an argument, or a field within a field.
_WIDE = re.compile(r"%(?:\([^)]*\))?[-+ #0]*(?:\d*\.)?(?:\d{4,}|\*)|\{[^{}]*:[^{}]*(?:\d{4,}|\{)")


class Stopped(SecurityError):
    """A template went beyond what it may."""


def compile_template(source: str) -> Template:
    """Raises TemplateError, or whatever Python makes of code that is nested too deep."""
    if len(source) > _SOURCE:
        raise Stopped(f"it has {len(source):,} characters")
    return _Bounded().from_string(source)


def render(template: Template, values: dict[str, Any]) -> str:
    """The text, made within `SECONDS`. Raises Stopped, or whatever the template's mistakes raise."""
    environment = template.environment
    assert isinstance(environment, _Bounded)
    environment.begin()
    pieces = []
    for piece in template.generate(**values):
        environment.spend(len(piece))
        pieces.append(piece)
    return "".join(pieces)


class _Bounded(ImmutableSandboxedEnvironment):
    """Counts what the template of the moment has used up; not for two renderings at a time."""

    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "%", "**"))

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,  # or constants would be computed while it is compiled
            finalize=self.weighed,
            extensions=["jinja2.ext.loopcontrols", _Generation],
        )
        self.begin()
        self.concat = self._joined  # type: ignore[method-assign]  # jinja2 reads it from here for blocks and macros
        guarded = {name: self._guarded(name, self.filters[name]) for name in _FILTERS}
        mine = {"tojson": _to_json, "_each": self._each, "_tick": self._ticked, "_weighed": self.weighed}
        self.filters = {**guarded, **mine, "_joined": lambda parts: self._joined(map(str, parts))}
        self.filters["tojson"] = self._guarded("tojson", _to_json)
        self.globals.pop("lipsum")
        self.globals["raise_exception"] = _refuse
        self.globals["strftime_now"] = _now

    def begin(self) -> None:
        self._deadline = monotonic() + SECONDS
        self._left = _TOTAL

    def spend(self, amount: int = 1) -> None:
        self._left -= amount
        if self._left < 0:
            raise Stopped("it makes too much text")
        if monotonic() > self._deadline:
            raise Stopped(f"it takes longer than {SECONDS:g} seconds")

    def weighed(self, value: Any) -> Any:
        """`value`, if neither it nor what it is made of is too large. A list that holds a list twice holds it twice."""
        self.spend()
        if not isinstance(value, str | list | tuple | dict | int):
            return value
        size = parts = 0
        stack = [value]
        while stack:
            one = stack.pop()
            parts += 1
            if isinstance(one, str):
                size += len(one)
            elif isinstance(one, dict):
                stack += [*one.keys(), *one.values()]
            elif isinstance(one, list | tuple):
                stack += one
            elif isinstance(one, int) and abs(one) > _INTEGER:
                raise Stopped("it computes with too large a number")
            if size > _SIZE or parts + len(stack) > _PARTS:
                raise Stopped("it makes too large a value")
        self.spend(size + parts)
        return value

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805 - jinja2's names
        self, function = __self, __obj
        self.spend()
        if isinstance(function, BuiltinMethodType):
            self._check_method(function.__self__, function.__name__, args, kwargs)
        return self.weighed(super().call(__context, function, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        self.spend()
        if operator == "*":
            for many, number in ((left, right), (right, left)):
                if isinstance(number, int) and hasattr(many, "__len__"):
                    self._grow(len(many) * number)
        elif operator == "**" and (isinstance(right, int) and abs(right) > 64):
            raise Stopped("it computes with too large a number")
        elif operator == "+" and hasattr(left, "__len__") and hasattr(right, "__len__"):
            self._grow(len(left) + len(right))
        elif operator == "%" and isinstance(left, str):
            self._check_format(left, right)
        return self.weighed(super().call_binop(context, operator, left, right))

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None

        def checked(*args: Any, **kwargs: Any) -> str:
            self._check_format(value.__self__, (args, kwargs))
            return wrapped(*args, **kwargs)

        return checked

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree: nodes.Template = _Guards().visit(super()._parse(source, name, filename))
        return tree

    def _grow(self, size: int) -> None:
        if size > _SIZE:
            raise Stopped("it makes too large a value")

    def _check_method(self, owner: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not isinstance(owner, _METHODS) or name in _NO_METHODS:
            raise Stopped(f"it calls {type(owner).__name__}.{name}")
        self._check_numbers((*args, *kwargs.values()))
        if not isinstance(owner, str):
            return
        if name == "replace" and len(args) > 1:
            self._check_replace(owner, *args[:2])
        elif name == "join" and args:
            self._check_join(args[0], owner)
        elif name == "expandtabs":
            self._grow(owner.count("\t") * _NUMBER)

    def _check_numbers(self, values: Iterable[Any]) -> None:
        for value in values:
            if isinstance(value, int | float) and abs(value) > _NUMBER:
                raise Stopped(f"it asks for {value:,}")

    def _check_replace(self, text: object, old: object, new: object) -> None:
        text = str(self.weighed(text))
        self._grow(len(text) + text.count(str(self.weighed(old))) * len(str(self.weighed(new))))

    def _check_join(self, parts: Any, between: object) -> None:
        if hasattr(parts, "__len__"):
            self._grow(len(parts) * len(str(between)))

    def _check_format(self, form: str, values: Any) -> None:
        if _WIDE.search(form) or form.count("{") + form.count("%") > _NUMBER:
            raise Stopped("it formats too widely")
        self.weighed(values)

    def _joined(self, parts: Iterable[str]) -> str:
        found, size = [], 0
        for part in parts:
            size += len(part)
            self._grow(size)
            found.append(part)
        self.spend(size)
        return "".join(found)

    def _each(self, values: Any) -> Iterator[Any]:
        for value in values:
            self.spend()
            yield value

    def _ticked(self, value: Any) -> Any:
        self.spend()
        return value

    def _guarded(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        passed = 1 if hasattr(function, "jinja_pass_arg") else 0

        @wraps(function)
        def guard(*args: Any, **kwargs: Any) -> Any:
            value, *rest = args[passed:]
            self.weighed(value)
            for other in (*rest, *kwargs.values()):
                self.weighed(other)
            self._check_numbers((*rest, *kwargs.values()))
            if name == "replace" and len(rest) > 1:
                self._check_replace(value, *rest[:2])
            elif name == "join":
                self._check_join(value, rest[0] if rest else kwargs.get("d", ""))
            elif name == "format":
                self._check_format(str(value), rest)
            elif name in ("indent", "tojson"):
                steps = [step for step in (*rest, *kwargs.values()) if isinstance(step, int) and step > 16]
                self._grow(sum(steps) * len(value) if steps and hasattr(value, "__len__") else 0)
            return self.weighed(function(*args, **kwargs))

        return guard


class _Guards(NodeTransformer):
    """Puts a filter of `_Bounded` around what repeats, branches or builds."""

    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802 - jinja2 finds it by its name
        self.generic_visit(node)
        node.iter = _filtered(node.iter, "_each")
        return node

    def visit_If(self, node: nodes.If) -> nodes.If:  # noqa: N802
        self.generic_visit(node)
        node.test = _filtered(node.test, "_tick")
        return node

    def visit_CondExpr(self, node: nodes.CondExpr) -> nodes.CondExpr:  # noqa: N802
        self.generic_visit(node)
        node.test = _filtered(node.test, "_tick")
        return node

    def visit_List(self, node: nodes.List) -> nodes.Expr:  # noqa: N802
        self.generic_visit(node)
        return _filtered(node, "_weighed")

    def visit_Dict(self, node: nodes.Dict) -> nodes.Expr:  # noqa: N802
        self.generic_visit(node)
        return _filtered(node, "_weighed")

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Expr:  # noqa: N802
        self.generic_visit(node)
        return _filtered(node, "_weighed") if node.ctx == "load" else node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Expr:  # noqa: N802
        self.generic_visit(node)
        return _filtered(nodes.List(node.nodes, lineno=node.lineno), "_joined")


def _filtered(node: Any, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


class _Generation(Extension):
    """`{% generation %}` marks what a training run learns from; here it means nothing."""

    tags = {"generation"}  # noqa: RUF012 - as jinja2 declares it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """As transformers has it: jinja2's own writes `<` as `\\u003c`."""
    if isinstance(value, Undefined):
        raise TemplateError("it writes a value as JSON that is not there")
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _now(form: str) -> str:
    if len(form) > 100 or re.search(r"%[^a-zA-Z%]", form):  # the C library pads to any width
        raise Stopped("it asks for the time in too odd a form")
    return datetime.now().strftime(form)


def _refuse(reason: str) -> NoReturn:
    raise TemplateError(reason)
