"""The texts of the proof: plain ones, strings that tokenisers disagree about, and one of any length."""

from __future__ import annotations

TEXTS = (
    "The lighthouse at the northern cape was built in 1874 from granite that had been quarried on "
    "the island itself. For ninety years a keeper and his family lived in the rooms below the lamp, "
    "trimming wicks, polishing the lens and writing down the weather four times a day. When electricity "
    "arrived in 1964 the last keeper moved to the village, but he still walked up the hill every evening "
    "to see whether the light came on. His notebooks, which record storms, shipwrecks and the arrival "
    "of birds, are kept in the museum of the harbour and are used by climatologists today.",
    "To replace the filter, switch the pump off and wait until the gauge shows less than 0.2 bar. "
    "Open the drain at the bottom and let the water run into a bucket; this takes about three minutes. "
    "Unscrew the housing by hand, never with a wrench, and pull the cartridge straight up. Clean the "
    "seat, put a little silicone grease on the new O-ring (part no. 47-1180-B) and push the cartridge "
    "in until it clicks. Close the drain, open the inlet by a quarter turn, bleed the air and look "
    "for leaks before you go back to 6 bar.",
    'def merge(left, right):\n    """Merge two sorted lists into one."""\n    result = []\n '
    "   i = j = 0\n    while i < len(left) and j < len(right):\n        if left[i] <= right[j]:\n "
    "           result.append(left[i])\n            i += 1\n        else:\n            result.append(right[j])\n"
    "            j += 1\n    result.extend(left[i:])\n    result.extend(right[j:])\n    return result\n",
    "Die Sitzung begann um 9.30 Uhr. Frau Özdemir berichtete über das Budget für 2031: 12.450 € für "
    "Bücher, 3.200 € für Software. La discussion a ensuite porté sur les horaires d'été; personne "
    "n'était d'accord. 会议在下午四点结束。 В следующий раз мы встретимся в четверг. ありがとうございました。 "
    "The minutes were sent out on 4 June, with two corrections.",
)
"""Plain texts, of which every position is compared."""

AWKWARD = (
    " leading space", "trailing space ", "two  spaces   three    four", "\n\n\nnewlines\n\n",
    "tab\tand\r\nreturn", "I'm you've WE'LL don't 'quoted'", "3.14159 1,000,000 0x1F 12345678901234567890",
    "camelCase snake_case kebab-case", "naïve café Ångström", "Füße straße ẞ", "你好，世界", "こんにちは世界",
    "안녕하세요", "Привет, мир", "שלום עולם", "مرحبا بالعالم", "नमस्ते दुनिया", "ไทยไม่มีช่องว่าง",
    "😀👩‍👩‍👧‍👦🏳️‍🌈", "\u200bzero\u200bwidth\ufeff", "€£¥₹ ±×÷ ≤≥≠", "!!!???...;;;",
    "{'a': [1, 2.5, null]}", "<html><b>bold</b></html>", "</s><s>", "    indented\n        code();",
    "https://example.com/a?b=c&d=%20e#f", "a" * 60, "=" * 40, "x\u00a0y\u2009z", "\\n \\t \\\\",
    "#include <stdio.h>\n", "ﬁ ﬂ", "𝒜𝓁𝓅𝒽𝒶 𐍈", " ", "\n", "  \n  ", "\t\t",
)  # fmt: skip
"""Strings that tokenisers disagree about when something is wrong."""

RARE = ("½ ² Ⅷ", "e\u0301 o\u0308", "٣٤٥")
"""Number forms, combining marks and digits of other scripts: the engines' tokenisers have ways of their own with some
of them, whatever the export says."""

_PLACES = (
    "the harbour", "Ward 7", "the upper mill", "Lindqvist & Sons", "the east tunnel", "our Lisbon office", "hangar B",
)  # fmt: skip
_PEOPLE = ("Ms. Okafor", "the night engineer", "Dr. Tanaka", "a visitor", "the apprentice", "Mr. O'Neill")
_ACTS = (
    "reported a loss of pressure in", "measured the voltage of", "asked for the drawings of", "signed the receipt for",
    "found rust on", "repaired the hinge of", "photographed", "ordered spare parts for",
)  # fmt: skip
_THINGS = (
    "the second boiler", "crate 51", "the old lift", "a blue container", "the weather station", "pump no. 9",
    "the glass roof", "two bicycles", "the emergency generator",
)  # fmt: skip
_ENDS = (
    "and left at noon.", "because nobody else was there.", "which took longer than planned.", "as agreed in May.",
    "although it was raining.",
)  # fmt: skip


def long_text(sentences: int) -> str:
    """Numbered reports, no two alike: a text of any length that does not repeat itself."""
    return "".join(
        f"{i + 1}. At {_PLACES[i % 7]}, {_PEOPLE[i * 5 % 6]} {_ACTS[i * 3 % 8]} {_THINGS[i * 7 % 9]} "
        f"{_ENDS[i * 2 % 5]} Cost: {(i * 7919) % 4973}.{i % 10} euros.\n"
        for i in range(sentences)
    )
