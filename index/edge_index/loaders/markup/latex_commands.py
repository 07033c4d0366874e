"""How the commands and environments of LaTeX are read: what they are, and which of their arguments go."""

from __future__ import annotations

SECTIONS = {
    "edgetitle": 0, "part": 1, "chapter": 2, "section": 3, "subsection": 4, "subsubsection": 5, "paragraph": 6,
    "subparagraph": 7, "frametitle": 4,
}  # fmt: skip
VERBATIM = ("verbatim", "Verbatim", "lstlisting", "minted", "alltt")
MATH_ENVIRONMENTS = frozenset(
    "math displaymath equation align gather multline eqnarray flalign alignat dmath aligned gathered split cases "
    "matrix pmatrix bmatrix vmatrix Bmatrix smallmatrix".split()
)
# Environment -> how many arguments in braces it has.
WITH_ARGUMENTS = {
    "tabular": 1, "tabularx": 2, "longtable": 1, "array": 1, "tabulary": 2, "tabu": 1, "minipage": 1, "multicols": 1,
    "thebibliography": 1, "wrapfigure": 2,
}  # fmt: skip
STATEMENTS = frozenset(
    "theorem lemma definition proposition corollary example remark proof claim conjecture exercise".split()
)
# Command -> how many arguments in braces go with it.
ARGUMENTS_DROPPED = {
    name: count
    for count, names in {
        1: (
            "label usepackage documentclass bibliographystyle bibliography addbibresource includegraphics "
            "vspace hspace "
            "input include subfile includeonly pagestyle thispagestyle pagenumbering hyphenation geometry hypersetup "
            "graphicspath index nocite cline cmidrule vskip hskip phantom vphantom hphantom linespread newcounter "
            "refstepcounter stepcounter tikzset lstset usetikzlibrary RequirePackage "
            "theoremstyle fontsize "
            "selectlanguage captionsetup color rowcolor columncolor cellcolor newtheorem title date author"
        ),
        2: "setlength addtolength setcounter addtocounter newcommand renewcommand providecommand definecolor "
        "rule resizebox "
        "DeclareMathOperator addcontentsline fontencoding multirow raisebox",
        3: "newenvironment renewenvironment",
    }.items()
    for name in names.split()
}
# Their first argument is about looks or goes elsewhere, the last is read.
FIRST_DROPPED = {"href": 1, "textcolor": 1, "colorbox": 1, "parbox": 1, "multicolumn": 2, "scalebox": 1, "fontspec": 1}
# Combining characters.
ACCENTS = {
    '"': "\u0308", "'": "\u0301", "`": "\u0300", "^": "\u0302", "~": "\u0303", "=": "\u0304", ".": "\u0307",
    "c": "\u0327", "v": "\u030c", "u": "\u0306", "H": "\u030b", "k": "\u0328", "r": "\u030a", "d": "\u0323",
    "b": "\u0331",
}  # fmt: skip
