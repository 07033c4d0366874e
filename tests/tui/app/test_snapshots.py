"""The main screens as they were when somebody looked at them and found them good.

`SNAPSHOTS=write pytest tests/tui/app/test_snapshots.py` writes them anew; look at the difference before it is
committed. A file holds the characters of the screen and below them, letter by letter, which colours they stand in.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from string import ascii_letters
from typing import Any

import pytest

from edge_tui.app.app import ChatApp
from support.chat.driving import answered, drive, ready
from support.chat.fakes import MANUAL, SEAL, FakeIndex, send, session
from support.chat.looks import inked, rows

HERE = Path(__file__).parent / "snapshots"
REPLY = f"""{SEAL} Keep a spare.

| part | hours |
|---|---|
| seal | 4,000 |

```python
hours = 4000  # of operation
```

The area is $\\pi r^2$.
"""


def picture(app: ChatApp) -> str:
    """Characters, colours and their legend; speeds and the cursor that blinks are taken out."""
    speeds = re.compile(r"[\d,.]+ tok/s · first (word )?[\d.]+ s")
    letters: dict[str, str] = {}
    inks = []
    for row in inked(app)[:-3]:
        inks.append("".join(letters.setdefault(ink, ascii_letters[len(letters)]) for ink in row).rstrip())
    text = [re.sub(r" +", " ", speeds.sub("SPEED", row)) if speeds.search(row) else row for row in rows(app)]
    legend = [f"{letter} {ink}" for ink, letter in letters.items()]
    return "\n".join([*(row.rstrip() for row in text), "", *inks, "", *legend, ""])


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("size", [(80, 24), (160, 50)], ids=["80x24", "160x50"])
def test_the_screens_look_as_they_did(size: tuple[int, int], theme: str) -> None:
    knowledge = FakeIndex(MANUAL)
    knowledge.outdated = {"/manuals/pump-1.md": "changed"}
    taken: dict[str, str] = {}

    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, f"/theme {theme}")
        await pilot.pause()
        taken["welcome"] = picture(app)
        await send(pilot, "how often?")
        await answered(app, pilot)
        await pilot.pause()
        taken["answer"] = picture(app)
        await pilot.press("ctrl+o", "1")
        await pilot.pause()
        taken["source"] = picture(app)
        await pilot.press("ctrl+o", "ctrl+t")
        await pilot.pause()
        taken["context"] = picture(app)

    drive(session(REPLY, knowledge=knowledge), play, size=size)
    for name, picture_now in taken.items():
        file = HERE / f"{name}-{size[0]}x{size[1]}-{theme}.txt"
        if os.environ.get("SNAPSHOTS") == "write":
            file.parent.mkdir(exist_ok=True)
            file.write_text(picture_now, encoding="utf-8")
        assert picture_now == file.read_text(encoding="utf-8"), f"{file.name} is another screen now"
