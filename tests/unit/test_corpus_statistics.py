import dataclasses

import numpy as np
import pytest

from cloze.show.corpus import (
    Distribution,
    RowStatistics,
    describe_lengths,
    describe_vocabulary,
    own_text_lengths,
)
from cloze.show.corpus_page import FIGURES, draw_figures
from cloze.show.figures import for_a_file, for_a_page
from cloze.tokens.shards import Rows

CLS, SEP = 2, 3


def make_rows(rows: list[list[tuple[int, list[list[list[int]]]]]]) -> Rows:
    """Rows of samples `(document, sentences of words of ids)`; a negative id goes on a sentence."""
    ids: list[int] = []
    words: list[bool] = []
    sentences: list[bool] = []
    documents: list[int] = []
    row_offsets, sample_offsets = [0], [0]
    for row in rows:
        for document, text in row:
            documents.append(document)
            ids, words, sentences = [*ids, CLS], [*words, True], [*sentences, True]
            for sentence in text:
                for number, word in enumerate(sentence):
                    ids += [abs(token) for token in word]
                    words += [place == 0 for place in range(len(word))]
                    sentences += [
                        number == place == 0 and token > 0 for place, token in enumerate(word)
                    ]
            ids, words, sentences = [*ids, SEP], [*words, True], [*sentences, False]
            sample_offsets.append(len(ids))
        row_offsets.append(len(ids))
    return Rows(
        max_length=8, row_length=16, vocab_size=12, input_ids=np.array(ids, np.uint16),
        row_offsets=np.array(row_offsets), sample_offsets=np.array(sample_offsets),
        word_starts=np.array(words), sentence_starts=np.array(sentences),
        documents=np.array(documents, np.uint32),
        second_lengths=np.zeros(len(documents), np.uint32),
        is_next=np.zeros(len(documents), np.bool_),
    )  # fmt: skip


FIRST = make_rows(
    [
        [(0, [[[5], [6, 7]], [[5]]]), (1, [[[8]]])],
        [(0, [[[5], [5], [1]]])],
    ]
)
SECOND = make_rows([[(2, [[[5, 6, 7], [9]]]), (2, [[[-6], [-7]], [[10]]])]])


def counted() -> RowStatistics:
    statistics = RowStatistics(12, CLS, SEP)
    statistics.add(FIRST)
    statistics.add(SECOND)
    return statistics


def summary_of(lengths: list[int]) -> dict[str, float] | None:
    distribution = Distribution()
    distribution.add(np.array(lengths, np.int64))
    return distribution.summary()


def test_lengths_of_documents_sentences_samples_and_rows() -> None:
    statistics = counted()
    assert statistics.documents.summary() == summary_of([7, 1, 7])
    assert statistics.samples.summary() == summary_of([6, 3, 5, 6, 5])
    assert statistics.rows.summary() == summary_of([9, 5, 11])
    # A sentence that a sample goes on with was counted where it began.
    assert statistics.sentences.summary() == summary_of([3, 1, 1, 3, 4, 1])
    assert statistics.cut_sentences == 1


def test_tokens_leave_the_frame_out() -> None:
    statistics = counted()
    assert statistics.own_tokens == 15
    assert statistics.tokens.tolist() == [0, 1, 5, 5, 0, 5, 3, 3, 1, 1, 1, 0]
    assert (statistics.pairs, statistics.true_pairs) == (0, 0)


def test_a_borrowed_second_text_is_not_of_the_document() -> None:
    true = [(0, [[[5], [6]], [[SEP]], [[7]]])]
    false = [(1, [[[8]], [[SEP]], [[9], [10]]])]
    rows = make_rows([true, false])
    rows = dataclasses.replace(
        rows, second_lengths=np.array([2, 3], np.uint32), is_next=np.array([True, False])
    )
    assert own_text_lengths(rows).tolist() == [3, 1]
    statistics = RowStatistics(12, CLS, SEP)
    statistics.add(rows)
    assert (statistics.pairs, statistics.true_pairs, statistics.own_tokens) == (2, 1, 4)
    assert statistics.documents.summary() == summary_of([3, 1])
    assert statistics.sentences.summary() == summary_of([2, 1, 1, 2])


def test_blocks_add_up() -> None:
    one, two = RowStatistics(12, CLS, SEP), counted()
    for rows in (FIRST, SECOND, FIRST):
        one.add(rows)
    two.add(FIRST)
    assert describe_lengths(one, 8, 16) == describe_lengths(two, 8, 16)
    assert one.tokens.tolist() == two.tokens.tolist()


def test_quantiles_are_those_of_the_lengths() -> None:
    lengths = np.random.default_rng(0).integers(1, 500, 1000)
    summary = summary_of(lengths.tolist())
    assert summary is not None
    ordered = np.sort(lengths)
    assert summary["mean"] == pytest.approx(lengths.mean())
    assert (summary["min"], summary["max"]) == (ordered[0], ordered[-1])
    for name, share in (("p5", 0.05), ("median", 0.5), ("p95", 0.95)):
        assert np.mean(lengths <= summary[name]) >= share
        assert np.mean(lengths < summary[name]) < share
    assert Distribution().summary() is None


@pytest.mark.parametrize(("max_length", "row_length"), [(8, 16), (128, 128), (512, 2048), (37, 41)])
def test_every_length_lies_in_a_bin(max_length: int, row_length: int) -> None:
    statistics = RowStatistics(4, CLS, SEP)
    for distribution, longest in (
        (statistics.sentences, max_length), (statistics.samples, max_length),
        (statistics.rows, row_length), (statistics.documents, 100_000),
    ):  # fmt: skip
        distribution.add(np.arange(1, longest + 1))
    for lengths in describe_lengths(statistics, max_length, row_length).values():
        edges = lengths["edges"]
        assert edges == sorted(set(edges))
        assert all(isinstance(edge, int) for edge in edges)
        assert lengths["counts"] == np.diff(edges).tolist()
        assert sum(lengths["counts"]) == lengths["summary"]["count"]


def test_the_vocabulary_is_ranked_without_special_tokens() -> None:
    counts = np.array([0, 6, 50, 50, 0, 7, 0, 30, 7, 1, 0])
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "d", "e", None]
    found = describe_vocabulary(counts, tokens, {0, 1, 2, 3, 4}, unknown=1)
    assert [entry["token"] for entry in found["most_frequent"]] == ["c", "a", "d", "e"]
    assert [entry["token"] for entry in found["least_frequent"]] == ["e", "d", "a", "c"]
    assert found["never_used_examples"] == [{"token": "b", "id": 6, "count": 0}]
    assert (found["size"], found["used"], found["never_used"]) == (11, 4, 1)
    assert found["unknown_share"] == 6 / (6 + 45)
    assert found["frequency_by_rank"] == [[1, 30], [2, 7], [3, 7], [4, 1]]


def facts() -> dict[str, object]:
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefg"]
    vocabulary = describe_vocabulary(counted().tokens, tokens, range(5), 1)
    return {
        "row_length": 16, "lengths": describe_lengths(counted(), 8, 16), "vocabulary": vocabulary,
    }  # fmt: skip


def test_figures_are_the_same_each_time_and_take_the_colours_of_their_place() -> None:
    figures = draw_figures(facts())
    assert figures == draw_figures(facts())
    assert list(figures) == list(FIGURES)
    for name, svg in figures.items():
        alone, inline = for_a_file(svg), for_a_page(svg, FIGURES[name])
        assert alone.startswith("<?xml")
        assert inline.startswith("<svg viewBox=")
        assert f"<title>{FIGURES[name]}</title>" in inline
        assert "currentColor" in inline
        assert "var(--first)" in inline
        assert 'fill="#ffffff"' in alone
        for text in (alone, inline):
            assert "#010203" not in text
            assert "#040506" not in text
            assert "<dc:date>" not in text
