"""Words of many languages: what carries content, and what a full-text index must hold of scripts without spaces."""

from __future__ import annotations

import sqlite3

import pytest

from edge.text.terms import content_terms, content_words, grams, is_gram


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("Who did die in the war?", ["die", "war"]),
        ("Was ist die Hauptstadt von Frankreich?", ["hauptstadt", "frankreich"]),
        ("Quelle est la capitale de la France ?", ["capitale", "france"]),
        ("Où est-ce que l’eau gèle ?", ["eau", "gele"]),
        ("¿Quién fue el primer presidente?", ["primer", "presidente"]),
        ("Qual è la capitale dell'Italia?", ["capitale", "italia"]),
        ("Hoeveel inwoners heeft de stad?", ["inwoners", "stad"]),
        ("Quem foi o primeiro rei?", ["primeiro", "rei"]),
        ("O'Brien's pump", ["brien", "pump"]),
        ("die", ["die"]),
        ("Кто основал Москву?", ["кто", "основал", "москву"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("東京都 2024", ["東京", "京都", "2024"]),
        ("한국의 수도", ["한국", "국의", "수도"]),
        ("水", ["水"]),
    ],
)
def test_what_carries_content(text: str, terms: list[str]) -> None:
    assert content_terms(text) == terms


def test_a_question_without_spaces_shares_words_with_its_answer() -> None:
    question, answer = (
        set(content_words("東京の人口は？")),
        set(content_words("二〇二四年の東京都の人口は約千四百万人である。")),
    )
    other = set(content_words("大阪は食べ物で有名な街です。"))
    assert len(question & answer) > len(question & other)
    assert {"東京", "人口"} <= question & answer


def test_a_full_text_index_of_grams_is_found_by_terms() -> None:
    db = sqlite3.connect(":memory:")
    tokenize = "unicode61 remove_diacritics 0 categories 'L* N* Co M*'"
    db.execute(f'CREATE VIRTUAL TABLE t USING fts5(g, detail=none, tokenize="{tokenize}")')
    texts = ["東京は日本の首都です。", "กรุงเทพเป็นเมืองหลวงของไทย", "대한민국의 수도는 서울이다.", "plain words"]
    db.executemany("INSERT INTO t(rowid, g) VALUES (?, ?)", [(i, grams(text)) for i, text in enumerate(texts)])
    assert grams("plain words") == ""
    for row, query in enumerate(["首都", "เมืองหลวง", "서울"]):
        terms = content_terms(query)
        assert terms
        assert all(map(is_gram, terms))
        match = " OR ".join(f'"{term}"' for term in terms)
        best = db.execute("SELECT rowid FROM t WHERE t MATCH ? ORDER BY bm25(t) LIMIT 1", (match,)).fetchone()
        assert best == (row,)
