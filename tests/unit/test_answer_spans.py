"""Windows hold whole contexts, and answers are slices of the context as it was given."""

import itertools

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from cloze.errors import ClozeError
from cloze.objectives.answer_spans import (
    AnswerSpan,
    EncodedQuestions,
    WindowLimits,
    encode_questions,
    find_answers,
)
from cloze.tokens.tokenizer import (
    SPECIAL_TOKENS,
    add_framing,
    bert_normalizer,
    bert_tokenizer,
)

CONTEXTS = {
    "english": "The  café — near Zoë's inn — opened\tin 1998; it's closed.",
    "accents apart": "Le cafe\u0301 de Zoe\u0308 a ferme\u0301.",
    "chinese": "黑豹队的防守只丢了 308分，在联赛中排名第六（NFL）。𠀀字。",
    "arabic": "وُلِدَ المُتَنَبِّي في الكُوفَة عام 915م، ومات سنة 965.",
    "emoji": "Wir 👩‍👩‍👧 mögen\u00a0Käse 🧀 sehr.",
}


def wordpiece(lowercase: bool, strip_accents: bool) -> Tokenizer:
    letters = sorted(set("".join(CONTEXTS.values()).casefold() + "".join(CONTEXTS.values())))
    plain = [letter for letter in letters if not letter.isspace()] + list("eou")
    pieces = dict.fromkeys([*SPECIAL_TOKENS, *plain, *(f"##{letter}" for letter in plain)])
    normalizer = bert_normalizer(
        lowercase=lowercase, strip_accents=strip_accents, clean_text=lowercase
    )
    return bert_tokenizer({piece: n for n, piece in enumerate(pieces)}, normalizer, 100)


def byte_level() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CONTEXTS.values(), trainer)
    add_framing(tokenizer)
    return tokenizer


def unigram() -> Tokenizer:
    letters = sorted(set("".join(CONTEXTS.values())) | {"▁"})
    vocab = [(piece, -1.0) for piece in (*SPECIAL_TOKENS, *letters)]
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=1))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    add_framing(tokenizer)
    return tokenizer


TOKENIZERS = {
    "uncased WordPiece": lambda: wordpiece(lowercase=True, strip_accents=True),
    "cased WordPiece": lambda: wordpiece(lowercase=False, strip_accents=False),
    "byte-level BPE": byte_level,
    "Unigram": unigram,
}


def windows_of(tokenizer, context, limits=None, answers=None, question="in") -> EncodedQuestions:
    questions = [question] * (1 if answers is None else len(answers))
    contexts = [context] * len(questions)
    chosen = limits or WindowLimits(256, max_answer_length=200)
    return encode_questions(tokenizer, questions, contexts, chosen, 4096, answers)


def logits_for(windows: EncodedQuestions, positions: np.ndarray) -> np.ndarray:
    """Logits that are highest at these places of each window, [num_windows, 2]."""
    logits = np.full((len(windows.input_ids), 2), -5.0, dtype=np.float32)
    for side in (0, 1):
        logits[windows.offsets[:-1] + positions[:, side], side] = 5.0
    return logits


@pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=TOKENIZERS)
@pytest.mark.parametrize("context", CONTEXTS.values(), ids=CONTEXTS)
def test_every_word_comes_back_as_it_stands_in_the_context(tokenizer, context):
    """From characters to tokens and, by the logits of just these, back to characters."""
    bounds = [0, *(n for n, char in enumerate(context) if char.isspace()), len(context)]
    words = [
        AnswerSpan(start + (context[start].isspace()), end)
        for start, end in itertools.combinations(bounds, 2)
        if context[start:end].strip() and not context[start : start + 2].isspace()
    ]
    words = [word for word in words if context[word.start : word.end].strip()]
    windows = windows_of(tokenizer(), context, answers=words)
    found = find_answers(windows, logits_for(windows, windows.targets))
    expected = [context[word.start : word.end].strip() for word in words]
    got = [
        context[start:end]
        for start, end in zip(found.starts.tolist(), found.ends.tolist(), strict=True)
    ]
    # What a tokenizer drops, such as joiners, is not at the ends of these words.
    assert got == expected


@pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=TOKENIZERS)
@pytest.mark.parametrize("context", CONTEXTS.values(), ids=CONTEXTS)
def test_any_answer_is_a_slice_without_white_space_at_its_ends(tokenizer, context):
    windows = windows_of(tokenizer(), context)
    for seed in range(50):
        generator = np.random.default_rng(seed)
        logits = generator.normal(size=(len(windows.input_ids), 2)).astype(np.float32)
        found = find_answers(windows, logits)
        answer = context[found.starts[0] : found.ends[0]]
        assert answer
        assert answer == answer.strip()


@pytest.fixture(scope="module")
def tokenizer():
    vocab = [*SPECIAL_TOKENS, *(f"w{number}" for number in range(40)), "what", "?"]
    normalizer = bert_normalizer(lowercase=True, strip_accents=True, clean_text=True)
    return bert_tokenizer({token: n for n, token in enumerate(vocab)}, normalizer, 100)


class TestWindows:
    CONTEXT = " ".join(f"w{number}" for number in range(40))

    def texts(self, tokenizer, windows):
        encoded = windows
        return [
            [tokenizer.id_to_token(token) for token in encoded.input_ids[start:stop].tolist()]
            for start, stop in itertools.pairwise(encoded.offsets.tolist())
        ]

    def test_they_overlap_by_doc_stride_and_reach_the_end(self, tokenizer):
        windows = windows_of(tokenizer, self.CONTEXT, WindowLimits(20, 4), question="What?")
        parts = self.texts(tokenizer, windows)
        assert [part[:4] for part in parts] == [["[CLS]", "what", "?", "[SEP]"]] * 4
        assert [part[-1] for part in parts] == ["[SEP]"] * 4
        assert [(part[4], part[-2]) for part in parts] == [
            ("w0", "w14"), ("w11", "w25"), ("w22", "w36"), ("w33", "w39"),
        ]  # fmt: skip
        assert windows.first_lengths.tolist() == [4] * 4
        assert windows.windows_per_question.tolist() == [4]

    def test_they_share_half_at_most(self, tokenizer):
        windows = windows_of(tokenizer, self.CONTEXT, WindowLimits(20, 128), question="What?")
        assert [part[4] for part in self.texts(tokenizer, windows)] == [
            "w0",
            "w8",
            "w16",
            "w24",
            "w32",
        ]

    def test_a_context_that_fits_is_one_window(self, tokenizer):
        windows = windows_of(tokenizer, self.CONTEXT, WindowLimits(45, 4), question="What?")
        assert windows.windows_per_question.tolist() == [1]
        assert windows.lengths.tolist() == [45]

    def test_as_transformers_cuts_them(self, tokenizer):
        transformers = pytest.importorskip("transformers")
        peer = transformers.PreTrainedTokenizerFast(
            tokenizer_object=Tokenizer.from_str(tokenizer.to_str()),
            pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        )  # fmt: skip
        for max_length, stride in itertools.product((12, 17, 20, 44, 45, 64), (0, 1, 3)):
            theirs = peer(
                "What?", self.CONTEXT, max_length=max_length, stride=stride,
                truncation="only_second", return_overflowing_tokens=True,
            )  # fmt: skip
            windows = windows_of(
                tokenizer, self.CONTEXT, WindowLimits(max_length, stride), question="What?"
            )
            ours = np.split(windows.input_ids, windows.offsets[1:-1])
            assert [ids.tolist() for ids in ours] == theirs["input_ids"]

    def test_only_windows_with_the_whole_answer_have_it_as_a_target(self, tokenizer):
        start = self.CONTEXT.index("w14")
        answer = AnswerSpan(start, start + len("w14 w15"))
        windows = windows_of(tokenizer, self.CONTEXT, WindowLimits(20, 4), [answer], "What?")
        # w14 ends the first window; the second has w11 at place 4.
        assert windows.targets.tolist() == [[0, 0], [7, 8], [0, 0], [0, 0]]

    def test_a_question_that_leaves_no_room_is_cut_and_counted(self, tokenizer):
        question = " ".join(["what"] * 30)
        windows = windows_of(tokenizer, self.CONTEXT, WindowLimits(20, 4), question=question)
        assert windows.truncated == 1
        assert windows.first_lengths[0] == 8 + 2
        assert windows.lengths.max() == 20

    def test_windows_that_are_too_short_are_refused(self, tokenizer):
        with pytest.raises(ClozeError, match="--max-length 7: leaves no room"):
            windows_of(tokenizer, self.CONTEXT, WindowLimits(7))

    def test_a_foreign_tokenizer_is_refused(self, tokenizer):
        with pytest.raises(ClozeError, match="not the tokenizer it was trained with"):
            encode_questions(tokenizer, ["What?"], [self.CONTEXT], WindowLimits(20), 30)

    def test_the_best_of_all_windows_counts(self, tokenizer):
        windows = windows_of(tokenizer, self.CONTEXT, WindowLimits(20, 4), question="What?")
        logits = np.zeros((len(windows.input_ids), 2), dtype=np.float32)
        offsets = windows.offsets
        logits[offsets[0] + 6], logits[offsets[2] + 5] = 3.0, 4.0
        logits[offsets[:-1]] = [[5.0, 1.0], [1.0, 1.0], [0.5, 0.25], [2.0, 2.0]]
        found = find_answers(windows, logits)
        assert self.CONTEXT[found.starts[0] : found.ends[0]] == "w23"
        # [CLS] in the window where it is lowest, 0.75, less 4 + 4.
        assert found.null_differences[0] == 0.75 - 8
        assert 0 < found.null_probabilities[0] < found.scores[0] < 1

    def test_probabilities_are_those_of_the_best_answers(self, tokenizer):
        windows = windows_of(tokenizer, "w1 w2", WindowLimits(20, 4), question="What?")
        logits = np.zeros((len(windows.input_ids), 2), dtype=np.float32)
        logits[4] = 1.0
        logits[0] = 1.0
        # Answers w1 (2), w1 w2 (1), w2 (0); no answer 2.
        found = find_answers(windows, logits)
        weights = np.exp([2.0, 1.0, 0.0])
        assert found.scores[0] == pytest.approx(weights[0] / weights.sum())
        assert found.null_probabilities[0] == pytest.approx(np.exp(2) / (weights.sum() + np.exp(2)))

    @pytest.mark.parametrize("max_answer_length", [1, 3, 30])
    def test_the_best_pair_of_logits_wins(self, tokenizer, max_answer_length):
        windows = windows_of(
            tokenizer, self.CONTEXT, WindowLimits(64, 8, max_answer_length), question="What?"
        )
        for seed in range(20):
            generator = np.random.default_rng(seed)
            logits = generator.normal(size=(len(windows.input_ids), 2)).astype(np.float32)
            found = find_answers(windows, logits)
            pairs = {
                (first, last): float(logits[first, 0]) + float(logits[last, 1])
                for first in range(4, 44)
                for last in range(first, min(first + max_answer_length, 44))
            }
            first, last = max(pairs, key=lambda pair: pairs[pair])
            assert found.starts[0] == windows.spans[first, 0]
            assert found.ends[0] == windows.spans[last, 1]

    def test_a_context_without_tokens_has_no_answer(self, tokenizer):
        windows = windows_of(tokenizer, "\u200b", question="What?")
        found = find_answers(windows, np.zeros((5, 2), dtype=np.float32))
        assert (found.starts[0], found.ends[0], found.null_probabilities[0]) == (0, 0, 1.0)

    def test_extreme_logits_stay_numbers(self, tokenizer):
        windows = windows_of(tokenizer, "w1 w2", question="What?")
        logits = np.zeros((len(windows.input_ids), 2), dtype=np.float32)
        logits[0] = 1e6
        found = find_answers(windows, logits)
        values = np.concatenate([getattr(found, field) for field in found._fields])
        assert np.isfinite(values).all()
        assert found.null_probabilities[0] == 1.0
