"""Office files, books, mail, notebooks, LaTeX and code: what their own programs show comes out, with its place."""

from __future__ import annotations

import io
import json
import mailbox
import zipfile
from email.message import EmailMessage
from pathlib import Path

import docx
import openpyxl
import pytest
import xlsxwriter
from docx.oxml import OxmlElement, parse_xml
from docx.oxml.ns import nsdecls, qn
from openpyxl.utils import range_boundaries
from reportlab.pdfgen.canvas import Canvas

from documents import seeds
from documents.extracting import by_heading, read
from documents.seeds import SEEDS, WORDS
from edge.errors import DocumentError
from edge_index.loaders import FORMATS_FOR_PEOPLE, SUFFIXES, load
from edge_index.loaders.isolation.parent import Limits, Reader


def reason(name: str, data: bytes) -> str:
    with pytest.raises(DocumentError, match=name) as caught:
        load(Path(name), data)
    return str(caught.value)


def test_every_suffix_has_a_loader_and_every_format_a_name() -> None:
    import importlib

    for module in set(SUFFIXES.values()):
        assert callable(importlib.import_module(f"edge_index.loaders.{module}").load)
    for name in ("PDF", "DOCX", "PPTX", "XLSX", "EPUB", "LaTeX", "e-mail", "notebooks"):
        assert name in FORMATS_FOR_PEOPLE


# PDF


def lines_of(side: str) -> list[str]:
    return [
        f"{'the' if number or side == 'right' else 'The'} {side} line {number} goes on with several words"
        for number in range(12)
    ]


def columns(canvas: Canvas) -> None:
    """Both columns line by line, as many programs draw them."""
    canvas.drawString(72, 740, "A title that stands across both of the columns, from the left to the right")
    for row, (left, right) in enumerate(zip(lines_of("left"), lines_of("right"), strict=True)):
        canvas.drawString(72, 700 - 14 * row, left)
        canvas.drawString(320, 700 - 14 * row, right)
    canvas.drawString(72, 500, "A last line that stands across both of the columns, from the left to the right")


def turned(quarter_turns: int) -> bytes:
    def page(canvas: Canvas) -> None:
        canvas.setPageRotation(90 * quarter_turns)
        canvas.translate(*[(0, 0), (595, 0), (595, 842), (0, 842)][quarter_turns])
        canvas.rotate(90 * quarter_turns)
        canvas.scale(0.7, 0.7)
        columns(canvas)

    return seeds.drawn(page)


@pytest.mark.parametrize("quarter_turns", [0, 1, 2, 3])
def test_columns_are_read_one_after_the_other_however_the_page_is_turned(quarter_turns: int) -> None:
    text = read("a.pdf", turned(quarter_turns)).text
    wanted = " ".join(lines_of("left") + lines_of("right"))
    title, body, last = text.split("\n\n")
    assert (title.split()[1], body, last.split()[1]) == ("title", wanted, "last")


def test_a_word_broken_at_the_end_of_a_column_is_whole_again() -> None:
    left = ["some words of a column, none of which is long"] * 7 + ["some words to fill the line, and two exam-"]
    right = ["ples to fill the next, and then some more"] + ["some words of a column, none of which is long"] * 7

    def page(canvas: Canvas) -> None:
        for row in range(8):
            canvas.drawString(72, 700 - 14 * row, left[row])
            canvas.drawString(330, 700 - 14 * row, right[row])

    assert "and two examples to fill" in read("a.pdf", seeds.drawn(page)).text


def test_a_table_stays_a_table() -> None:
    def page(canvas: Canvas) -> None:
        for row in range(12):
            for column in range(3):
                remark = "_and_a_remark" if row == 3 else ""
                canvas.drawString(72 + 190 * column, 700 - 14 * row, f"cell{row}.{column}{remark}")

    words = read("a.pdf", seeds.drawn(page)).text.split()
    assert [word.removesuffix("_and_a_remark") for word in words] == [
        f"cell{row}.{column}" for row in range(12) for column in range(3)
    ]


def test_scanned_pages_among_others_are_named() -> None:
    def text(canvas: Canvas) -> None:
        canvas.drawString(72, 700, WORDS)

    def picture(canvas: Canvas) -> None:
        canvas.rect(50, 50, 300, 300, fill=1)

    extracted = read("a.pdf", seeds.drawn(text, picture, text, picture, picture))
    assert extracted.notes == ("pages 2, 4-5 hold no text (scanned?)",)
    assert [section.page for section in extracted.sections] == [1, 3]
    assert read("a.pdf", seeds.drawn(text)).notes == ()


# Word


def test_docx_loses_nothing_that_a_reader_sees() -> None:
    document = docx.Document()
    paragraph = document.add_paragraph("Seen")
    for tag, text in (("w:ins", " inserted"), ("w:del", None), ("w:moveFrom", " moved away")):
        change = OxmlElement(tag)
        run = OxmlElement("w:r")
        piece = OxmlElement("w:t" if text else "w:delText")
        piece.text = text or " deleted"
        run.append(piece)
        change.append(run)
        paragraph._p.append(change)
    control = parse_xml(
        f"<w:sdt {nsdecls('w')}><w:sdtContent><w:p><w:r><w:t>In a control</w:t></w:r></w:p></w:sdtContent></w:sdt>"
    )
    document.element.body.insert(0, control)
    box = parse_xml(
        f"<w:r {nsdecls('w')} xmlns:mc='http://schemas.openxmlformats.org/markup-compatibility/2006'>"
        "<mc:AlternateContent><mc:FileFilter Requires='wps'><w:txbxContent><w:p><w:r><w:t>In a box</w:t></w:r></w:p>"
        "</w:txbxContent></mc:FileFilter><mc:Fallback><w:txbxContent><w:p><w:r><w:t>In a box</w:t></w:r></w:p>"
        "</w:txbxContent></mc:Fallback></mc:AlternateContent></w:r>"
    )
    paragraph._p.append(box)
    paragraph.paragraph_format.tab_stops.add_tab_stop(100)
    assert read("a.docx", seeds.saved(document.save)).text == "In a control\n\nSeen inserted\n\nIn a box"


def test_docx_footnotes_stand_behind_the_text() -> None:
    document = docx.Document()
    paragraph = document.add_paragraph("Claim")
    reference = OxmlElement("w:footnoteReference")
    reference.set(qn("w:id"), "2")
    paragraph.add_run()._r.append(reference)
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/footnotes"
    notes = (
        f"<w:footnotes {nsdecls('w')}><w:footnote w:type='separator' w:id='0'><w:p><w:r><w:t>no</w:t></w:r></w:p>"
        "</w:footnote><w:footnote w:id='2'><w:p><w:r><w:t>Proof.</w:t></w:r></w:p></w:footnote></w:footnotes>"
    )
    from docx.opc.packuri import PackURI
    from docx.opc.part import Part

    part = Part(PackURI("/word/footnotes.xml"), "application/xml", notes.encode(), document.part.package)
    document.part.relate_to(part, kind)
    assert read("a.docx", seeds.saved(document.save)).text == "Claim[2]\n\n[2] Proof."


# Slides and sheets


def test_slides_are_pages_under_their_titles() -> None:
    extracted = read("a.pptx", seeds.slides())
    assert extracted.pages == 3
    assert extracted.notes == ("slide 2 holds no text (pictures?)",)
    assert [(s.page, s.heading, extracted.text[s.start : s.end]) for s in extracted.sections] == [
        (1, "Harvest", "Harvest\n\nRye first\n  - in July\n\nNotes: Do not forget the weather."),
        (3, "Numbers", "Numbers\n\nIn a group\n\nCrop | Tons\nRye | 7\n\n2026 | Rye: 7.5 | Barley: 3"),
    ]


def test_rows_carry_their_column_names_and_their_cells() -> None:
    extracted = read("a.xlsx", seeds.workbook())
    assert extracted.by_line
    assert by_heading(extracted) == [
        (
            "Prices!A1:C3",
            "Product | Price | Share\nProduct: bread | Price: 3.5 | Share: 25%\nProduct: cake | Price: 12",
        ),
        ("'My list'!B3", "only this"),
    ]


def test_every_cell_is_in_the_range_that_its_row_says() -> None:
    """Written by XlsxWriter; the ranges are taken at their word and looked up with openpyxl."""
    file = io.BytesIO()
    book = xlsxwriter.Workbook(file)
    sheet = book.add_worksheet("Data")
    for row in range(300):
        if row % 50 == 30:
            continue
        for column in range(5):
            sheet.write(row, 2 + column, f"Name {column}" if row == 0 else row * 7 + column)
    book.close()
    extracted = read("a.xlsx", file.getvalue())
    cells = openpyxl.load_workbook(io.BytesIO(file.getvalue()))["Data"]
    seen = 0
    for section in extracted.sections:
        left, top, right, bottom = range_boundaries((section.heading or "").removeprefix("Data!"))
        rows = extracted.text[section.start : section.end].splitlines()
        assert len(rows) == bottom - top + 1
        for number, row in enumerate(rows, top):
            values = [str(cells.cell(number, column).value) for column in range(left, right + 1)]
            assert [part.rpartition(": ")[2] for part in row.split(" | ")] == values
            seen += len(values)
    assert seen == 294 * 5


def test_a_table_below_a_title_and_another_behind_a_gap_have_their_own_names() -> None:
    book = openpyxl.Workbook()
    rows = [["Report"], ["Crop", "Tons"], ["Rye", 7], [], ["Field", "Size"], ["North", "2 ha"], ["South", True]]
    for row in rows:
        book.active.append(row)
    assert by_heading(read("a.xlsx", seeds.saved(book.save))) == [
        ("Sheet!A1", "Report"),
        ("Sheet!A2:B3", "Crop | Tons\nCrop: Rye | Tons: 7"),
        ("Sheet!A5:B7", "Field | Size\nField: North | Size: 2 ha\nField: South | Size: TRUE"),
    ]


@pytest.mark.parametrize("name", ["a.pptx", "a.xlsx", "a.epub"])
def test_an_archive_that_is_none_of_its_kind(name: str) -> None:
    good = SEEDS[name[1:]]()
    for data in (b"PK\x03\x04 not really", b"plain text", good[: len(good) // 2], seeds.zipped({"a.txt": "b"})):
        assert "damaged" in reason(name, data)
    if name != "a.epub":
        assert "password" in reason(name, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512))


# Books, mail, notebooks


def test_a_book_is_read_in_the_order_of_its_spine() -> None:
    assert by_heading(read("a.epub", seeds.book())) == [
        ("Sowing time", "One."),
        ("Second", "Second\n\nTwo."),
        ("Second > Part", "Part\n\nThree."),
        ("Last", "Last\n\nFour."),
    ]


def test_a_protected_book_is_named_as_such() -> None:
    protected = '<encryption><CipherReference URI="OPS/text/a%20x.xhtml"/></encryption>'
    assert "DRM" in reason("a.epub", seeds.book(**{"META-INF/encryption.xml": protected}))
    font = protected.replace("text/a%20x.xhtml", "font.otf")
    assert "One." in read("a.epub", seeds.book(**{"META-INF/encryption.xml": font})).text


HEAD = (
    "Subject: Grüße vom Hof\nFrom: Änne Ott <aenne@example.org>\nTo: ben@example.org\n"
    "Date: Mon, 06 Jul 2026 10:00:00 +0200"
)


def test_a_message_has_its_people_its_text_once_and_its_attachments() -> None:
    extracted = read("a.eml", seeds.message().as_bytes())
    assert extracted.text == (f"{HEAD}\n\nPlain text: {WORDS}\n\nAttachments: Jahresabschluß.pdf (application/pdf)")
    assert {section.heading for section in extracted.sections} == {"Grüße vom Hof"}


def test_a_message_in_html_only_and_one_that_was_forwarded() -> None:
    inner = EmailMessage()
    inner["Subject"] = "Inner"
    inner.set_content("<h2>Head</h2><p>größer", subtype="html", charset="iso-8859-1")
    outer = EmailMessage()
    outer["Subject"] = "Fwd"
    outer.set_content("See below.")
    outer.add_attachment(inner)
    assert by_heading(read("a.eml", outer.as_bytes())) == [
        ("Fwd", "Subject: Fwd"),
        ("Fwd", "See below."),
        ("Inner", "Subject: Inner"),
        ("Inner > Head", "Head\n\ngrößer"),
    ]


def test_a_mailbox_as_the_standard_library_writes_it(tmp_path: Path) -> None:
    box = mailbox.mbox(tmp_path / "a.mbox")
    for number in range(3):
        mail = EmailMessage()
        mail["Subject"] = f"Letter {number}"
        mail.set_content(f"First {number}.\n\nFrom here on it is quoted, in 2026.\n")
        box.add(mail)
    box.close()
    extracted = read("a.mbox", (tmp_path / "a.mbox").read_bytes())
    assert list(dict.fromkeys(s.heading for s in extracted.sections)) == ["Letter 0", "Letter 1", "Letter 2"]
    assert extracted.text.count("\nFrom here on it is quoted") == 3


def test_a_notebook_keeps_headings_code_and_output() -> None:
    assert by_heading(read("a.ipynb", seeds.notebook())) == [
        (
            "Study",
            "# Study\nAbout rye.\n\n```python\nprint(1)\n1 / 0\n```\n\n```\n1\nshown\nZeroDivisionError: division\n```",
        ),
        ("Study > Result", "## Result\nSeven tons."),
    ]


def test_a_notebook_of_old_and_one_that_prints_too_much() -> None:
    code = {"cell_type": "code", "input": "1", "outputs": [{"output_type": "pyout", "text": "y" * 10_001}]}
    heading = {"cell_type": "heading", "level": 2, "source": "H"}
    extracted = read("a.ipynb", json.dumps({"nbformat": 3, "worksheets": [{"cells": [heading, code]}]}))
    assert extracted.text.startswith("## H\n\n```\n1\n```\n\n```\nyyy")
    assert extracted.text.count("y") == 10_000
    assert extracted.notes == ("what the cells 2 print is cut at 10000 characters",)
    assert "damaged" in reason("a.ipynb", b"[1, 2]")
    assert "damaged" in reason("a.ipynb", b"[" * 100_000)


# LaTeX


def test_latex_reads_as_its_reader_sees_it() -> None:
    extracted = read("a.tex", seeds.TEX)
    assert by_heading(extracted) == [
        ("On Grain", "On Grain"),
        ("On Grain > Abstract", "Abstract\n\nWe sow winter rye and pay 5% more."),
        (
            "On Grain > Yields & losses",
            "Yields & losses\n\nCafé Müller, naïve Straße — see [knuth,ott] and Section sec:y.Joined.",
        ),
        (
            "On Grain > Yields & losses > A formula",
            "A formula\n\nEnergy is E = mc^2, and ∑_(i=1)^n (a_i)/(b+1) ≤ √(x)\n\n"
            "```\n  % kept \\section{not one}\n```\n\n- First (Truly.)\n- Second link\n\nCrop | Tons\nRye | 7",
        ),
    ]
    assert extracted.notes == ("it includes other files, which are read only if they are added too: chapter2",)


@pytest.mark.parametrize(
    "source",
    [
        "\\section{Never closed",
        "}}}{{{",
        "$$$",
        "\\begin{x",
        "\\frac{a",
        "\\",
        "\\verb|%|",
        "\\def\\x",
        "{" * 50_000 + "x",
    ],
)
def test_broken_latex_is_read_anyhow(source: str) -> None:
    assert "word" in read("a.tex", "word " + source).text


# Code and settings

RUST = """\
use std::fmt;

/// A parser.
pub struct Parser<'a> {
    text: &'a str,
}

impl<'a> fmt::Display for Parser<'a> {
    // Prints.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let inner = |x| { x };
    }
}

impl<'a> Parser<'a> {
    #[inline]
    pub async fn parse(&self) -> Option<u8> {
        fn hidden() {}
        None
    }
}

fn main() {
    println!("class Nothing");
}
"""
JAVA = """\
package a.b;

/**
 * class Not
 */
@Entity
public final class Farm extends Base {
    private int size = 1;

    public Farm(int size) {
        if (size > 1) {
            return;
        }
    }

    @Override
    public List<String> names(Map<String, Integer> map) throws IOException {
        for (String s : names(map)) {
        }
    }
    int last = 2;
}
"""
TYPESCRIPT = """\
import x from "y";

export interface Shape { area(): number }

export default class Box<T> implements Shape {
  constructor(private a: T) {
    super();
  }

  async area(scale: number): Promise<number> {
    return 1;
  }
}

export const twice = async (n: number): Promise<number> => {
  return n * 2;
};
window.x = 1;
"""
GO = """\
package main

// Parser parses.
type Parser struct {
	text string
}

// Parse does it.
func (p *Parser) Parse(a int) error {
	return nil
}

func main() {
}
"""
C = """\
#include <stdio.h>
static int used;

/* Adds
   two. */
int
add(int a, int b)
{
    return a + b;
}

static struct item *name(void) {
    return add(1, 2);
}
int declared(int a);
"""
RUBY = """\
module Farm
  class Field < Base
    attr_reader :size

    def self.all
      if true
        1
      end
    end

    def empty?
      size == 0
    end
  end
end
"""


@pytest.mark.parametrize(
    ("name", "source", "names"),
    [
        ("a.rs", RUST, ["Parser", "Parser.fmt", "Parser.parse", "main"]),
        ("a.java", JAVA, ["Farm", "Farm.Farm", "Farm.names"]),
        ("a.ts", TYPESCRIPT, ["Shape", "Box.constructor", "Box.area", "twice"]),
        ("a.go", GO, ["Parser", "Parser.Parse", "main"]),
        ("a.c", C, ["add", "name"]),
        ("a.rb", RUBY, ["Farm.Field", "Farm.Field.all", "Farm.Field.empty?"]),
        ("a.lua", "local x = 1\nfunction M.run(a)\n  print(a)\nend\nlocal function f()\nend\n", ["M.run", "f"]),
        ("a.sh", "set -e\nbuild() {\n  make\n}\nfunction clean {\n  rm x\n}\nbuild\n", ["build", "clean"]),
        ("a.sql", "-- All crops.\nCREATE TABLE IF NOT EXISTS crops (\n  id INT\n);\nSELECT 1;\n", ["crops"]),
        ("a.toml", '[tool.ruff]\nx = 1\n[[tool.list]]\ny = "[no]"\n', ["tool.ruff", "tool.list"]),
        ("a.yaml", "on:\n  push: 1\n# jobs\njobs:\n  a: b\n", ["on", "jobs"]),
        ("a.kt", "class A {\n    fun b(): Int = 1\n    suspend fun c() {\n    }\n}\n", ["A.b", "A.c"]),
        ("a.php", "<?php\nnamespace X;\nfinal class A {\n  public function b() {\n  }\n}\n", ["A.b"]),
    ],
)
def test_code_is_cut_at_its_definitions(name: str, source: str, names: list[str]) -> None:
    extracted = read(name, source)
    assert extracted.text == source
    assert extracted.by_line
    assert list(dict.fromkeys(s.heading for s in extracted.sections if s.heading)) == names
    assert "".join(source[s.start : s.end] for s in extracted.sections) == source, "the sections tile the file"


def test_comments_go_with_what_they_are_about_and_what_follows_is_outside() -> None:
    sections = by_heading(read("a.rs", RUST))
    assert sections[1] == ("Parser", "/// A parser.\npub struct Parser<'a> {\n    text: &'a str,\n}")
    assert sections[-2][1].startswith("impl<'a> Parser<'a> {\n    #[inline]\n    pub async fn parse")
    java = dict(by_heading(read("a.java", JAVA)))
    assert java["Farm.names"].startswith("@Override")
    assert by_heading(read("a.ts", TYPESCRIPT))[-1] == (None, "window.x = 1;")
    assert by_heading(read("a.c", C))[-1] == (None, "int declared(int a);")


def test_json_on_one_line_is_spread_and_means_the_same() -> None:
    value = {"crops": [{"name": 'rye, "so" ü', "tons": [1, 2.50]}] * 50, "empty": {}, "last": None}
    dense = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    extracted = read("a.json", dense)
    assert json.loads(extracted.text) == value
    assert max(map(len, extracted.text.splitlines())) < 100
    assert [s.heading for s in extracted.sections if s.heading] == ["crops", "empty", "last"]
    pretty = json.dumps(value, indent=1)
    assert read("a.json", pretty).text == pretty
    assert read("a.json", '{"a": "' + '\\"' * 200_000).text


# HTML of old


def test_html_without_its_end_tags_reads_as_with_them() -> None:
    whole = (
        "<h1>Farm</h1><p>One</p><p>Two</p><ul><li>a<ul><li>b</li></ul></li><li>c</li></ul><dl><dt>T</dt><dd>D</dd></dl>"
        "<table><thead><tr><th>K</th><th>V</th></tr></thead><tbody><tr><td>x</td><td>1</td></tr></tbody></table><p>End</p>"
    )
    bare = whole
    for name in ("p", "li", "dt", "dd", "tr", "th", "td", "thead", "tbody"):
        bare = bare.replace(f"</{name}>", "")
    assert read("a.html", bare) == read("a.html", whole)
    assert read("a.html", whole).text.endswith("- a\n- b\n- c\nT\nD\nK | V\nx | 1\n\nEnd")
    assert read("a.html", "<p>word <b>x</b>\n" * 5000).text == "\n\n".join(["word x"] * 5000)


def test_what_is_hidden_stays_so_to_its_own_end() -> None:
    page = "<p>a<span hidden>b<span>c</span>d</span>e<nav><div>f</div></nav>g<script>h</script><p hidden>i<p>j"
    assert read("a.html", page).text == "ae\n\ng\n\nj"


# Bombs, detonated under the limits


LAUGHS = '<!DOCTYPE x [<!ENTITY a "ha">' + "".join(
    f'<!ENTITY {chr(98 + n)} "{("&" + chr(97 + n) + ";") * 10}">' for n in range(9)
) + "]>"  # fmt: skip


def replaced(data: bytes, name: str, change: bytes) -> bytes:
    """The archive with an entity bomb in front of this file's root and in its text."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        for item in old.infolist():
            content = old.read(item)
            if item.filename == name:
                declaration, _, root = content.rpartition(b"?>")
                content = declaration + (b"?>" if declaration else b"") + change + root.replace(b"Rye", b"&j;")
            new.writestr(item.filename, content)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("a.docx", "word/document.xml"),
        ("a.pptx", "ppt/slides/slide1.xml"),
        ("a.xlsx", "xl/worksheets/sheet1.xml"),
        ("a.epub", "OPS/book.opf"),
    ],
)
def test_entities_that_multiply_or_read_files(name: str, part: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret")
    for declaration in (LAUGHS, f'<!DOCTYPE x [<!ENTITY j SYSTEM "{secret.as_uri()}">]>'):
        data = replaced(SEEDS[name[1:]](), part, declaration.encode())
        try:
            text = load(Path(name), data).text
        except DocumentError as error:
            text = str(error)
        assert "secret" not in text.replace("secret.txt", "")
        assert len(text) < 100_000


def test_an_archive_that_unpacks_without_end() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("OPS/text.xhtml", b" " * (101 * 2**20))
    assert len(file.getvalue()) < 2**20
    for name in ("a.docx", "a.pptx", "a.epub"):
        assert "unpacks to more" in reason(name, file.getvalue())


def test_a_sheet_of_millions_of_empty_rows() -> None:
    """The size that it claims and the rows that it skips cost nothing; what is in it is read."""
    sheet = (
        '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><dimension ref="A1:XFD1048576"/>'
        '<sheetData><row r="1"><c r="A1" t="inlineStr"><is><t>top</t></is></c></row><row r="500000"><c r="XFD500000" '
        't="inlineStr"><is><t>far</t></is></c></row></sheetData></worksheet>'
    )
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(seeds.workbook())) as old, zipfile.ZipFile(file, "w") as new:
        for item in old.infolist():
            new.writestr(item.filename, sheet if item.filename.endswith("sheet1.xml") else old.read(item))
    assert by_heading(read("a.xlsx", file.getvalue()))[:2] == [("Prices!A1", "top"), ("Prices!XFD500000", "far")]


def page_tree_bomb(levels: int) -> bytes:
    """A PDF of ten to the power of `levels` pages, all of them the same: every node of the tree names one child."""
    objects = [b"<</Type/Catalog/Pages 2 0 R>>"]
    for level in range(levels):
        kids = b" ".join([b"%d 0 R" % (level + 3)] * 10)
        objects.append(b"<</Type/Pages/Count %d/Kids[%s]/MediaBox[0 0 9 9]>>" % (10 ** (levels - level), kids))
    objects.append(b"<</Type/Page/Parent 2 0 R>>")
    data = b"%PDF-1.4\n"
    offsets = []
    for number, content in enumerate(objects, 1):
        offsets.append(len(data))
        data += b"%d 0 obj%sendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return data + b"xref\n0 %d\n0000000000 65535 f \n%strailer<</Root 1 0 R/Size %d>>\nstartxref\n%d\n%%%%EOF" % (
        len(objects) + 1, table, len(objects) + 1, len(data),
    )  # fmt: skip


_ENDLESS = ("edge_index.loaders.pdf.pages", "edge_index.loaders.plain.notebook", "edge_index.loaders.markup.rst")


def test_bombs_of_pages_tags_and_brackets_end_in_a_sentence() -> None:
    bombs = {
        "edge_index.loaders.pdf.pages": page_tree_bomb(8),
        "edge_index.loaders.markup.html": b"<p>word" + b"<b><i><table><tr><td>" * 300_000,
        "edge_index.loaders.plain.notebook": b'{"cells": ' + b"[" * 1_000_000,
        "edge_index.loaders.markup.markdown": b"> " * 500_000 + b"word",
        "edge_index.loaders.markup.rst": b"`word " * 60_000,
        "edge_index.loaders.plain.python": b"x = " + b"-" * 500_000 + b"1",
        "edge_index.loaders.plain.mail": b"Subject: x\nContent-Type: multipart/mixed; boundary=a\n\n"
        + b"--a\n" * 300_000,
    }
    with Reader(Limits(seconds=1.5, seconds_per_mib=0, memory=400 * 2**20)) as reader:
        for module, bomb in bombs.items():
            try:
                said = reader.read(module, Path("bomb.x"), bomb).text[:9]
            except DocumentError as error:
                said = str(error)
            assert said.startswith("bomb.x ") or module not in _ENDLESS
            assert "\n" not in said
        assert reader.read("edge_index.loaders.pdf.pages", Path("a.pdf"), seeds.pdf()).pages == 2


def test_a_heading_as_long_as_a_book_is_not_multiplied() -> None:
    page = "<h1>" + "long " * 100_000 + "</h1>" + "<h2>a</h2><p>b" * 2000
    extracted = read("a.html", page)
    assert max(len(section.heading or "") for section in extracted.sections) < 500
