"""`edge chat --plain`: lines in, lines out; driven through pipes and through a real pseudo-terminal."""

from __future__ import annotations

import io
import json
import os
import re
import select
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edge.engines.scripted import ScriptedEngine
from edge.errors import EncoderError, ModelError
from edge.model import Model
from edge.types import Sampling
from edge_tui.plain.chat import PlainChat
from edge_tui.session.chat_history import ChatHistory
from edge_tui.session.events import Idle, Loaded
from support.chat.fakes import MANUAL, MOTOR, SEAL, FakeIndex, large, session, talk

ROOT = Path(__file__).resolve().parents[3]
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
"""What moves a cursor or colours; the carriage return that a terminal adds to a new line is no such thing."""


def test_evidence_answer_checks_and_sources_in_this_order() -> None:
    status, out, err = talk("how often?", reply=f"{SEAL} {MOTOR}\n\nKeep a spare.", knowledge=FakeIndex(MANUAL))
    assert status == 0
    wanted = [
        "Nearest in your documents:",
        f"[1] {SEAL}",
        "    /manuals/pump-1.md, page 12, characters ",
        "Answer:",
        f"{SEAL} {MOTOR}\n\nKeep a spare.",
        f"[1] {SEAL}",
        f"[3] {MOTOR}",
        "Not in the documents: Keep a spare.",
        "Sources:",
        "[1] /manuals/pump-1.md, page 12, characters ",
        f"[3] {MOTOR}",
        "    /manuals/pump-1.md, page 12, characters ",
    ]
    at = 0
    for part in wanted:
        found = out.find(part, at)
        assert found >= 0, f"{part!r} does not follow in\n{out}"
        at = found + len(part)
    assert "Loading the model." in err
    assert "The model tiny is ready." in err
    assert "The model reads" in err
    assert "You:" not in err
    assert not CONTROL.search((out + err).replace("\n", ""))


def test_words_are_written_by_whole_sentences() -> None:
    class Pieces(io.StringIO):
        def __init__(self) -> None:
            super().__init__()
            self.pieces: list[str] = []

        def write(self, text: str) -> int:
            self.pieces.append(text)
            return super().write(text)

    out = Pieces()
    chat = session("One two three. Four five!\n\nSix", engine=ScriptedEngine(["One two three. Four five!\n\nSix"]))
    assert PlainChat(chat, io.StringIO("go\n"), out, io.StringIO(), invite=False).loop() == 0
    assert out.getvalue() == "Answer:\nOne two three. Four five!\n\nSix\n\n"
    assert all(re.fullmatch(r"|Answer:\n|.*[.!]\s+|Six\n\n", piece, re.DOTALL) for piece in out.pieces)


def test_commands(tmp_path: Path) -> None:
    books = FakeIndex(MANUAL)
    books.outdated = {"/manuals/pump-1.md": "changed"}
    status, out, err = talk(
        "/help",
        "/add /a.md /scan.pdf",
        "/documents",
        "/reread stale",
        "/remove /a.md",
        "/docs",
        "how often?",
        "/sources 1",
        "/sources 9",
        "/new",
        "/sources",
        "/adapter",
        "/copy",
        "/nonsense",
        "/remove",
        "/add",
        " /new is what?",
        "/quit",
        "never asked",
        knowledge=books,
    )
    assert "/add PATH…: add files or folders" in out
    assert "/copy" not in out
    assert "Reading 1 of 2: /a.md" in err
    assert "Documents: 1 added" in err
    assert "Error: not indexed: /scan.pdf: has pages but no text" in err
    assert "/manuals/pump-1.md: 1 passage, changed since it was read" in out
    assert "Reading 1 of 1: /manuals/pump-1.md" in err
    assert "1 documents removed" in err
    assert out.count("/a.md: ") == 1
    assert f"Close both valves before any work. {SEAL}" in out
    assert "The last answer has 2 sources." in out
    assert "There are no sources yet." in out
    assert "off, in use" in out
    assert "Error: /copy needs the app" in err
    assert "Error: There is no /nonsense" in err
    assert err.count("Error: Which") == 2
    assert out.count("Answer:") == 2
    assert status == 1


def test_a_model_that_is_not_there_is_said_and_documents_answer() -> None:
    def broken() -> Model:
        raise ModelError("there is no model yet; run: edge models pull starter")

    status, out, err = talk("how often?", open_model=broken, knowledge=FakeIndex(MANUAL))
    assert status == 1
    assert "Error: there is no model yet; run: edge models pull starter" in err
    assert SEAL in out
    assert "these are the documents' own words" in err
    status, _, err = talk("how often?", open_model=broken, invite=True)
    assert status == 0
    assert err.count("edge models pull starter") == 2


def test_escape_sequences_do_not_reach_the_terminal() -> None:
    _, out, err = talk("go \x1b[31m", reply="A \x1b]0;owned\x07 word.\n")
    assert "A \ufffd]0;owned\ufffd word." in out
    assert not CONTROL.search((out + err).replace("\n", ""))


def test_chats_and_turns_in_lines(tmp_path: Path) -> None:
    """What the app keeps and steers is there for those who hear it, too."""
    file = tmp_path / "chats.sqlite"

    def again(*lines: str, replies: tuple[str, ...] = ("One.",)) -> tuple[int, str, str]:
        return talk(*lines, engine=ScriptedEngine(list(replies)), history=ChatHistory(file))

    status, out, err = again(
        "/edit",
        "/fork",
        "/correct better",
        "first?",
        "second?",
        "/good 1",
        "/bad 7",
        "/correct Two, rather.",
        "/edit 2 another?",
        "/retry",
        "/undo",
        "/rename Pumps",
        f"/export {tmp_path / 'chat.json'}",
        replies=("One.", "Two.", "Three.", "Four."),
    )
    assert status == 1
    assert err.count("There is no question in this chat yet.") == 2
    assert "There is no answer in this chat yet." in err
    assert "Answer 1 is marked good" in err
    assert "Error: This chat has the questions 1 to 2." in err
    assert "Answer 2 should have been: Two, rather." in err
    assert "What was replaced is back." in err
    kept = json.loads((tmp_path / "chat.json").read_text())[0]
    assert [message["text"] for message in kept["messages"]] == ["first?", "One.", "another?", "Three."]
    assert kept["messages"][1]["mark"] == "good"

    _, out, err = again("new?", "/chats", "/search three", "/continue 1", "/fork 1", "/delete", "/undo", "/continue x")
    assert "1: Pumps, " in out
    assert "2 questions" in out
    assert "model: " in out
    assert "Three" in out
    assert "The last question: another?\nAnswer:\nThree." in out
    assert "This is a new chat from here on" in err
    assert "“Pumps (fork)” is deleted" in err
    assert out.count("The last question: first?\nAnswer:\nOne.") == 2
    assert "Error: /continue takes the number of a chat" in err


def test_settings_in_lines() -> None:
    status, out, err = talk(
        "/system Speak like a pirate.",
        "/system",
        "/sampling temperature=0.5",
        "/sampling warmth=1",
        "/index nowhere",
        "/model nothing-of-that-name",
        "how often?",
        "/context",
        "/code",
        "/compare docs|nodocs how often?",
        "/compare nonsense|base how?",
        "/index off",
        "/compare",
        knowledge=FakeIndex(MANUAL),
        reply=f"{SEAL}\n\n```\nopen(valve)\n```\n",
        sampling=Sampling(max_tokens=64),
    )
    assert status == 1
    assert "The model is told this first: Speak like a pirate." in out
    assert "temperature=0.5: 0: always the likeliest token" in out
    assert "Error: Nothing was changed: there is no warmth to set" in err
    assert "Error: there is no index" in err
    assert "nothing-of-that-name" in err
    assert "tiny goes on answering." in err
    assert re.search(r"^Context: [\d,]+ tokens\.$", out, re.MULTILINE)
    assert "\npassages: " in out
    assert "\nopen(valve)\n" in out
    first, second = out.index("Answer, with documents:"), out.index("Answer, without documents:")
    assert first < second
    assert "Error: nonsense is no side to compare" in err
    assert "The model answers without documents from now on" in err
    assert "There is nothing to compare with" in err


CHILD = """
import sys
from edge_tui.plain.chat import PlainChat
from edge.engines.scripted import ScriptedEngine
from edge.types import Sampling
from support.chat.fakes import session
engine = ScriptedEngine(["alpha. " * 100_000, "second."], delay=0.002)
chat = session(engine=engine, sampling=Sampling(max_tokens=1_000_000))
sys.exit(PlainChat(chat, sys.stdin, sys.stdout, sys.stderr, invite=sys.stdin.isatty()).loop())
"""


class Terminal:
    """A child process on a pseudo-terminal, and everything it wrote."""

    def __init__(self, *command: str, **environment: str) -> None:
        import pty

        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.execve(sys.executable, [sys.executable, *command], {**os.environ, **environment})
        self.text = ""

    def until(self, words: str, after: int = 0) -> None:
        while words not in self.text[after:]:
            assert select.select([self._fd], [], [], 60)[0], f"{words!r} never came:\n{self.text}"
            try:
                self.text += os.read(self._fd, 65536).decode("utf-8", "replace")
            except OSError:
                raise AssertionError(f"it ended before {words!r}:\n{self.text}") from None

    def send(self, text: str) -> int:
        """The length of what was there before."""
        before = len(self.text)
        os.write(self._fd, text.encode())
        return before

    def end(self) -> int:
        """The rest of what it writes, and its exit status."""
        while True:
            try:
                piece = os.read(self._fd, 65536)
            except OSError:
                break
            if not piece:
                break
            self.text += piece.decode("utf-8", "replace")
        os.close(self._fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


pseudo_terminal = pytest.mark.skipif(os.name == "nt", reason="Windows has no pty")


@pseudo_terminal
def test_ctrl_c_stops_an_answer_and_ctrl_d_leaves() -> None:
    term = Terminal("-c", CHILD, PYTHONPATH=os.pathsep.join([str(ROOT / "tests"), *sys.path]))
    term.until("You: ")
    term.send("go\n")
    term.until("alpha. alpha.")
    before = term.send("\x03")
    term.until("Stopped", before)
    term.until("You: ", before)
    before = term.send("\x03")
    term.until("Ctrl+D leaves.", before)
    before = term.send("again\n")
    term.until("second.", before)
    term.until("You: ", before)
    term.send("\x04")
    assert term.end() == 0
    assert term.text.count("alpha") < 100_000
    assert not CONTROL.search(term.text.replace("\r\n", "\n").replace("\n", ""))


@pseudo_terminal
def test_a_second_ctrl_c_leaves_where_stopping_takes_long() -> None:
    hanging = """
import time
from edge_tui.session.events import Words
def ask(question, **_):
    yield Words("Busy. ")
    time.sleep(600)
chat.ask = ask
"""
    code = CHILD.replace("sys.exit(", f"{hanging}sys.exit(")
    term = Terminal("-c", code, PYTHONPATH=os.pathsep.join([str(ROOT / "tests"), *sys.path]))
    term.until("You: ")
    term.send("go\n")
    term.until("Busy.")
    before = term.send("\x03")
    term.until("once more leaves", before)
    term.send("\x03")
    assert term.end() != 0


def edge(home: Path, *arguments: str, lines: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edge_tui.cli.main", *arguments],
        input=lines,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
        env={**os.environ, "EDGE_HOME": str(home)},
    )


def test_a_script_drives_the_real_model_through_pipes(starter_home: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "models").symlink_to(starter_home / "models")
    manual = tmp_path / "pump.md"
    manual.write_text(MANUAL)
    done = edge(
        home, "chat", "--plain", "--max-tokens", "24", lines=f"/add {manual}\nHow often is the seal replaced?\n/docs\n"
    )
    assert done.returncode == 0, done.stderr
    assert "Documents: 1 added" in done.stderr
    assert f"[1] {SEAL}" in done.stdout
    assert "Answer:" in done.stdout
    assert f"{manual}, characters " in done.stdout or "pump.md, characters " in done.stdout
    assert f"{manual}: " in done.stdout
    assert "is ready." in done.stderr
    assert not CONTROL.search((done.stdout + done.stderr).replace("\n", ""))
    again = edge(home, "chat", "--plain", lines="/docs")
    assert f"{manual}: " in again.stdout


def test_without_models_a_script_gets_a_reason_and_exit_code_1(tmp_path: Path) -> None:
    done = edge(tmp_path / "home", "chat", "--plain", lines="hello\n")
    assert done.returncode == 1
    assert "edge models pull starter" in done.stderr
    assert done.stdout == ""


def test_documents_that_cannot_be_opened_are_not_called_none(tmp_path: Path) -> None:
    def closed() -> FakeIndex:
        raise EncoderError("there is no text encoder; run: edge models pull starter")

    out, err = io.StringIO(), io.StringIO()
    chat = session()
    chat._open_knowledge = closed
    assert PlainChat(chat, io.StringIO("/docs\n/reread\n"), out, err, invite=False).loop() == 1
    assert out.getvalue() == ""
    assert err.getvalue().count("no text encoder") == 3


def test_the_first_steps_are_said_in_lines(edge_home: Path) -> None:
    _, out, _ = talk("/welcome")
    assert "No model is here yet; run: edge models pull starter" in out
    assert "edge opens no network connection" in out


def test_going_on_to_further_passages_is_said() -> None:
    engine = large("The passage does not tell.", SEAL)
    status, out, err = talk("how often?", knowledge=FakeIndex(MANUAL, MANUAL), engine=engine)
    assert status == 0
    assert "What was read does not tell; reading one more passage." in err
    assert "does not tell" not in out


def test_a_model_that_comes_right_behind_a_job_does_not_hold_up_the_chat() -> None:
    chat = PlainChat(session(), io.StringIO(), io.StringIO(), io.StringIO(), invite=False)
    chat.worker.submit = lambda _job: chat.worker.events.extend([Idle(), Loaded()])  # type: ignore[method-assign]
    done = threading.Thread(target=chat.run, args=(iter(()),), daemon=True)
    done.start()
    done.join(20)
    assert not done.is_alive()
