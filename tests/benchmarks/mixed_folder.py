"""A real mixed folder, added from the command line twice: documentation packages and files of many writers.

    apt-get download debian-policy developers-reference maint-guide debian-faq debmake-doc gnuplot-doc
    for package in *.deb; do dpkg -x $package packages; done
    python tests/benchmarks/mixed_folder.py packages [--languages]

Beside what the packages hold (PDF, EPUB, HTML, text, programs) the folder gets one file of every format from
tests/index/documents.py, and some that are broken: cut PDFs and archives, a page of zeros, a text without letters, a
loop of links. Prints what `edge index add` reports and how long it took, then the same for a second run. Translations
(names with a language in them) are left out unless --languages: the starter encoder speaks English.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from documents.seeds import SEEDS

_TRANSLATED = re.compile(r"[._-](?!en\b)(?:[a-z]{2}|[a-z]{2}[-_][a-zA-Z]{2,4})\.(?:html|txt|pdf|epub)$")
_BROKEN = (".pdf", ".docx", ".xlsx", ".epub")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", type=Path)
    parser.add_argument("--languages", action="store_true", help="translations, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder, index = Path(temporary, "mixed"), Path(temporary, "mixed.index")
        copied = collect(options.packages, folder / "packages", languages=options.languages)
        print(f"{copied} files of packages, {written(folder / 'written')} written here", flush=True)
        for run in ("first", "second"):
            began = time.perf_counter()
            command = [str(Path(sys.executable).parent / "edge"), "index", "add", str(folder), "--index", str(index)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            seconds = time.perf_counter() - began
            print(f"--- {run} run: {seconds:.1f} s, exit code {done.returncode}")
            print(done.stdout.strip())
            print("\n".join(line for line in done.stderr.splitlines() if line.strip()).replace(temporary, ""))


def collect(packages: Path, target: Path, *, languages: bool) -> int:
    copied = 0
    for path in sorted(packages.rglob("*")):
        if path.is_symlink() or not path.is_file() or (_TRANSLATED.search(path.name) and not languages):
            continue
        place = target / path.relative_to(packages)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())
        copied += 1
    return copied


def written(target: Path) -> int:
    target.mkdir(parents=True)
    for suffix, make in SEEDS.items():
        (target / f"whole{suffix}").write_bytes(make())
    for suffix in _BROKEN:
        whole = SEEDS[suffix]()
        (target / f"cut{suffix}").write_bytes(whole[: len(whole) // 2])
    (target / "zeros.txt").write_bytes(bytes(4096))
    (target / "empty.md").write_bytes(b"")
    (target / "blank.txt").write_bytes(b" \n\n \n")
    (target / "no-letters.csv").write_bytes(bytes(range(256)) * 16)
    (target / "loop").symlink_to(target)
    return len(list(target.iterdir()))


if __name__ == "__main__":
    main()
