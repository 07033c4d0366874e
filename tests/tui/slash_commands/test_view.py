"""Reading an answer: code, tables, formulas, stale sources, the context, and texts that no layout expects."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from textual import events
from textual.app import App, ComposeResult
from textual.widget import Widget
from textual.widgets import Markdown

from edge.engines.scripted import ScriptedEngine
from edge.model import Model
from edge.types import ContextUsage, Dropped, Passage, Sampling
from edge_tui.app import keys
from edge_tui.app.app import ChatApp
from edge_tui.app.input.prompt import Prompt
from edge_tui.app.widgets.answer import AnswerView
from edge_tui.app.widgets.context_bar import ContextBar
from edge_tui.app.widgets.status import StatusLine
from edge_tui.app.widgets.words import Code, Words
from edge_tui.session.events import Speed
from support.chat.driving import answered, drive, marked, ready
from support.chat.fakes import MANUAL, MOTOR, SEAL, FakeIndex, screen_text, send, session, until
from support.chat.looks import rows, widths

CODE = """Two ways:

```python
print($x^2$)
```

or

```sh
ls \x1b[31m
```

| part | price |
|---|---|
| seal | $5 |

The area is $\\pi r^2$, and \\[ \\frac{a+b}{2} \\]
"""


def host(widget: Widget, look: Callable[[App[None]], Awaitable[None] | None], size: tuple[int, int]) -> None:
    """Run an app that holds this widget alone."""

    class Host(App[None]):
        def compose(self) -> ComposeResult:
            yield widget

    async def main() -> None:
        app = Host()
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            done = look(app)
            if done is not None:
                await done

    asyncio.run(main())


def test_code_is_copied_by_a_key_and_by_its_number() -> None:
    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await pilot.press("ctrl+g")
        await until(pilot, lambda: "no block of code" in screen_text(app))
        await send(pilot, "go")
        await answered(app, pilot)
        assert "/code 1 to /code 2 copy the blocks of code" in screen_text(app)
        await pilot.press("ctrl+g")
        assert app.clipboard == "ls \ufffd[31m"
        await send(pilot, "/code 1")
        assert app.clipboard == "print($x^2$)"
        await send(pilot, "/code 3")
        await until(pilot, lambda: "blocks of code 1 to 2" in screen_text(app))
        await send(pilot, "/code x")
        assert "/code takes the number" in screen_text(app)
        assert app.clipboard == "print($x^2$)"

    drive(session(CODE), play)


def test_long_code_gets_its_colours_when_it_is_whole() -> None:
    """Colouring hundreds of lines anew with every piece would hold up the keys; what is short is coloured at once."""
    words = Words()

    async def look(_app: App[None]) -> None:
        await words.grow("```python\nx = 1\n")
        assert words.query_one(Code)._content.spans
        await words.grow("y = 'two'\n" * 100)
        assert words.query_one(Code).code.count("two") == 100
        assert not words.query_one(Code)._content.spans
        await words.grow("```\n\nDone.")
        assert words.query_one(Code)._content.spans
        whole = words.query_one(Code)
        await words.settle(words.source)
        assert words.query_one(Code) is whole
        await words.settle(f"{words.source} [1]")
        assert words.query_one(Code)._content.spans

    host(words, look, (80, 24))


def test_tables_and_formulas_are_on_the_screen() -> None:
    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, "go")
        await answered(app, pilot)
        shown = screen_text(app)
        for part in ("print($x^2$)", "$5", "The area is πr², and (a+b)/2", "price"):
            assert part in shown
        assert "|---|" not in shown

    drive(session(CODE), play)


def test_a_mark_never_cuts_a_formula() -> None:
    text = r"It is \[ x^2 = 1. \] so."

    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, "go")
        await answered(app, pilot)
        assert "x² = 1." in screen_text(app)

    drive(session(text, knowledge=FakeIndex(MANUAL)), play)


@pytest.mark.parametrize(("how", "words"), [("changed", "the file has changed since"), ("gone", "the file is gone")])
def test_a_stale_document_is_marked_in_the_evidence_and_beside_the_passage(how: Any, words: str) -> None:
    knowledge = FakeIndex(MANUAL)
    knowledge.outdated = {"/manuals/pump-1.md": how}

    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, "how often?")
        await answered(app, pilot)
        shown = screen_text(app)
        assert f"pump-1.md · p. 12 · {MANUAL.index(SEAL)}–{MANUAL.index(SEAL) + len(SEAL)} · {words}" in shown
        assert f"{words.capitalize()}; this is what was read" in shown
        assert marked(app) == SEAL
        knowledge.outdated.clear()
        await send(pilot, "how often?")
        await answered(app, pilot)
        assert "this is what was read" not in screen_text(app)

    drive(session(MOTOR, knowledge=knowledge), play, size=(160, 50))


def test_documents_that_do_not_tell_are_only_near() -> None:
    class Doubtful(FakeIndex):
        def answerable(self, query: str, passages: Sequence[Passage]) -> float:
            return 0.1

    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, "who won?")
        await answered(app, pilot)
        shown = screen_text(app)
        assert shown.index("Nearest in your documents") < shown.index(SEAL) < shown.index("The documents do not tell.")
        await pilot.press("ctrl+t")
        await until(pilot, lambda: "no context to show" in screen_text(app))

    drive(session("never said", knowledge=Doubtful(MANUAL)), play)


def test_the_context_is_shown_and_hidden() -> None:
    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, "how often?")
        await answered(app, pilot)
        await pilot.press("ctrl+t")
        await until(pilot, lambda: "room for the reply" in screen_text(app).replace("\xa0", " "))
        shown = screen_text(app).replace("\xa0", " ")
        assert "Context  4,096 tokens" in shown
        assert "passages" in shown
        assert "Nothing was left out." in shown
        await send(pilot, "/context")
        await until(pilot, lambda: "Nothing was left out." not in screen_text(app))

    drive(session(knowledge=FakeIndex(MANUAL)), play, size=(80, 24))


@pytest.mark.parametrize("width", [30, 80, 160])
def test_the_bar_fills_its_row_and_says_what_was_left_out(width: int) -> None:
    context_usage = ContextUsage(4096, 20, 300, 500, 40, 512, (Dropped("2 earlier turns", 312),))

    def look(app: App[None]) -> None:
        bar = [row for row in rows(app) if "▓" in row and "░" in row and "system" not in row]
        assert [len(row.rstrip()) for row in bar] == [width]
        shown = " ".join(rows(app)).replace("\xa0", " ")
        for part in ("system 20", "history 300", "passages 500", "question 40", "free 2,724"):
            assert part in shown
        assert "2 earlier turns (312" in " ".join(shown.split())

    host(ContextBar(context_usage), look, (width, 12))


@pytest.mark.parametrize(
    ("width", "parts"),
    [
        (80, ["model-with", "23.4 tok/s", "first 0.52 s", "812 cached", "█░░░░ 1204/4096", "3 docs"]),
        (140, ["model-with-a-name", "first word 0.52 s", "812 cached", "context █░░░░ 1,204/4,096", "3 documents"]),
    ],
)
def test_the_status_line_has_its_numbers_in_any_width(width: int, parts: list[str]) -> None:
    status = StatusLine()

    def look(app: App[None]) -> None:
        status.show("ready", "model-with-a-name", Speed(0.52, 23.4, 1204, 4096, 812), 3)
        row = status.render_line(0).text
        assert len(row.rstrip()) <= width
        for part in parts:
            assert part in row

    host(status, look, (width, 4))


def test_other_keys_do_their_work_and_are_shown() -> None:
    chosen = keys.keymap({"send": "ctrl+s", "code": "f4", "quit": "f10", "sources": "f6", "next-source": "x"})

    async def main() -> None:
        app = ChatApp(session(f"{SEAL} {MOTOR}\n\n```\nx = 1\n```", knowledge=FakeIndex(MANUAL)), keymap=chosen)
        async with app.run_test(size=(120, 60), notifications=True) as pilot:
            await ready(app, pilot)
            assert "^S send" in rows(app)[-1]
            assert "F10 quit" in rows(app)[-1]
            await pilot.press(*"how", "enter")
            assert app.query_one(Prompt).text == "how"
            assert not app.query(AnswerView)
            await pilot.press("ctrl+s")
            await answered(app, pilot)
            await pilot.press("ctrl+g")
            assert app.clipboard == ""
            await pilot.press("f4")
            assert app.clipboard == "x = 1"
            await pilot.press("f6")
            await until(pilot, lambda: "x previous, next" in rows(app)[-1].replace("← ", ""))
            await pilot.press("x")
            assert marked(app) != SEAL
            await pilot.press("f6", *"/keys", "ctrl+s")
            await until(pilot, lambda: 'code = "f4"' in screen_text(app))
            await pilot.press(*"/help", "ctrl+s")
            await until(pilot, lambda: "F10" in "\n".join(rows(app)[:-1]))
            await pilot.press("ctrl+q")
            assert app.is_running
            await pilot.press("f10")
            await until(pilot, lambda: not app.is_running)
        assert app.worker.join(20)

    asyncio.run(main())


def test_a_key_that_a_person_took_from_a_default_does_only_what_the_person_chose() -> None:
    chosen = keys.keymap({"copy": "pageup", "code": "ctrl+o"})

    async def main() -> None:
        app = ChatApp(session("One.\n\n```\nx = 1\n```", knowledge=FakeIndex(MANUAL)), keymap=chosen)
        async with app.run_test(size=(120, 60)) as pilot:
            await ready(app, pilot)
            assert "sources" not in rows(app)[-1]
            await send(pilot, "how?")
            await answered(app, pilot)
            await pilot.press("ctrl+o")
            await until(pilot, lambda: app.clipboard == "x = 1")
            assert not app.sources.passage.has_focus
            await pilot.press("pageup")
            await until(pilot, lambda: app.clipboard.startswith("One."))
        assert app.worker.join(20)

    asyncio.run(main())


def paste(app: ChatApp, text: str) -> None:
    app.post_message(events.Paste(text))


def test_a_pasted_book_is_a_few_words_on_the_screen_and_whole_for_the_model() -> None:
    book = "one two three\n" * (1024 * 1024 // 14)
    engine = ScriptedEngine(["read"], context=1_000_000)

    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await pilot.press(*"Sum up: ")
        paste(app, book)
        await until(pilot, lambda: f"Sum up: [pasted {len(book):,} characters]" in screen_text(app))
        await pilot.press("enter")
        await answered(app, pilot)
        assert book.strip() in engine.prompts[-1]
        assert f"… {len(book.strip()) + 8:,} characters in all" in screen_text(app)
        await pilot.press("up")
        assert app.query_one(Prompt).text.startswith("[pasted ")

    drive(session(engine=engine), play)


def test_a_question_that_is_too_long_is_said_with_the_numbers() -> None:
    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        paste(app, "word " * 20_000)
        await until(pilot, lambda: "[pasted 100,000 characters]" in screen_text(app))
        await pilot.press("enter")
        await answered(app, pilot)
        shown = screen_text(app)
        assert "question needs 20," in shown
        assert "context holds 4,096" in shown
        await send(pilot, "and now?")
        await until(pilot, lambda: "Replace the shaft" in screen_text(app))

    drive(session(SEAL), play)


URDU = "پمپ کی مہر ہر چار ہزار گھنٹے کے بعد تبدیل کریں۔ دونوں والو بند کریں، پھر موٹر P-7 کو 45 واٹ پر چلائیں۔"
CHINESE = "每运行四千小时更换一次轴封。任何工作之前请关闭两个阀门,并检查压力表的读数是否正常。"
EMOJI = "Done ✅ 👍🏽 👩‍🔧 🇵🇰 ⚠️ naïve e\u0301 ﷽ ｆｕｌｌ"


@pytest.mark.parametrize("text", [URDU, CHINESE, EMOJI], ids=["urdu", "chinese", "emoji"])
@pytest.mark.parametrize("size", [(80, 24), (160, 50)], ids=["80x24", "160x50"])
def test_any_script_keeps_every_row_as_wide_as_the_screen(text: str, size: tuple[int, int]) -> None:
    manual = MANUAL.replace(VALVES_AND_MORE, f"{VALVES_AND_MORE} {text} {text} ")
    table = f"| {text[:20]} | b |\n|---|---|\n| {text[:30]} | {text[-20:]} |"
    reply = f"{text} {text}\n\n{table}\n\n```\n{text}\n```\n- {text}"

    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        paste(app, text)
        await until(pilot, lambda: app.query_one(Prompt).text == text)
        assert widths(app) == {size[0]}
        await pilot.press("enter")
        view = await answered(app, pilot)
        assert text in view.query_one(Markdown).source
        assert widths(app) == {size[0]}
        assert "^O sources" in rows(app)[-1]
        assert "tiny" in rows(app)[-2]
        await pilot.press("ctrl+o")
        await pilot.pause()
        assert widths(app) == {size[0]}
        assert "← p" not in rows(app)[-1]

    drive(session(reply, knowledge=FakeIndex(manual)), play, size=size)


VALVES_AND_MORE = "Close both valves before any work."


def test_a_turn_of_the_direction_is_shown_and_not_obeyed() -> None:
    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, "go")
        await answered(app, pilot)
        shown = "\n".join(rows(app))
        assert "invoice\ufffdcod.exe" in shown
        assert "\u202e" not in shown

    drive(session("invoice\u202ecod.exe"), play)


def test_the_terminal_is_resized_while_words_come() -> None:
    engine = ScriptedEngine(["**alpha** beta\n\n" * 300 + "omega"], delay=0.002)

    async def play(app: ChatApp, pilot: Any) -> None:
        await ready(app, pilot)
        await send(pilot, "go")
        await until(pilot, lambda: "alpha" in screen_text(app))
        for size in ((40, 10), (200, 60), (80, 24), (20, 6), (120, 40)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            assert widths(app) == {size[0]}
        view = await answered(app, pilot)
        source = view.query_one(Markdown).source
        assert source.count("alpha") == 300
        assert source.endswith("omega")
        await until(pilot, lambda: "omega" in screen_text(app))

    drive(session(open_model=lambda: Model(engine, name="tiny"), sampling=Sampling(max_tokens=100_000)), play)
