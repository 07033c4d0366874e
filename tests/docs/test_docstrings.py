"""Public docstrings say what a name takes, gives and raises, and their examples run."""

from __future__ import annotations

import doctest
import inspect
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import edge
import edge_converters
import edge_index
import standin

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (edge, edge_index, edge_converters)


def public() -> Iterator[tuple[str, Any]]:
    """Every public class, function and method by its documented name; errors speak for themselves."""
    for package in PACKAGES:
        for name in package.__all__:
            value = getattr(package, name)
            if inspect.ismodule(value):
                yield from ((f"{package.__name__}.{name}.{each}", getattr(value, each)) for each in ("list", "pull"))
            elif not (inspect.isclass(value) and issubclass(value, Exception)):
                yield f"{package.__name__}.{name}", value
                if inspect.isclass(value):
                    yield from members(f"{package.__name__}.{name}", value)


def members(name: str, kind: type) -> Iterator[tuple[str, Any]]:
    for key, value in vars(kind).items():
        if not key.startswith("_") and (inspect.isfunction(value) or isinstance(value, property | classmethod)):
            yield f"{name}.{key}", value.__func__ if isinstance(value, classmethod) else value


PUBLIC = dict(public())
WITH_EXAMPLE = {name: value for name, value in PUBLIC.items() if ">>>" in (value.__doc__ or "")}


def sections(text: str) -> dict[str, str]:
    """The sections of a docstring in Google's style, by their titles."""
    titles = r"^(Args|Attributes|Returns|Yields|Raises|Examples):\n"
    found = re.split(titles, inspect.cleandoc(text), flags=re.MULTILINE)
    return dict(zip(found[1::2], found[2::2], strict=True))


@pytest.mark.parametrize("name", PUBLIC)
def test_a_docstring_names_everything_that_is_taken_and_given(name: str) -> None:
    value = PUBLIC[name]
    assert value.__doc__, name
    if isinstance(value, property):
        return
    found = sections(value.__doc__)
    fields = getattr(value, "__dataclass_fields__", None)
    if fields is not None:
        assert list(fields) == re.findall(r"^    (\w+): ", found["Attributes"], re.MULTILINE)
    if not inspect.isfunction(value):
        return
    signature = inspect.signature(value)
    taken = [
        ("*" * (parameter.kind in (2, 4)) + "*" * (parameter.kind == 4)) + each
        for each, parameter in signature.parameters.items()
        if each not in ("self", "cls")
    ]
    assert taken == re.findall(r"^    ([\w*]+): ", found.get("Args", ""), re.MULTILINE)
    gives = signature.return_annotation not in ("None", None)
    assert gives == ("Returns" in found or "Yields" in found)


def test_every_function_and_what_everybody_begins_with_has_an_example() -> None:
    functions = {name for name, value in PUBLIC.items() if inspect.isfunction(value) and name.count(".") == 1}
    classes = {"edge.Model.stream", "edge.Chat", "edge.Answer", "edge.Passage", "edge_index.Index"}
    assert (functions | classes) <= set(WITH_EXAMPLE)


@pytest.fixture(scope="module")
def here(
    starter_home: Path,
    stand_in: Path,
    trained_lora: Path,
    stand_in_exports: Path,
    minilm_dir: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, Any]]:
    """What examples name: a model, an index of manuals/, a chat with both, and folders of models beside them."""
    folder = tmp_path_factory.mktemp("examples")
    shutil.copytree(ROOT / "examples" / "manuals", folder / "manuals")
    (folder / "home").mkdir()
    (folder / "home" / "models").symlink_to(starter_home / "models")
    links = {
        "phi-3-mini": stand_in,
        "my-lora": trained_lora,
        "base.gguf": stand_in_exports / "f16.gguf",
        "all-MiniLM-L6-v2": minilm_dir,
    }
    for name, target in links.items():
        (folder / name).symlink_to(target)
    asked = [(way.format(q), a) for way in ("{}", "Please tell me: {}") for q, a in standin.LESSONS]
    rows = [f'{{"prompt": "{q}", "completion": "{standin.lesson_answer(a)}"}}\n' for q, a in asked]
    (folder / "answers.jsonl").write_text("".join(rows), encoding="utf-8")
    before = os.getcwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_HOME", str(folder / "home"))
        os.chdir(folder)
        with edge.load("smollm2", context=1024) as model, edge_index.Index.open("manuals.index") as index:
            index.add("manuals/")
            chat = edge.Chat(model, knowledge=index, sampling=edge.Sampling(max_tokens=40))
            names = {"model": model, "index": index, "chat": chat, "Path": Path, "Index": edge_index.Index}
            yield names | {package.__name__: package for package in PACKAGES} | {"folder": folder}
    os.chdir(before)


@pytest.mark.parametrize("name", WITH_EXAMPLE)
def test_the_example_runs(name: str, here: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_HOME", str(here["folder"] / "home"))
    monkeypatch.chdir(here["folder"])
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    text = WITH_EXAMPLE[name].__doc__ or ""
    said: list[str] = []
    runner.run(parser.get_doctest(text, dict(here), name, None, 0), out=said.append)
    assert runner.failures == 0, "".join(said)
    assert runner.tries > 0 or "+SKIP" in text  # what takes minutes or the network is tried by tests of its own
