"""Small real files of every format, made by the writers of other projects: seeds for tests and for the fuzzer."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from email.message import EmailMessage

import docx
import openpyxl
from docx.document import Document as Word
from pptx import Presentation
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.util import Inches
from reportlab.pdfgen.canvas import Canvas

WORDS = "Barley and rye are sown in autumn; the harvest is in July, weather permitting."


def saved(save: Callable[[io.BytesIO], object]) -> bytes:
    file = io.BytesIO()
    save(file)
    return file.getvalue()


def drawn(*pages: Callable[[Canvas], None], **options: object) -> bytes:
    """A PDF whose pages these functions draw."""
    file = io.BytesIO()
    canvas = Canvas(file, **options)
    for page in pages:
        page(canvas)
        canvas.showPage()
    canvas.save()
    return file.getvalue()


def pdf() -> bytes:
    def first(canvas: Canvas) -> None:
        for line in range(20):
            canvas.drawString(72, 760 - 14 * line, f"{line}. {WORDS[:40]}")
            canvas.drawString(320, 760 - 14 * line, f"{line}. {WORDS[40:]}")

    def second(canvas: Canvas) -> None:
        canvas.setPageRotation(90)
        canvas.translate(595, 0)
        canvas.rotate(90)
        canvas.drawString(72, 500, WORDS)
        canvas.rect(50, 50, 100, 100, fill=1)

    return drawn(first, second, pageCompression=0)


def word() -> bytes:
    document: Word = docx.Document()
    document.add_heading("Farm report", 0)
    document.add_paragraph(WORDS)
    document.add_heading("Yield", 1)
    document.add_paragraph("one", style="List Bullet")
    table = document.add_table(rows=2, cols=2)
    for cell, text in zip(
        (cell for row in table.rows for cell in row.cells), ("Crop", "Tons", "Rye", "7"), strict=True
    ):
        cell.text = text
    return saved(document.save)


def slides() -> bytes:
    deck = Presentation()
    first = deck.slides.add_slide(deck.slide_layouts[1])
    first.shapes.title.text = "Harvest"
    body = first.placeholders[1].text_frame
    body.text = "Rye first"
    inner = body.add_paragraph()
    inner.text, inner.level = "in July", 1
    first.notes_slide.notes_text_frame.text = "Do not forget the weather."
    deck.slides.add_slide(deck.slide_layouts[6])
    third = deck.slides.add_slide(deck.slide_layouts[5])
    third.shapes.title.text = "Numbers"
    table = third.shapes.add_table(2, 2, Inches(1), Inches(4), Inches(4), Inches(1)).table
    for at, text in enumerate(("Crop", "Tons", "Rye", "7")):
        table.cell(at // 2, at % 2).text = text
    group = third.shapes.add_group_shape()
    group.shapes.add_textbox(Inches(1), Inches(2), Inches(2), Inches(1)).text_frame.text = "In a group"
    chart = CategoryChartData()
    chart.categories = ["Rye", "Barley"]
    chart.add_series("2026", (7.5, 3))
    third.shapes.add_chart(XL_CHART_TYPE.BAR_CLUSTERED, Inches(1), Inches(5), Inches(4), Inches(2), chart)
    return saved(deck.save)


def workbook() -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Prices"
    for row in (["Product", "Price", "Share"], ["bread", 3.5, 0.25], ["cake", 12, None]):
        sheet.append(row)
    sheet["C2"].number_format = "0%"
    other = book.create_sheet("My list")
    other["B3"] = "only\nthis"
    return saved(book.save)


CONTAINER = (
    '<?xml version="1.0"?><container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
    '<rootfile full-path="OPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
)


def zipped(files: dict[str, str | bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def book(**more: str) -> bytes:
    """An EPUB whose chapters are packed in another order than they are read."""
    items = "".join(
        f'<item id="{name}" href="text/{name}%20x.xhtml" media-type="application/xhtml+xml"/>' for name in "cab"
    )
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf" version="3.0"><manifest>'
        f'{items}<item id="n" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/></manifest><spine>'
        '<itemref idref="n"/><itemref idref="b"/><itemref idref="a"/><itemref idref="c"/></spine></package>'
    )
    page = '<html xmlns="http://www.w3.org/1999/xhtml"><body>{}</body></html>'
    return zipped(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": CONTAINER,
            "OPS/book.opf": package,
            "OPS/nav.xhtml": page.format('<nav><a href="text/b%20x.xhtml#top">Sowing&nbsp;time</a></nav>'),
            "OPS/text/a x.xhtml": page.format("<h1>Second</h1><p>Two.</p><h2>Part</h2><p>Three.</p>"),
            "OPS/text/b x.xhtml": page.format("<p>One.</p>"),
            "OPS/text/c x.xhtml": page.format("<h1>Last</h1><p>Four.</p>"),
            **more,
        }
    )


def message(subject: str = "Grüße vom Hof") -> EmailMessage:
    mail = EmailMessage()
    mail["Subject"] = subject
    mail["From"] = "Änne Ott <aenne@example.org>"
    mail["To"] = "ben@example.org"
    mail["Date"] = "Mon, 06 Jul 2026 10:00:00 +0200"
    mail.set_content(f"Plain text: {WORDS}\n")
    mail.add_alternative(f"<h1>Rich</h1><p>{WORDS}", subtype="html")
    mail.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="Jahresabschluß.pdf")
    return mail


def notebook() -> bytes:
    cells = [
        {"cell_type": "markdown", "source": ["# Study\n", "About rye."]},
        {
            "cell_type": "code",
            "source": "print(1)\n1 / 0",
            "outputs": [
                {"output_type": "stream", "text": ["1\n"]},
                {"output_type": "execute_result", "data": {"text/html": "<b>", "text/plain": ["shown"]}},
                {"output_type": "error", "traceback": ["\x1b[0;31mZeroDivisionError\x1b[0m: division"]},
            ],
        },
        {"cell_type": "markdown", "source": "## Result\nSeven tons."},
        {"cell_type": "raw", "source": ""},
    ]
    return json.dumps({"nbformat": 4, "metadata": {"kernelspec": {"language": "python"}}, "cells": cells}).encode()


TEX = r"""\documentclass[a4paper]{article}
\usepackage{amsmath} % with a comment
\newcommand{\crop}{winter rye}
\title{On \emph{Grain}}
\begin{document}
\maketitle
\begin{abstract}We sow \crop{} and pay 5\% more.\end{abstract}
\section[Short]{Yields \& losses}\label{sec:y}
Caf\'e M\"uller, na\"{\i}ve Stra\ss e --- see~\cite{knuth,ott} and Section~\ref{sec:y}.% gone
 Joined. % \section{Not one}
\subsection*{A formula}
Energy is $E = mc^{2}$, and \[ \sum_{i=1}^{n} \frac{a_i}{b+1} \le \sqrt{x} \]
\begin{verbatim}
  % kept \section{not one}
\end{verbatim}
\begin{itemize}
\item First\footnote{Truly.}
\item \textbf{Second} \href{http://x.org}{link}
\end{itemize}
\begin{tabular}{l|r}
Crop & Tons \\
Rye & 7 \\[2pt]
\end{tabular}
\input{chapter2}
\end{document}
"""

SEEDS: dict[str, Callable[[], bytes]] = {
    ".pdf": pdf,
    ".docx": word,
    ".pptx": slides,
    ".xlsx": workbook,
    ".epub": book,
    ".eml": lambda: message().as_bytes(),
    ".mbox": lambda: b"".join(
        b"From x Mon Jul  6 10:00:00 2026\n" + message(name).as_bytes() + b"\n\n" for name in ("One", "Two")
    ),
    ".ipynb": notebook,
    ".tex": TEX.encode,
    ".html": lambda: (
        b"<!doctype html><html><head><title>Site</title><meta charset=utf-8></head><body><h1>Rye &amp; barley</h1>"
        b"<p>First <b>bold</b><br>next<table><tr><th>K<td>V</table><ul><li>one<li>two</ul><pre>a\n  b</pre></body>"
    ),
    ".md": lambda: (
        b"---\ntitle: x\n---\n# One\n\ntext *em* [l](u)\n\n> - quote\n>   1. list\n\n```py\n# no\n```\n\nTwo\n---\n"
    ),
    ".rst": lambda: (
        b"=====\nTitle\n=====\n\nText *em* ``code``::\n\n  block\n\nPart\n----\n\n.. note:: x\n\n"
        b"+---+---+\n| a | b |\n+---+---+\n"
    ),
    ".py": lambda: (
        b'"""Doc."""\nimport re\n\n@dec\nclass A(B):\n    x = 1\n    async def f(self, *a): return [i for i in a]\n'
    ),
    ".js": lambda: (
        b"/* c */\nexport class A {\n  get x() { return 1 }\n  async run(a, b) {\n    if (a) { b() }\n  }\n}\n"
        b"const f = (a) => {\n}\n"
    ),
    ".cpp": lambda: (
        b"namespace n {\nclass A : public B {\n public:\n  int get(int a) const {\n    return a;\n  }\n};\n}\n"
        b"int main(int c, char **v)\n{\n}\n"
    ),
    ".json": lambda: json.dumps({"crops": [{"name": "rye", "tons": 7}] * 40, "note": 'say "so" \\ ü'}).encode(),
    ".csv": lambda: b'name,"the, yield"\n"A ""x""",3.5\n"two\nlines",4\n',
    ".toml": lambda: b'[tool.x]\na = 1\n[[list]]\nb = "c"\n',
    ".txt": lambda: "Die Straße – größer.\r\nこれは日本語\n".encode(),
}
