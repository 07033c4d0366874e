"""What the words of LaTeX stand for in plain text."""

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
SYMBOLS = dict(
    pair.split("=", 1)
    for pair in (
        "alpha=α beta=β gamma=γ delta=δ epsilon=ε varepsilon=ε zeta=ζ eta=η theta=θ vartheta=ϑ iota=ι "
        "kappa=κ lambda=λ "
        "mu=μ nu=ν xi=ξ pi=π rho=ρ varrho=ϱ sigma=σ tau=τ upsilon=υ phi=φ varphi=φ chi=χ psi=ψ omega=ω "
        "Gamma=Γ Delta=Δ "
        "Theta=Θ Lambda=Λ Xi=Ξ Pi=Π Sigma=Σ Upsilon=Υ Phi=Φ Psi=Ψ Omega=Ω "
        "times=× cdot=· div=÷ pm=± mp=∓ le=≤ leq=≤ ge=≥ geq=≥ neq=≠ ne=≠ approx=≈ equiv=≡ sim=∼ simeq=≃ "
        "cong=≅ propto=∝ "
        "ll=≪ gg=≫ infty=∞ partial=∂ nabla=∇ sum=∑ prod=∏ int=∫ oint=∮ in=∈ notin=∉ ni=∋ subset=⊂ "
        "subseteq=⊆ supset=⊃ "
        "supseteq=⊇ cup=∪ cap=∩ setminus=∖ emptyset=∅ varnothing=∅ forall=∀ exists=∃ neg=¬ lnot=¬ land=∧ "
        "wedge=∧ lor=∨ "
        "vee=∨ to=→ rightarrow=→ leftarrow=← Rightarrow=⇒ Leftarrow=⇐ implies=⇒ iff=⇔ "
        "Leftrightarrow=⇔ leftrightarrow=↔ "
        "mapsto=↦ longrightarrow=⟶ uparrow=↑ downarrow=↓ circ=∘ bullet=• star=⋆ ast=∗ oplus=⊕ otimes=⊗ "
        "perp=⊥ parallel=∥ "
        "angle=∠ degree=° langle=⟨ rangle=⟩ lfloor=⌊ rfloor=⌋ lceil=⌈ rceil=⌉ mid=| vert=| lvert=| rvert=| "
        "Vert=‖ ell=ℓ "
        "hbar=ℏ Re=ℜ Im=ℑ aleph=ℵ prime=′ dots=… ldots=… cdots=⋯ vdots=⋮ ddots=⋱ textellipsis=… top=⊤ bot=⊥ models=⊨ "
        "vdash=⊢ triangle=△ square=□ checkmark=✓ dagger=† "
        "ss=ß ae=æ AE=Æ oe=œ OE=Œ o=ø O=Ø aa=å AA=Å l=ł L=Ł i=ı j=ȷ S=§ P=¶ copyright=© pounds=£ euro=€ "
        "EUR=€ texteuro=€ "
        "textbackslash=\\ textasciitilde=~ textasciicircum=^ textunderscore=_ textbar=| textless=< textgreater=> "
        "textendash=– textemdash=— textbullet=• textregistered=® texttrademark=™ textdegree=° TeX=TeX LaTeX=LaTeX "
        "lbrace={ rbrace=} slash=/ today=today"
    ).split()
)
# Functions and operators that are their own names.
MATH_WORDS = frozenset(
    "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln lg exp lim limsup liminf sup inf max min arg "
    "det dim "
    "ker gcd deg Pr hom mod bmod".split()
)
