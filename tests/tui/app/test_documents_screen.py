"""The tree of documents and the screen around it, on a real index without an encoder of its own."""

from __future__ import annotations

import asyncio
import inspect
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from textual import events
from textual.app import App, ComposeResult
from textual.widgets import Input

from edge.errors import EncoderError
from edge_index import Index
from edge_index.records import Document, Failure
from edge_tui.app.app import ChatApp
from edge_tui.app.widgets.documents import DocumentTree
from edge_tui.rendering import document_tree
from edge_tui.session.events import Added, Error, Removed, Surveyed
from edge_tui.session.session import Session
from support.chat.fakes import MANUAL, FakeIndex, running_text, screen_text, send, session, until


class Letters:
    """Texts to vectors of their letters: enough to fill an index."""

    name = "letters"
    max_tokens = 128

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        return np.array([[text.count(letter) + 1.0 for letter in "abcdefgh"] for text in texts], dtype=np.float32)


def document(path: str, pages: int | None = None) -> Document:
    return Document(path, "0" * 64, 10, 10, 2, pages)


def outline(folders: list[document_tree.Folder], depth: int = 0) -> list[str]:
    out = []
    for folder in folders:
        out.append("  " * depth + folder.name)
        out += outline(folder.folders, depth + 1)
        out += ["  " * (depth + 1) + document_tree.line(each, {})[0] for each in folder.files]
    return out


def test_paths_become_a_tree_with_chains_of_folders_joined() -> None:
    paths = ["/a/b/d/e/z.md", "/a/b/c/y.md", "/a/b/c/x.md", "C:\\u\\me\\f.txt", "bare.md"]
    assert outline(document_tree.tree(map(document, paths))) == [
        "(no folder)",
        "  bare.md",
        "/a/b",
        "  c",
        "    x.md",
        "    y.md",
        "  d/e",
        "    z.md",
        "C:/u/me",
        "  f.txt",
    ]
    assert document_tree.tree([]) == []


def test_numbers_and_stale_marks() -> None:
    one, two = document("/a/x\x1b.md", 3), document("/a/y.md")
    assert document_tree.line(one, {"/a/x\x1b.md": "gone"}) == (
        "x\ufffd.md",
        "2 passages · 3 pages",
        "the file is gone",
    )
    assert document_tree.counts([one, two], {"/a/y.md": "changed"}) == "2 documents · 4 passages · 3 pages · 1 stale"
    assert document_tree.counts([], {}) == "0 documents · 0 passages"


def test_the_tree_in_an_app_of_its_own() -> None:
    class Host(App[None]):
        def compose(self) -> ComposeResult:
            yield DocumentTree()

    async def main() -> None:
        app = Host()
        async with app.run_test(size=(80, 24)) as pilot:
            shown = app.query_one(DocumentTree)
            shown.focus()
            shown.show(
                [document("/m/a [b].md"), document("/m/n/c.md")], {"/m/n/c.md": "changed"}, [Failure("/s", "no")]
            )
            await pilot.pause()
            text = screen_text(app)
            for part in ("/m  2 documents · 4 passages · 1 stale", "a [b].md  2 passages", "c.md", "changed since"):
                assert part in text
            assert "Could not be read the last time (1)" in text
            assert "/s: no" in text
            many = [document(f"/m/{n:05}.md") for n in range(10_000)]
            shown.show([*many, document("/k/x.md")], {})
            await pilot.pause()
            assert "m  10,000 documents" in screen_text(app)

    asyncio.run(main())


def test_a_folder_of_ten_thousand_is_cut_short_and_says_so() -> None:
    class Host(App[None]):
        def compose(self) -> ComposeResult:
            yield DocumentTree()

    async def main() -> None:
        app = Host()
        async with app.run_test(size=(80, 24)) as pilot:
            shown = app.query_one(DocumentTree)
            shown.focus()
            shown.show([document(f"/m/{n:05}.md") for n in range(10_000)], {})
            await pilot.pause()
            await until(pilot, lambda: "00001.md" in screen_text(app))
            await pilot.press("end")
            await until(pilot, lambda: "and 9,000 more" in screen_text(app))

    asyncio.run(main())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with documents and an index of them."""
    docs = tmp_path / "docs"
    (docs / "deep").mkdir(parents=True)
    (docs / "pump.md").write_text(MANUAL)
    (docs / "deep" / "fan.md").write_text(MANUAL.replace("pump", "fan"))
    (docs / "deep" / "old.md").write_text("An old text about valves.")
    with Index.open(tmp_path / "index", encoder=Letters()) as index:
        index.add([docs])
    return tmp_path


def drive(chat: Session, play: Callable[[ChatApp, Any], Awaitable[None]], size: tuple[int, int] = (100, 30)) -> None:
    async def main() -> None:
        app = ChatApp(chat)
        async with app.run_test(size=size, notifications=True) as pilot:
            await until(pilot, lambda: app.session.state == "ready")
            await play(app, pilot)
        assert app.worker.join(20)

    asyncio.run(main())


def on(folder: Path) -> Session:
    chat = session()
    chat._open_knowledge = lambda: Index.open(folder / "index", encoder=Letters())
    return chat


async def to_row(app: ChatApp, pilot: Any, name: str) -> None:
    """Move the cursor of the tree to the row that begins with a name."""
    tree = app.screen.query_one(DocumentTree)
    await pilot.press("home")
    for _ in range(tree.last_line + 1):
        if tree.cursor_node is not None and tree.cursor_node.label.plain.startswith(name):
            return
        await pilot.press("down")
    raise AssertionError(f"no row {name}\n{screen_text(app)}")


def test_the_screen_shows_what_is_stale(folder: Path) -> None:
    (folder / "docs/pump.md").write_text("Something else now.")
    (folder / "docs/deep/old.md").unlink()

    async def play(app: ChatApp, pilot: Any) -> None:
        await pilot.press("f2")
        await until(pilot, lambda: "2 stale" in screen_text(app))
        text = screen_text(app)
        assert "Documents  3 documents" in text
        assert "changed since it was read" in text
        assert "the file is gone" in text
        await to_row(app, pilot, "pump.md")
        await until(pilot, lambda: str(folder / "docs/pump.md") in screen_text(app))
        await pilot.press("s")
        await until(pilot, lambda: "1 updated" in screen_text(app) and "1 stale" in screen_text(app))
        assert "changed since" not in screen_text(app)
        await pilot.press("s")
        await until(pilot, lambda: "Nothing has changed. The file of 1 document is gone" in screen_text(app))
        await to_row(app, pilot, "old.md")
        await pilot.press("r")
        await until(pilot, lambda: "until d removes it" in screen_text(app))
        await pilot.press("escape")
        assert len(app.screen_stack) == 1
        assert "1 updated" in screen_text(app)

    drive(on(folder), play)


@pytest.mark.parametrize("size", [(80, 24), (160, 50)])
def test_removing_asks_first(folder: Path, size: tuple[int, int]) -> None:
    async def play(app: ChatApp, pilot: Any) -> None:
        await send(pilot, "/docs")
        await until(pilot, lambda: "fan.md" in screen_text(app))
        assert max(map(len, screen_text(app).splitlines())) <= size[0]
        await to_row(app, pilot, "fan.md")
        await pilot.press("d")
        assert "y yes · n no" in screen_text(app)
        await pilot.press("n", "y")
        assert len(app.session.documents) == 3
        await to_row(app, pilot, "deep")
        await pilot.press("d")
        assert "Take 2 documents out" in screen_text(app)
        await pilot.press("y")
        await until(pilot, lambda: "2 documents taken out" in screen_text(app))
        assert "fan.md" not in screen_text(app)
        await pilot.press("escape")
        await send(pilot, "/remove /nowhere")
        await until(pilot, lambda: "No document is called /nowhere" in screen_text(app))
        await pilot.press("escape")
        await send(pilot, f"/remove {folder / 'docs'}")
        await until(pilot, lambda: "out of the index?" in screen_text(app))
        await pilot.press("y")
        await until(pilot, lambda: "none yet" in screen_text(app))

    drive(on(folder), play, size)
    assert (folder / "docs/pump.md").exists()


def test_adding_on_the_screen_tells_what_failed(folder: Path) -> None:
    new = folder / "more"
    new.mkdir()
    (new / "new.md").write_text("A new text.")
    (new / "broken.pdf").write_bytes(b"%PDF-1.4 nothing")

    async def play(app: ChatApp, pilot: Any) -> None:
        await send(pilot, "/documents")
        await until(pilot, lambda: "fan.md" in screen_text(app))
        await pilot.press("a")
        app.screen.query_one(Input).value = str(new)
        await pilot.press("enter")
        await until(pilot, lambda: "new.md" in screen_text(app) and "Could not be read" in screen_text(app))
        assert "1 added, 1 not readable" in screen_text(app)
        assert "broken.pdf" in screen_text(app)
        await pilot.press("a", "escape")
        assert isinstance(app.focused, DocumentTree)
        app.screen.post_message(events.Paste(f"'{folder / 'docs/pump.md'}'"))
        await until(pilot, lambda: "Add " in screen_text(app) and "y yes" in screen_text(app))
        await pilot.press("y")
        await until(pilot, lambda: "1 unchanged" in screen_text(app))
        app.screen.post_message(events.Paste("'/gone/x.md'"))
        await until(pilot, lambda: "/gone/x.md does not exist" in screen_text(app))
        await to_row(app, pilot, "deep")
        await pilot.press("r")
        await until(pilot, lambda: "2 updated" in screen_text(app))

    drive(on(folder), play)


def test_progress_stands_on_the_screen_and_keys_stay_free() -> None:
    gate = threading.Event()
    books = FakeIndex(MANUAL, wait=gate)

    async def play(app: ChatApp, pilot: Any) -> None:
        await pilot.press("f2")
        await until(pilot, lambda: "pump-1.md" in screen_text(app))
        await pilot.press("a")
        app.screen.query_one(Input).value = "/x/a.md /x/b.md"
        await pilot.press("enter")
        await until(pilot, lambda: "0 of 2 read" in screen_text(app))
        assert "/x/a.md" in screen_text(app)
        await pilot.press("down", "escape")
        assert len(app.screen_stack) == 1
        gate.set()
        await until(pilot, lambda: "2 added" in screen_text(app))

    drive(session(knowledge=books), play)


def test_reread_by_name(folder: Path) -> None:
    (folder / "docs/pump.md").write_text("Something else now.")

    async def play(app: ChatApp, pilot: Any) -> None:
        await send(pilot, f"/reread {folder / 'docs/deep/fan.md'}")
        await until(pilot, lambda: "1 updated" in screen_text(app))
        await send(pilot, "/reread stale")
        await until(pilot, lambda: "Done: 1 updated" in screen_text(app))

    drive(on(folder), play)


def test_a_name_that_no_file_can_have_is_said(folder: Path) -> None:
    async def play(app: ChatApp, pilot: Any) -> None:
        await send(pilot, f"/add /{'x' * 300}")
        await until(pilot, lambda: "cannot be reached: File name too long" in " ".join(screen_text(app).split()))
        await send(pilot, "/add /nul\0l")
        await until(pilot, lambda: r"/nul\x00l" in screen_text(app))
        assert app.session.state == "ready"

    drive(on(folder), play, (160, 50))


def test_a_session_removes_and_looks_after_documents() -> None:
    books = FakeIndex(MANUAL, MANUAL)
    chat = session(knowledge=books)
    list(chat.open())
    books.outdated = {"/manuals/pump-1.md": "changed"}
    assert list(chat.survey()) == [Surveyed({"/manuals/pump-1.md": "changed"})]
    assert list(chat.remove(["/manuals/pump-2.md"])) == [Removed(1, ("/manuals/pump-2.md",))]
    assert [each.path for each in chat.documents] == ["/manuals/pump-1.md"]
    assert list(chat.remove(["/manuals"])) == [Removed(1, ("/manuals",))]
    assert chat._chat is not None
    assert chat._chat.knowledge is None


def test_an_index_that_could_not_be_opened_is_tried_again() -> None:
    tries: list[int] = []

    def open_knowledge() -> FakeIndex:
        tries.append(1)
        if len(tries) < 3:
            raise EncoderError("there is no text encoder; run: edge models pull starter")
        return FakeIndex(MANUAL)

    chat = session()
    chat._open_knowledge = open_knowledge
    for job in (chat.open(), chat.add(["/a.md"])):
        assert [str(each) for each in job] == [str(Error("there is no text encoder; run: edge models pull starter"))]
    assert isinstance(list(chat.add(["/a.md"]))[-1], Added)
    assert len(chat.documents) == 2


def test_whoever_else_writes_into_the_index_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(inspect.unwrap(Index.add).__kwdefaults__, "wait", 0.1)
    code = (
        "import sys; from pathlib import Path; from edge_index.storage.lock import WriterLock\n"
        f"with WriterLock(Path({str(folder / 'index')!r})).held(5): print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdin is not None
    assert holder.stdout.readline() == b"held\n"

    async def play(app: ChatApp, pilot: Any) -> None:
        await send(pilot, f"/add {folder / 'docs'}")
        await until(pilot, lambda: f"{holder.pid} on" in screen_text(app))
        assert "is done" in running_text(app)
        assert "Adding documents" not in screen_text(app)

    try:
        drive(on(folder), play)
    finally:
        holder.communicate()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0)

    async def play(app: ChatApp, pilot: Any) -> None:
        await send(pilot, f"/add {closed}")
        await until(pilot, lambda: "closed" in screen_text(app) and "ermission" in screen_text(app))

    try:
        drive(on(folder), play)
    finally:
        closed.chmod(0o700)
        shutil.rmtree(closed)
