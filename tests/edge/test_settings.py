from __future__ import annotations

from pathlib import Path

import pytest

from edge.errors import UsageError
from edge.settings import load_settings


def test_flags_over_environment_over_file_over_defaults(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('model = "from-file"\nk = 7\ntemperature = 1\ncontext = 512\n')
    environment = {"EDGE_MODEL": "from-environment", "EDGE_K": "8"}
    settings = load_settings({"k": 9, "model": None}, environment=environment, config=config)
    assert (settings.model, settings.k, settings.temperature, settings.context) == ("from-environment", 9, 1.0, 512)
    assert settings.prompt_passages is None
    assert load_settings({}, environment={"EDGE_PROMPT_PASSAGES": "3"}).prompt_passages == 3


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("modell = 'x'", "'modell'"),
        ("k = 'many'", "k must be a number"),
        ("k = true", "number"),
        ("k = [", "correct it"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str, word: str) -> None:
    config = tmp_path / "config.toml"
    config.write_text(text)
    with pytest.raises(UsageError, match=r"config\.toml") as caught:
        load_settings(environment={}, config=config)
    assert word in str(caught.value)


def test_a_wrong_variable_is_named() -> None:
    with pytest.raises(UsageError, match="EDGE_K"):
        load_settings(environment={"EDGE_K": "many"})


@pytest.mark.parametrize(("word", "kept"), [("false", False), ("0", False), ("Off", False), ("yes", True)])
def test_a_switch_takes_the_words_that_people_write(tmp_path: Path, word: str, kept: bool) -> None:
    assert load_settings(environment={"EDGE_KEEP_CHATS": word}).keep_chats is kept
    config = tmp_path / "config.toml"
    config.write_text(f"keep_chats = {str(kept).lower()}\n")
    assert load_settings(environment={}, config=config).keep_chats is kept


def test_a_switch_that_is_none_is_named() -> None:
    with pytest.raises(UsageError, match="EDGE_KEEP_CHATS: keep_chats must be true or false"):
        load_settings(environment={"EDGE_KEEP_CHATS": "perhaps"})


def test_old_names_are_taken_where_the_new_ones_are_not_set(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("patience = 3.5\ncertainty = 0.25\n")
    found = load_settings(environment={}, config=config)
    assert (found.extra_read_seconds, found.min_answerable) == (3.5, 0.25)
    old = {"EDGE_PATIENCE": "4", "EDGE_CERTAINTY": "0.75"}
    found = load_settings(environment=old, config=config)
    assert (found.extra_read_seconds, found.min_answerable) == (4.0, 0.75)
    config.write_text("min_answerable = 0.1\ncertainty = 0.25\n")
    assert load_settings(environment={}, config=config).min_answerable == 0.1
    assert load_settings(environment={**old, "EDGE_MIN_ANSWERABLE": "0.2"}).min_answerable == 0.2
    with pytest.raises(UsageError, match=r"EDGE_CERTAINTY.* from 0 to 1"):
        load_settings(environment={"EDGE_CERTAINTY": "7"})
