"""The pictures of the documentation: the app's main screens with the starter models and a document made for them.

    pip install resvg-py
    EDGE_HOME=~/.local/share/edge python tests/support/pictures.py [--out docs/pictures]

EDGE_HOME needs the starter models. Each screen is taken from the running app, as SVG, and turned into PNG.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import edge
import edge.system.offline
from edge.system.paths import models_dir
from edge_index import Index
from edge_tui.app.app import ChatApp
from edge_tui.session.chat_history import ChatHistory
from edge_tui.session.session import Session

SIZE = (116, 32)
MODEL = "SmolLM2-135M-Instruct.Q4_1.gguf"
MANUALS = {
    "pump.md": """# The pump

## Maintenance
The pump is due for maintenance every ninety days. The seal is changed by the night engineer, who writes it into the
station's book. Before the housing is opened the red valve must be closed.

## Lamps
The green lamp means that all is well. The red lamp means that the boiler is out of water.
""",
    "boiler.md": """# The boiler

## Starting
The boiler is started only when its glass shows water. It needs twenty minutes until the pressure stands at six bar.

## Noise
A knocking noise comes from the return valve and is harmless below four bar.
""",
}
QUESTION = "When is the pump due for maintenance?"


async def until(app: ChatApp, pilot: Any, true: Callable[[], bool], patience: float = 120.0) -> None:
    end = monotonic() + patience
    while not true():
        if monotonic() > end:
            raise SystemExit(f"the app did not get there; it shows:\n{shown(app)}")
        await pilot.pause(0.05)


def shown(app: ChatApp) -> str:
    """The text of the screen."""
    return re.sub(r"<[^>]*>", "", app.export_screenshot()).replace("&#160;", " ")


async def enter(app: ChatApp, pilot: Any, line: str) -> None:
    app._prompt.replace_all(line)
    await pilot.press("enter")


async def walk(folder: Path, out: Path) -> None:
    model = models_dir() / MODEL
    session = Session(
        lambda: edge.load(model, context=2048),
        lambda: Index.open(folder / "index"),
        sampling=edge.Sampling(max_tokens=48),
        history=ChatHistory(folder / "chats.sqlite"),
    )
    app = ChatApp(session, welcome=True)

    def take(name: str) -> None:
        (out / f"{name}.png").write_bytes(_png(app.export_screenshot(title="edge")))
        print(out / f"{name}.png")

    async with app.run_test(size=SIZE) as pilot:
        await until(app, pilot, lambda: session.state == "ready")
        await until(app, pilot, lambda: "Welcome" in shown(app))
        await pilot.pause(0.5)
        take("first-run")
        await pilot.press("escape")
        await enter(app, pilot, f"/add {folder / 'manuals'}")
        await until(app, pilot, lambda: len(session.documents) == len(MANUALS) and session.state == "ready")
        for question in ("What does the red lamp mean?", QUESTION):
            await enter(app, pilot, "/new")
            await pilot.pause(0.3)
            await enter(app, pilot, question)
            await until(app, pilot, lambda asked=question: session.question == asked and session.state == "ready")
            await pilot.pause(0.5)
        await pilot.press("ctrl+o")
        await pilot.pause(0.5)
        take("answer")
        await pilot.press("escape")
        await enter(app, pilot, f"/compare docs|nodocs {QUESTION}")
        await until(app, pilot, lambda: "leads back" in shown(app).replace("\xa0", " "))
        take("compare")
        await pilot.press("escape")
        for key, line, name, sign in (
            ("f2", "", "documents", "boiler.md"),
            ("", "/chats", "chats", "red lamp"),
            ("", "/model", "models", "answers now"),
        ):
            await pilot.pause(0.3)
            if key:
                await pilot.press(key)
            else:
                await enter(app, pilot, line)
            await until(app, pilot, lambda sign=sign: len(app.screen_stack) > 1 and sign in shown(app))
            await pilot.pause(0.5)
            take(name)
            await pilot.press("escape")


def _png(svg: str) -> bytes:
    import resvg_py

    # The web font of Rich's template is nowhere to be had without a network.
    local = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL).replace("Fira Code", "DejaVu Sans Mono")
    return bytes(resvg_py.svg_to_bytes(svg_string=local, width=1400))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[2] / "docs" / "pictures")
    options = parser.parse_args()
    edge.system.offline.silence()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "manuals").mkdir()
        for name, text in MANUALS.items():
            (folder / "manuals" / name).write_text(text, encoding="utf-8")
        asyncio.run(walk(folder, options.out))


if __name__ == "__main__":
    main()
