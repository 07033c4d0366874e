"""The command that puts a missing package where this edge runs, however it was installed: uv, pipx or pip.

It names the packages themselves, as our own metadata pins them, and never our own distribution: that need not be on
any index.
"""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

DISTRIBUTION = "edge-expert"
_EXTRA = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")
_OWN = re.compile(rf"{DISTRIBUTION}\[([^]]+)\]")


@dataclass(frozen=True, slots=True)
class _Tool:
    install: str
    reinstall: str
    uninstall: str


def install_command(*requirements: str, again: bool = False) -> str:
    """The line for a shell; with `again` also where the packages are there already and do not work."""
    tool = _tool()
    return _joined(tool.reinstall if again else tool.install, requirements)


def uninstall_command(*packages: str) -> str:
    return _joined(_tool().uninstall, packages)


def _joined(command: str, words: tuple[str, ...]) -> str:
    return " ".join([command, *(shlex.quote(word) for word in words)])


def requirements_of(extra: str) -> tuple[str, ...]:
    """What an extra of ours brings, as it is pinned; () where the distribution is not installed or knows no such."""
    try:
        lines = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return ()
    found: list[str] = []
    for line in lines:
        requirement, _, marker = line.partition(";")
        named = _EXTRA.search(marker)
        if named is None or named[1] != extra:
            continue
        own = _OWN.match(requirement.strip().replace(" ", ""))
        wanted = _of_all(own[1].split(",")) if own else (requirement.strip(),)
        found += [each for each in wanted if each not in found]
    return tuple(found)


def _of_all(extras: list[str]) -> tuple[str, ...]:
    return tuple(each for extra in extras for each in requirements_of(extra))


def _tool() -> _Tool:
    prefix, python = Path(sys.prefix), shlex.quote(sys.executable)
    if (prefix / "pipx_metadata.json").is_file():
        name = shlex.quote(prefix.name)
        return _Tool(f"pipx inject {name}", f"pipx inject --force {name}", f"pipx runpip {name} uninstall -y")
    # A tool of uv, or an environment that uv made: there is no pip in it.
    if (prefix / "uv-receipt.toml").is_file() or find_spec("pip") is None:
        uv = "uv pip {} --python " + python
        return _Tool(uv.format("install"), uv.format("install --reinstall --no-cache"), uv.format("uninstall"))
    pip = f"{python} -m pip"
    return _Tool(f"{pip} install", f"{pip} install --force-reinstall --no-cache-dir", f"{pip} uninstall -y")
