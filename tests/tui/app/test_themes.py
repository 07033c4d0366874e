"""Whatever stands on the screen can be read in every theme of ours, and there are no colours where none are wanted."""

from __future__ import annotations

from typing import Any

import pytest

from edge_tui.app import themes
from edge_tui.app.app import ChatApp
from support.chat.driving import answered, drive, ready
from support.chat.fakes import MANUAL, SEAL, FakeIndex, send, session, until
from support.chat.looks import contrast, written

REPLY = f"""{SEAL} Keep a spare.

# Heading
- `inline` and **bold** and *em*

| part | hours |
|---|---|
| seal | 4,000 |

> quoted

```python
import os  # a comment

class Pump(Base):
    def start(self, hours: int = 4000) -> str:
        return f"{{hours}} h" if self.on and not None else "off"
```
"""


@pytest.mark.parametrize(("theme", "least"), [("dark", 4.5), ("light", 4.5), ("contrast", 7.0)])
def test_everything_can_be_read(theme: str, least: float) -> None:
    knowledge = FakeIndex(MANUAL)
    knowledge.outdated = {"/manuals/pump-1.md": "changed"}

    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, f"/theme {theme}")
        assert app.theme == f"edge-{theme}"
        bad = []

        def look(inside: Any = None) -> None:
            for text, colour, ground in written(app, inside):
                if contrast(colour, ground) < least:
                    bad.append(f"{contrast(colour, ground):.2f} {text.strip()!r} {colour} on {ground}")

        look()
        await send(pilot, "how often?")
        await answered(app, pilot)
        await send(pilot, "/context")
        await pilot.pause()
        look()
        await send(pilot, "/help")
        await send(pilot, "/nonsense")
        await pilot.pause()
        look()
        await pilot.press("ctrl+o")
        await pilot.pause()
        look()
        await pilot.press("ctrl+o", "ctrl+l")
        await pilot.pause()
        look(app.screen.query_one("#add").region)  # what lies behind is dimmed on purpose
        for line in ("/documents", "/welcome"):
            await pilot.press("escape")
            await pilot.pause()
            await send(pilot, line)
            await until(pilot, lambda: len(app.screen_stack) > 1)
            await pilot.pause(0.2)
            look()
        assert not bad, "\n".join(dict.fromkeys(bad))

    drive(session(REPLY, knowledge=knowledge), play, size=(140, 70))


def test_a_theme_that_there_is_not_is_named() -> None:
    from support.chat.fakes import screen_text

    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        assert app.theme == themes.DARK.name
        await send(pilot, "/theme pink")
        assert "There is no theme 'pink'; there are: contrast, dark, light" in screen_text(app)
        await send(pilot, "/theme nord")
        assert app.theme == "nord"

    drive(session(), play)
