"""The documentation is built strictly, holds every page, and fetches nothing when it is read."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import edge
import edge_converters
import edge_index
from every_command import every_command

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]
PAGES = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages as HTML, built from a copy so that the checkout stays as it is. Broken links fail the build."""
    copy = tmp_path_factory.mktemp("site")
    shutil.copy(ROOT / "zensical.toml", copy)
    shutil.copytree(ROOT / "docs", copy / "docs")
    for name in ("edge", "index", "converters"):
        (copy / name).symlink_to(ROOT / name)
    command = [Path(sys.executable).with_name("zensical"), "build", "--strict"]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No issues found" in done.stdout + done.stderr
    return copy / "site"


def listed(nav: list[dict[str, Any]]) -> Iterator[str]:
    for entry in nav:
        for target in entry.values():
            yield from listed(target) if isinstance(target, list) else [target]


def test_the_contents_list_every_page_once() -> None:
    found = list(listed(SETTINGS["nav"]))
    assert sorted(found) == sorted(PAGES)


class Fetched(HTMLParser):
    """The addresses of what a browser would load with a page; links that a reader follows are none of them."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("img", "script", "iframe", "source", "video"):
            self.addresses.add(given.get("src") or "")
        if tag == "link" and (given.get("rel") or "") in ("stylesheet", "icon", "preload", "preconnect"):
            self.addresses.add(given.get("href") or "")


@pytest.mark.parametrize("page", sorted(PAGES))
def test_a_page_loads_nothing_from_elsewhere_and_its_pictures_are_there(page: str, site: Path) -> None:
    file = (site / page).with_suffix(".html")
    parser = Fetched()
    parser.feed(file.read_text(encoding="utf-8"))
    for address in parser.addresses - {""}:
        assert not re.match(r"(\w+:)?//", address), address
        assert (file.parent / address.split("?")[0]).is_file(), address


@pytest.mark.parametrize("module", [edge, edge_index, edge_converters], ids=lambda module: module.__name__)
def test_the_reference_has_every_public_name(module: Any, site: Path) -> None:
    page = (site / "reference" / f"{module.__name__}.html").read_text(encoding="utf-8")
    anchors = set(re.findall(r'id="([\w.]+)"', page))
    missing = [name for name in module.__all__ if not any(anchor.split(".")[-1] == name for anchor in anchors)]
    assert missing == []


def test_the_reference_has_every_command(site: Path) -> None:
    page = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    text = re.sub(r"<[^>]+>", "", page)
    for context in every_command():
        assert f"{context.command_path} [OPTIONS]" in text


def test_the_readme_is_short_and_its_links_lead_somewhere() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.encode()) <= 8192
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (ROOT / target).exists(), target


def test_the_docs_extra_is_pinned_and_part_of_the_tests() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert all("==" in requirement for requirement in extras["docs"])
    assert any("docs" in requirement for requirement in extras["test"] if requirement.startswith("edge-expert["))


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", "SECURITY.md", *(f"docs/{page}" for page in sorted(PAGES))]
)
def test_files_of_the_repository_that_a_page_names_are_there(page: str) -> None:
    """In `code` and in blocks; what is named with a … or a * is none."""
    text = (ROOT / page).read_text(encoding="utf-8")
    named = set(
        re.findall(r"(?<![\w/.-])(?:tests|edge|index|converters|tui|examples|packaging)/[\w/.-]+\.\w+\b(?!…)", text)
    )
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_the_changelog_is_short_lines() -> None:
    """What changed, in a line; how it works stands in the guide, why it is so in the design notes."""
    lines = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("- ") and len(line) > 260] == []
