"""What was written into a file of each format comes out of it, under its headings and on its page."""

from __future__ import annotations

import codecs
import io
import random
import zipfile
from pathlib import Path

import docx
import pytest
from docutils import nodes
from docutils.core import publish_doctree
from reportlab.lib.styles import ParagraphStyle, getSampleStyleSheet
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import PageBreak, Paragraph, SimpleDocTemplate

from documents.extracting import by_heading, read
from edge.errors import DocumentError
from edge_index.loaders import SUFFIXES, supported


def reason(name: str, content: str | bytes) -> str:
    with pytest.raises(DocumentError) as caught:
        read(name, content)
    message = str(caught.value)
    assert name in message
    assert "\n" not in message
    return message


def pdf(*pages: str, encrypt: str | None = None) -> bytes:
    file = io.BytesIO()
    canvas = Canvas(file, encrypt=encrypt)
    for page in pages:
        for number, line in enumerate(page.splitlines()):
            canvas.drawString(72, 760 - 16 * number, line)
        canvas.showPage()
    canvas.save()
    return file.getvalue()


def word(document: docx.document.Document) -> bytes:
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()


# Text and its encodings


GERMAN = "Die Straße über den Fluß ist schön – „größer“ als früher, sagten die Männer aus Österreich."


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (b"", "utf-8"),
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (b"", "cp1252"),
    ],
)
@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.rst", "a.csv", "a.py"])
def test_verbatim_formats_keep_every_character(name: str, mark: bytes, encoding: str) -> None:
    text = f"{GERMAN}\r\n\r\nTabs\tand blanks  stay.\n \rEnd\x0c\n"
    assert read(name, mark + text.encode(encoding)).text == text


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1252", "El niño comió piñas en España."),
        ("cp1251", "Это русский текст о городе Москва."),
        ("cp1250", "Příliš žluťoučký kůň úpěl ďábelské ódy."),
        ("shift_jis", "これは日本語の文章です。"),
        ("gb18030", "中文测试文件内容"),
        ("euc_kr", "안녕하세요 세계 여러분"),
    ],
)
def test_old_encodings_are_distinguished(encoding: str, text: str) -> None:
    assert read("a.txt", text.encode(encoding)).text == text


def test_a_declared_html_encoding_is_believed_unless_it_is_wrong() -> None:
    assert read("a.html", "<meta charset=windows-1251><p>да".encode("cp1251")).text == "да"
    assert read("a.html", "<meta charset=ascii><p>größer").text == "größer"
    assert read("a.html", "<meta charset=klingon><p>größer").text == "größer"


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.rst", "a.html", "a.csv", "a.py"])
@pytest.mark.parametrize(
    "data",
    [
        b"\x7fELF\x02\x01\x01" + bytes(range(256)) * 8,
        b"text with\x00a zero" + b", then more text" * 99,
        random.Random(1).randbytes(4000),
        codecs.BOM_UTF16_LE + b"\x00\xd8\x00",
        bytes(range(1, 128)) * 4,
    ],
    ids=["program", "zero", "noise", "broken utf-16", "controls"],
)
def test_a_binary_under_a_text_suffix(name: str, data: bytes) -> None:
    assert "not text" in reason(name, data)


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
@pytest.mark.parametrize("data", [b"", b" \r\n\t"])
def test_an_empty_file_of_any_format(suffix: str, data: bytes) -> None:
    assert "empty" in reason("a" + suffix, data)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.txt", codecs.BOM_UTF8),
        ("a.html", b"<html><head><title>Only a title</title><script>x()</script></head></html>"),
        ("a.docx", word(docx.Document())),
    ],
)
def test_a_file_without_any_text(name: str, data: bytes) -> None:
    assert "empty" in reason(name, data)


def test_suffixes() -> None:
    assert supported(Path("Notes.MD"))
    assert supported(Path("dir.d/paper.pdf"))
    assert not supported(Path("model.gguf"))
    assert not supported(Path("Makefile"))
    assert "model.gguf" in reason("model.gguf", b"GGUF")


# Markdown and reStructuredText


def test_markdown_headings_make_paths_and_code_makes_none() -> None:
    extracted = read(
        "a.md",
        "---\ntitle: No heading\n# nor this\n---\nBefore.\n\n# One *big* `thing`\nA.\n\n```sh\n# a comment\n```\n\n"
        "Two\n---\n    # indented code\n\n#### Four [link](http://x.org) ####\r\nB.\n\n# Five\n#hashtag\n",
    )
    assert by_heading(extracted) == [
        (None, "---\ntitle: No heading\n# nor this\n---\nBefore."),
        ("One big thing", "# One *big* `thing`\nA.\n\n```sh\n# a comment\n```"),
        ("One big thing > Two", "Two\n---\n    # indented code"),
        ("One big thing > Two > Four link", "#### Four [link](http://x.org) ####\r\nB."),
        ("Five", "# Five\n#hashtag"),
    ]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_markdown_positions_under_every_newline(newline: str) -> None:
    text = newline.join(["Line\u2028break and\x0cfeed", "", "# Head", "body", "", "## Sub", "more"])
    assert by_heading(read("a.md", text))[1:] == [
        ("Head", f"# Head{newline}body"),
        ("Head > Sub", f"## Sub{newline}more"),
    ]


RST = """\
Before.

=====
Title
=====

Text::

    Same name
    ---------

Same name
---------

.. include:: /etc/hostname
.. toctree::

   unknown

.. csv-table:: T
   :file: /etc/hostname

It *is* ``so``
~~~~~~~~~~~~~~

A\ttab.

Other
-----

End.
"""


def test_rst_titles_are_docutils_own() -> None:
    extracted = read("a.rst", RST)
    assert by_heading(extracted) == [
        (None, "Before."),
        ("Title", "=====\nTitle\n=====\n\nText::\n\n    Same name\n    ---------"),
        ("Title > Same name", RST[RST.index("\nSame name\n") : RST.index("It *is*")].strip()),
        ("Title > Same name > It is so", "It *is* ``so``\n~~~~~~~~~~~~~~\n\nA\ttab."),
        ("Title > Other", "Other\n-----\n\nEnd."),
    ]
    settings = {"report_level": 5, "file_insertion_enabled": False, "doctitle_xform": False}
    tree = publish_doctree(RST, settings_overrides=settings)
    titles = [title.astext() for title in tree.findall(nodes.title) if isinstance(title.parent, nodes.section)]
    assert [(s.heading or "").split(" > ")[-1] for s in extracted.sections[1:]] == titles


def test_rst_reads_no_other_file_and_says_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret.rst"
    secret.write_text("Secret\n======\n\nhidden")
    monkeypatch.delattr("docutils.io.FileInput.__init__")  # an included file would need it
    extracted = read("a.rst", f".. include:: {secret}\n\nBroken ``markup\n\nT\n=\n\n" + "x" * 20_000)
    assert [s.heading for s in extracted.sections] == [None, "T"]
    assert capfd.readouterr() == ("", "")


# HTML


def test_html_is_read_as_a_person_sees_it() -> None:
    extracted = read(
        "a.html",
        "<!doctype html><html><head><title>Site</title><style>p{}</style><body><nav><a>Menu</a></nav>"
        "<h1>Bread &amp; butter</h1><p>First\n  <b>bold</b>&nbsp;word.<br>Next line.<p>Second<!-- not this -->"
        "<h3>List</h3><ul><li>one<li><p>two</p></ul><pre>a\n  b</pre>"
        "<table><tr><th>K<th>V<tr><td><p>x</p><td><td>3</table>"
        "<script>bad()</script><div hidden>gone</div>tail &eacute;",
    )
    assert by_heading(extracted) == [
        ("Bread & butter", "Bread & butter\n\nFirst bold word.\nNext line.\n\nSecond"),
        ("Bread & butter > List", "List\n\n- one\n- two\n\na\n  b\n\nK | V\nx | | 3\n\ntail é"),
    ]


def test_html_without_a_first_heading_goes_by_its_title() -> None:
    extracted = read("a.htm", "<title>My  page</title><h2>Part</h2><p>Text.</p>")
    assert by_heading(extracted) == [("My page", "My page"), ("My page > Part", "Part\n\nText.")]


def test_html_nested_without_end_and_xhtml() -> None:
    assert read("a.html", "<div>" * 5000 + "deep" + "</div>" * 100).text == "deep"
    page = '<?xml version="1.0"?><!DOCTYPE html><html><body><p>fine</p><script/><p>too</p></body></html>'
    assert read("a.xhtml", page).text.startswith("fine")


# PDF


def test_pdf_pages_carry_their_numbers() -> None:
    extracted = read("a.pdf", pdf("The first page.", "", "The third page."))
    assert extracted.pages == 3
    assert [(s.page, extracted.text[s.start : s.end]) for s in extracted.sections] == [
        (1, "The first page."),
        (3, "The third page."),
    ]
    assert extracted.text == "The first page.\n\nThe third page."


def test_pdf_paragraphs_are_whole_again() -> None:
    styles = getSampleStyleSheet()
    body = ParagraphStyle("body", parent=styles["BodyText"], embeddedHyphenation=1)
    sentence = "Whoever reads extra\xadordi\xadnarily long sentences finds a line's end in them, more than once. "
    story = [
        Paragraph("A heading", styles["Heading1"]),
        Paragraph(sentence * 9 + "Short end.", body),
        Paragraph("Another " + sentence * 9, body),
        PageBreak(),
        Paragraph("Bye.", body),
    ]
    file = io.BytesIO()
    SimpleDocTemplate(file).build(story)
    text = read("a.pdf", file.getvalue()).text
    whole = sentence.replace("\xad", "")
    assert text == "\n\n".join(["A heading", whole * 9 + "Short end.", "Another " + (whole * 9).rstrip(), "Bye."])


def test_pdf_lists_keep_their_lines() -> None:
    text = read("a.pdf", pdf("Bring these along to the meeting of tomorrow\n• a pencil\n• some paper")).text
    assert text.splitlines() == ["Bring these along to the meeting of tomorrow", "• a pencil", "• some paper"]


def test_pdf_that_was_scanned_locked_or_broken() -> None:
    file = io.BytesIO()
    canvas = Canvas(file)
    canvas.rect(50, 50, 300, 300, fill=1)
    canvas.save()
    assert "ocrmypdf" in reason("scan.pdf", file.getvalue())
    assert "qpdf --decrypt" in reason("locked.pdf", pdf("text", encrypt="secret"))
    assert "damaged" in reason("cut.pdf", pdf("text")[:300])
    assert "damaged" in reason("page.pdf", b"<html>Not found</html>")


# DOCX


def test_docx_in_its_order() -> None:
    document = docx.Document()
    document.add_heading("Report", 0)
    document.add_paragraph("Intro.")
    document.add_heading("Results", 1)
    document.add_paragraph("one", style="List Bullet")
    document.add_paragraph("two", style="List Number")
    document.add_heading("Yield", 2)
    table = document.add_table(rows=2, cols=3)
    table.cell(0, 0).merge(table.cell(0, 1)).text = "both"
    table.cell(0, 2).text = "c"
    for column, text in enumerate("123"):
        table.cell(1, column).text = text
    table.cell(1, 2).add_table(rows=1, cols=1).cell(0, 0).text = "inner"
    document.add_paragraph("End.")
    assert by_heading(read("a.docx", word(document))) == [
        ("Report", "Report\n\nIntro."),
        ("Report > Results", "Results\n\n- one\n- two"),
        ("Report > Results > Yield", "Yield\n\nboth | c\n1 | 2 | 3 inner\n\nEnd."),
    ]


def repacked(data: bytes, name: str, content: bytes | None) -> bytes:
    """The archive with one of its files replaced, or left out."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        for item in old.infolist():
            part = content if item.filename == name else old.read(item)
            if part is not None:
                new.writestr(item.filename, part)
    return file.getvalue()


def test_docx_that_is_none() -> None:
    document = docx.Document()
    document.add_paragraph("text")
    good = word(document)
    assert read("a.docx", good).text == "text"
    for data in (
        b"PK\x03\x04 not really",
        b"plain text",
        good[: len(good) // 2],
        repacked(good, "[Content_Types].xml", None),
        repacked(good, "word/document.xml", None),
        repacked(good, "word/document.xml", b"<w:document"),
    ):
        assert "damaged" in reason("a.docx", data)
    assert "password" in reason("a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512))


def test_an_error_that_no_parser_documents() -> None:
    """zipfile says RuntimeError of an archive under a password."""
    document = docx.Document()
    document.add_paragraph("text")
    locked = word(document)
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        parts = locked.split(header)
        locked = header.join([parts[0], *(p[: flags - 4] + b"\x01" + p[flags - 3 :] for p in parts[1:])])
    assert "password" in reason("a.docx", locked)


def test_docx_that_is_a_bomb() -> None:
    bomb = repacked(word(docx.Document()), "word/document.xml", b" " * (101 * 2**20))
    assert len(bomb) < 2**20
    assert "unpacks" in reason("a.docx", bomb)


def test_damage_anywhere_is_a_document_error() -> None:
    """Whatever a parser raises for broken bytes, one file must not end the reading of a folder."""
    document = docx.Document()
    document.add_heading("Head", 1)
    document.add_paragraph("Some text.")
    chance = random.Random(7)
    for name, good in (("a.docx", word(document)), ("a.pdf", pdf("Some text.", "More."))):
        reasons = []
        for _ in range(40):
            data = bytearray(good)
            for _ in range(12):
                data[chance.randrange(len(data))] = chance.randrange(256)
            try:
                read(name, bytes(data))
            except DocumentError as error:
                reasons.append(str(error))
        assert reasons
        assert all(name in reason for reason in reasons)


# Code and tables

PYTHON = '''\
"""Module."""
import re

PATTERN = "\\d"


# What foo is for.
@decorated(
    1)
def foo():
    def inner(): ...

TABLE = {}

class Bar:
    """Doc."""

    size = 1
    @property
    def one(self): ...

    # About two.
    async def two(self): ...

    last = 2
class Baz:
    @property
    def x(self): ...

if True:
    def hidden(): ...
'''


def test_python_definitions_take_their_comments_along() -> None:
    extracted = read("a.py", PYTHON)
    assert extracted.text == PYTHON
    assert extracted.by_line
    assert by_heading(extracted) == [
        (None, '"""Module."""\nimport re\n\nPATTERN = "\\d"'),
        ("foo", "# What foo is for.\n@decorated(\n    1)\ndef foo():\n    def inner(): ..."),
        (None, "TABLE = {}"),
        ("Bar", 'class Bar:\n    """Doc."""\n\n    size = 1'),
        ("Bar.one", "@property\n    def one(self): ..."),
        ("Bar.two", "# About two.\n    async def two(self): ..."),
        ("Bar", "last = 2"),
        ("Baz.x", "class Baz:\n    @property\n    def x(self): ..."),
        (None, "if True:\n    def hidden(): ..."),
    ]


@pytest.mark.parametrize("text", ["def (:\n", "(" * 5000, "print 'two'\n", "x = 1\r\ndef f():\r\n  pass"])
def test_python_of_any_kind_is_read(text: str) -> None:
    assert read("a.py", text).text == text


@pytest.mark.parametrize(
    ("name", "text", "heading"),
    [
        ("a.csv", 'name,"the, yield"\n"A ""x""",3.5\n"two\nlines",4\n', "name, the, yield"),
        ("a.csv", "name;yield;town\nA;3,5;Bonn\nB;4,5;Köln\n", "name, yield, town"),
        ("a.tsv", "a\tb\n1\t2\n3\t4\n", "a, b"),
        ("a.csv", "1,2,3\n4,5,6\n", None),
        ("a.csv", "just prose\n", None),
        ("a.csv", "prose, with a comma\nand without, or, with more\nand none\n", None),
        ("a.csv", 'name,"th' + '"' * 2001 + 'e, yield"\n"A ""x""",3.5\n"two\nlines",4\n', None),
        ("a.jsonl", '{"a": 1}\n{"a": "ü"}\n', None),
        ("a.json", '{"a": [1, 2]}', "a"),
    ],
)
def test_tables_are_verbatim_under_their_column_names(name: str, text: str, heading: str | None) -> None:
    extracted = read(name, text)
    assert extracted.text == text
    assert extracted.by_line
    assert [section.heading for section in extracted.sections] == [heading]
