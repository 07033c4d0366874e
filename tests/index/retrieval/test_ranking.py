"""What comes first, and what does not come at all: a real encoder on questions whose answers were written by hand."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge.types import Passage
from edge_index import Index
from edge_index.encoders.encoder import Encoder
from edge_index.retrieval.answerability import answerable
from edge_index.retrieval.ranking import FLOOR, Candidate, Question, asks, rank_passages

# Per topic a text, the question, and the sentence of the text that answers it. Other sentences share its words.
CASES = {
    "lighthouse": (
        "The lighthouse stands on a rock two miles off the coast. It was built by Anna Tordsen between 1874 and 1879. "
        "Its lamp was the first in the country to burn electricity. In fog a horn sounds every thirty seconds.",
        "Who built the lighthouse?",
        "It was built by Anna Tordsen between 1874 and 1879.",
    ),
    "beehive": (
        "A beehive holds up to sixty thousand bees in summer. The queen alone lays eggs, about two thousand a day. "
        "Worker bees live only six weeks in the warm season. In winter the colony gathers in a ball to keep warm.",
        "How many eggs does the queen lay each day?",
        "The queen alone lays eggs, about two thousand a day.",
    ),
    "glacier": (
        "The Varde glacier has been measured since 1901. It lost a third of its length in the last fifty years. "
        "Black soot on the ice takes up the heat of the sun and speeds the melting. Hikers cross it in July.",
        "Why does the glacier melt faster?",
        "Black soot on the ice takes up the heat of the sun and speeds the melting.",
    ),
    "violin": (
        "The top of a violin is carved from spruce. Its back and ribs are made of maple, which is harder. "
        "The four strings are tuned in fifths. A varnish of amber and linseed oil protects the wood.",
        "What wood is the back of the violin made of?",
        "Its back and ribs are made of maple, which is harder.",
    ),
    "contract": (
        "The tenant pays the rent on the third day of each month. Pets need the written consent of the landlord. "
        "Either party may end the contract with notice of three months. The deposit is two monthly rents.",
        "How long is the notice period?",
        "Either party may end the contract with notice of three months.",
    ),
    "railway": (
        "The line from Osk to Brenn was opened on 4 May 1888. Its longest tunnel runs under the Hallberg for nine "
        "kilometres. Steam was given up in 1926 in favour of electric engines. Today it carries mostly timber.",
        "When did the railway switch to electric engines?",
        "Steam was given up in 1926 in favour of electric engines.",
    ),
    "vaccine": (
        "The vaccine is given in two doses, four weeks apart. It must be stored between two and eight degrees Celsius. "
        "A sore arm and mild fever are common afterwards. Pregnant women should ask their doctor first.",
        "At what temperature must the vaccine be kept?",
        "It must be stored between two and eight degrees Celsius.",
    ),
    "router": (
        "Hold the reset button of the router for ten seconds to restore the factory settings. "
        "The default password is printed on the label underneath. A red light means that there is no connection. "
        "Updates are installed at night.",
        "What does the red light mean?",
        "A red light means that there is no connection.",
    ),
    "painter": (
        "Elise Morand was born in Lyon in 1861. She studied in Paris under a pupil of Corot. "
        "Her largest work, The Harvest, hangs in the town hall of Dijon. She died poor and almost forgotten.",
        "Where can one see The Harvest?",
        "Her largest work, The Harvest, hangs in the town hall of Dijon.",
    ),
    "bread": (
        "Mix the flour with water and let it rest for an hour. Knead in the salt and the sourdough. "
        "The loaf bakes for fifty minutes at 230 degrees. Let the bread cool on a grid before you cut it.",
        "How long does the loaf have to bake?",
        "The loaf bakes for fifty minutes at 230 degrees.",
    ),
    "octopus": (
        "An octopus has three hearts and blue blood. Two of the hearts pump blood through the gills. "
        "It changes the colour of its skin with thousands of small sacs of pigment. Most species live one year.",
        "How does an octopus change colour?",
        "It changes the colour of its skin with thousands of small sacs of pigment.",
    ),
    "moon": (
        "The moon turns its same side to the earth at all times. Its gravity raises the tides of the sea. "
        "The craters were made by falling meteorites. Twelve people have walked on it so far.",
        "What causes the tides?",
        "Its gravity raises the tides of the sea.",
    ),
}  # fmt: skip

COOKING = [
    "Melt the butter in a heavy pan and stir in the flour until it smells of nuts.",
    "Onions want half an hour on a low flame before they are sweet and brown.",
    "A pinch of salt in the dough keeps the crust from tasting flat.",
    "Simmer the broth with bones, carrots and a bay leaf for three hours.",
    "Whip the cream cold, and fold in the sugar at the very end.",
    "Roast the chicken breast side down so that the meat stays moist.",
    "Rinse the rice until the water runs clear, then steam it under a lid.",
    "Fresh pasta needs only two minutes in boiling salted water.",
]


@pytest.fixture(scope="module")
def encoder(minilm_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Encoder]:
    with Encoder.open(minilm_dir, cache=tmp_path_factory.mktemp("cache")) as opened:
        yield opened


@pytest.fixture(scope="module")
def books(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    folder = tmp_path_factory.mktemp("books")
    for topic, (text, _, _) in CASES.items():
        (folder / f"{topic}.txt").write_text(text)
    with Index.open(tmp_path_factory.mktemp("index"), encoder=encoder) as index:
        index.add([folder])
        yield index


@pytest.fixture(scope="module")
def kitchen(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    folder = tmp_path_factory.mktemp("kitchen")
    for number, text in enumerate(COOKING):
        (folder / f"{number}.txt").write_text(text)
    with Index.open(tmp_path_factory.mktemp("index"), encoder=encoder) as index:
        index.add([folder])
        yield index


# With a real encoder ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("topic", CASES)
def test_sentence_with_the_answer_is_evidence(books: Index, topic: str) -> None:
    text, question, answer = CASES[topic]
    passages = books.search(question)
    assert Path(passages[0].document).stem == topic
    evidence = books.evidence(question, passages)
    assert answer in [sentence.quote for sentence in evidence]
    for sentence in evidence:
        assert books.text(sentence.document)[sentence.start : sentence.end] == sentence.quote
        assert sentence.document != passages[0].document or sentence.quote in text
    assert len({(e.document, e.start) for e in evidence}) == len(evidence) <= 3


def test_sentence_with_the_answer_is_mostly_first(books: Index) -> None:
    """All but one at most: "kept" for "stored" and the vaccine's name in another sentence is hard for this encoder."""
    first = [
        topic
        for topic, (_, question, answer) in CASES.items()
        if books.evidence(question, books.search(question))[0].quote == answer
    ]
    assert len(first) >= len(CASES) - 1, set(CASES) - set(first)


@pytest.mark.parametrize(
    "question",
    [
        "What is the covariant derivative of a metric tensor?",
        "Prove that every compact Hausdorff space is normal.",
        "Which party won the parliamentary election in 1997?",
        "How do I revert a commit in git?",
    ],
)
def test_off_topic_question_finds_nothing(kitchen: Index, question: str) -> None:
    assert kitchen.search(question) == []


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        ("For how many minutes do I boil homemade noodles?", 7),
        ("How do I caramelise an onion?", 1),
        ("How can I prevent poultry from drying out in the oven?", 5),
        ("How long does bone broth have to cook?", 3),
        ("Do I have to wash rice?", 6),
    ],
)
def test_question_in_other_words_finds_its_sentence(kitchen: Index, question: str, sentence: int) -> None:
    assert kitchen.search(question, 1)[0].text == COOKING[sentence]


def test_more_of_a_search_keeps_the_order(books: Index) -> None:
    question = CASES["moon"][1]
    wide = books.search(question, 12)
    assert books.search(question, 2) == wide[:2]
    assert [p.score for p in wide] == sorted((p.score for p in wide), reverse=True)


# By hand ---------------------------------------------------------------------------------------------------------

EAST, NORTH = np.array([1, 0], np.float32), np.array([0, 1], np.float32)


def candidate(number: int, text: str, vector: list[float], *cosines: float, bm25: float = 0.0) -> Candidate:
    """A passage whose sentences have these cosines with `EAST`; the text has one sentence a cosine."""
    parts = text.split(". ")
    starts = np.cumsum([0] + [len(part) + 2 for part in parts])[:-1]
    spans = np.array([(s, s + len(part)) for s, part in zip(starts, parts, strict=True)], np.int32)
    sentences = np.array([(c, math.sqrt(1 - c * c)) for c in cosines], np.float16)
    assert len(sentences) == len(spans)
    return Candidate(number, text, np.array(vector, np.float32), spans, sentences, bm25)


def test_score_of_a_sentence_by_hand() -> None:
    """Twice the cosine, once the share of the rare words, half that share with the sentence before, 0.35 for the kind
    of thing that is asked for; over 3.85."""
    question = Question(EAST, ["seal", "pump"], {"seal": 1, "pump": 4}, 9)
    seal, pump = math.log(1 + 8.5 / 1.5), math.log(1 + 5.5 / 4.5)
    share = seal / (seal + pump)
    one = candidate(1, "A pump stands here. Its seal is green. Nothing else", [1, 0], 0.5, 0.75, -0.5)
    expected = [
        (2 * 0.5 + (1 - share) + 0.5 * (1 - share) + 0.35) / 3.85,
        (2 * 0.75 + share + 0.5 * 1.0 + 0.35) / 3.85,
        (0.0 + 0.0 + 0.5 * share + 0.35) / 3.85,
    ]
    assert question.sentence_scores(one) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("question", "right", "wrong"),
    [
        ("How many seals are there?", "There are 12 seals", "There are red seals"),
        ("When was the seal made?", "The seal was made in 1911", "The seal was made in a hurry"),
        ("Who made the seal?", "The seal was made by Rollo", "The seal was made by hand"),
        ("Who made Rollo's seal?", "For Rollo it was made by Anna", "For Rollo it was made by hand"),
    ],
)
def test_a_sentence_that_holds_what_is_asked_for_counts_more(question: str, right: str, wrong: str) -> None:
    asked = Question(EAST, [], {}, 9, question)
    plain = Question(EAST, [], {}, 9)
    good, bad = candidate(1, right, [1, 0], 0.5), candidate(2, wrong, [1, 0], 0.5)
    assert asked.sentence_scores(good)[0] > asked.sentence_scores(bad)[0]
    assert plain.sentence_scores(good) == plain.sentence_scores(bad) == asked.sentence_scores(good)


def test_score_of_a_passage_by_hand() -> None:
    question = Question(EAST, ["seal"], {"seal": 1}, 9)
    one = candidate(1, "A pump. A seal", [0.6, 0.8], 0.5, 0.8, bm25=4.0)
    sentence = (2 * 0.8 + 1 + 0.5 + 0.35) / 3.85
    expected = 0.145 * 0.6 + 0.36 * 0.8 + 0.02 * 1.0 + 0.38 * sentence + 0.095 * 1.0
    ((_, score),) = rank_passages(question, [one], 5)
    assert score == pytest.approx(expected, abs=1e-3)


def test_of_passages_that_repeat_one_another_the_best_is_kept() -> None:
    question = Question(EAST, ["seal"], {"seal": 1}, 9)
    text = "the seal of the pump is made of black rubber and lasts for many years without any care at all"
    near = [
        candidate(1, text, [1, 0], 0.7),
        candidate(2, text.upper(), [1, 0], 0.8),
        candidate(3, text + " 2024", [1, 0], 0.75),  # another number: another fact
        candidate(4, "a seal is an animal", [1, 0], 0.4),
    ]
    assert [c.id for c, _ in rank_passages(question, near, 5)] == [2, 3, 4]
    assert [c.id for c, _ in rank_passages(question, near, 3)] == [2, 3, 4]


def test_the_probability_that_the_documents_tell() -> None:
    def found(score: float) -> Passage:
        return Passage("x", "/a", None, None, 0, 1, score, "00")

    assert answerable([]) == 0.0
    assert answerable([found(0.39)]) == pytest.approx(0.5)
    assert answerable([found(0.2)]) < 0.01 < 0.99 < answerable([found(0.6)])
    assert answerable([found(0.2), found(0.6)]) == answerable([found(0.6)]), "the best one counts, in any order"


def test_off_topic_and_answerable_questions_fall_on_two_sides(books: Index, kitchen: Index) -> None:
    """Every question against its own index and against the other one; one in twenty may be wrong."""
    wrong = [question for _, question, _ in CASES.values() if answerable(books.search(question)) < 0.5]
    taken = [question for _, question, _ in CASES.values() if answerable(kitchen.search(question)) >= 0.5]
    assert len(wrong) <= 1, wrong
    assert len(taken) <= 1, taken


def test_stems_and_cases_are_the_same_word() -> None:
    question = Question(EAST, ["pump"], {"pump": 1}, 3)
    scores = question.sentence_scores(candidate(1, "PUMPS. A cat. The pumped", [1, 0], 0, 0, 0))
    assert scores[0] > 0
    assert scores[2] > scores[1]


def test_question_of_function_words_goes_by_closeness_alone() -> None:
    question = Question(EAST, [], {}, 3)
    ranked = rank_passages(question, [candidate(1, "x", [1, 0], 0.5), candidate(2, "y", [1, 0], 0.9)], 5)
    assert [c.id for c, _ in ranked] == [2, 1]


def test_floor_is_about_the_best_sentence() -> None:
    question = Question(EAST, ["seal"], {"seal": 1}, 9)
    at = (FLOOR * 3.85 - 0.35) / 2
    high, low = at + 0.02, at - 0.02
    ranked = rank_passages(
        question, [candidate(1, "x. y", [1, 0], low, low), candidate(2, "x. y", [0, 1], low, high)], 5
    )
    assert [c.id for c, _ in ranked] == [2]
    assert rank_passages(question, [candidate(1, "x", [1, 0], low, bm25=9.0)], 5) == []


@pytest.mark.parametrize(
    ("sentence", "query", "reported"),
    [
        ("When is the pump due?", "pump due", True),
        ('Type: edge ask "When is the pump  due?" --docs manuals/', "when is the pump due", True),
        ("The seal of the pump is made of rubber.", "seal of the pump", False),
        ("The seal of the pump is made of rubber.", "Seal", False),
        ("The seal of the pump is made of rubber.", "What is the seal made of?", False),
        ("The seal of the pump is made of rubber.", "the pump?", False),
        ("The seal of the pump is made of rubber.", "?", False),
        ("The seal of the pump is made of rubber.", "", False),
    ],
)
def test_sentence_that_only_asks(sentence: str, query: str, reported: bool) -> None:
    assert asks(sentence, query) is reported


def test_words_and_vectors_both_count() -> None:
    question = Question(EAST, ["seal"], {"seal": 1}, 9)
    near = candidate(1, "x", [1, 0], 0.9)
    worded = candidate(2, "x", [1, 0], 0.9, bm25=5.0)
    far = candidate(3, "x", [0, 1], 0.5, bm25=5.0)
    ranked = rank_passages(question, [far, near, worded], 5)
    assert ranked[0][0].id == 2
    assert {c.id for c, _ in ranked} == {1, 2, 3}
    assert all(0 <= score <= 1 for _, score in ranked)
    assert rank_passages(question, [far, near, worded], 1) == ranked[:1]
    assert rank_passages(question, [], 5) == []


def test_equal_passages_keep_the_order_of_the_index() -> None:
    question = Question(EAST, ["seal"], {"seal": 1}, 9)
    same = [candidate(number, "A seal", [1, 0], 0.8) for number in (7, 3, 5)]
    assert [c.id for c, _ in rank_passages(question, same, 5)] == [3, 5, 7]


def test_passage_without_vectors_of_its_sentences_is_no_answer() -> None:
    question = Question(NORTH, ["seal"], {"seal": 1}, 9)
    empty = Candidate(1, "A seal", NORTH, np.empty((0, 2), np.int32), np.empty((0, 2), np.float16), 3.0)
    assert rank_passages(question, [empty], 5) == []


def test_scores_of_passages_are_what_they_say(kitchen: Index) -> None:
    passages: list[Passage] = kitchen.search("How long do onions take to brown?", 8)
    assert passages[0].text == COOKING[1]
    assert all(FLOOR / 2 <= passage.score <= 1 for passage in passages)


def test_a_command_that_quotes_the_question_does_not_come_before_its_answer(books: Index, tmp_path: Path) -> None:
    """As a README does that shows how to ask itself."""
    folder = tmp_path / "docs"
    folder.mkdir()
    text, question, answer = CASES["lighthouse"]
    (folder / "lighthouse.md").write_text(f"# Light\n\n{text}\n\n# Try\n\n```sh\nedge ask '{question}'\n```\n")
    with Index.open(tmp_path / "index", encoder=books.encoder) as index:
        index.add([folder])
        assert answer in index.search(question)[0].text
