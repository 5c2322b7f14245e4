from pathlib import Path

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from cloze.cli import log
from cloze.errors import ClozeError
from cloze.objectives.masking import Masker
from cloze.tokens.tokenizer import (
    SPECIAL_TOKENS,
    bert_normalizer,
    bert_tokenizer,
    is_wordpiece,
    load_tokenizer,
    pad_vocab,
    read_vocab,
    special_ids,
    tokens_by_id,
    vocab_size,
)

WORDS = ["do", "not", "caf", "##é", "mask", "[", "]", ".", "don", "'", "t"]


def small_tokenizer() -> Tokenizer:
    vocab = {token: i for i, token in enumerate([*WORDS, *SPECIAL_TOKENS])}
    normalizer = bert_normalizer(lowercase=True, strip_accents=False, clean_text=False)
    return bert_tokenizer(vocab, normalizer, 100)


def test_special_ids_are_looked_up() -> None:
    special = special_ids(small_tokenizer())
    first = len(WORDS)
    assert special.roles() == {
        "pad": first,
        "unk": first + 1,
        "cls": first + 2,
        "sep": first + 3,
        "mask": first + 4,
    }
    assert special.all == set(range(first, first + 5))


def test_roberta_names_and_further_special_tokens() -> None:
    vocab = {name: i for i, name in enumerate(["<s>", "<pad>", "</s>", "<unk>", "<mask>", "a"])}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="<unk>"))
    tokenizer.add_special_tokens(["<s>", "<extra>"])
    tokenizer.add_tokens([AddedToken("plain")])
    special = special_ids(tokenizer)
    assert (special.cls, special.pad, special.sep, special.unk, special.mask) == (0, 1, 2, 3, 4)
    assert special.all == {0, 1, 2, 3, 4, 6}
    assert vocab_size(tokenizer) == 8


def test_missing_special_token() -> None:
    vocab = {name: i for i, name in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    with pytest.raises(ClozeError, match=r"no mask token \(\[MASK\] or <mask>\)"):
        special_ids(tokenizer)
    with pytest.raises(ClozeError, match=r"the vocabulary lacks \[MASK\]"):
        bert_tokenizer(
            vocab, bert_normalizer(lowercase=False, strip_accents=False, clean_text=True), 9
        )


def test_load_forgets_padding_and_truncation_and_reads_special_tokens_as_text(
    tmp_path: Path,
) -> None:
    tokenizer = small_tokenizer()
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=9)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    loaded = load_tokenizer(tmp_path / "tokenizer.json")
    tokens = loaded.encode("Café [MASK] do.").tokens
    assert tokens == ["[CLS]", "caf", "##é", "[", "mask", "]", "do", ".", "[SEP]"]


def test_decoding_rewrites_nothing() -> None:
    tokenizer = small_tokenizer()
    assert tokenizer.decode(tokenizer.encode("do not café.").ids) == "do not café ."
    assert tokenizer.decode(tokenizer.encode("don't").ids) == "don ' t"


def test_pairs_have_two_segments() -> None:
    encoding = small_tokenizer().encode("do", "not")
    assert encoding.tokens == ["[CLS]", "do", "[SEP]", "not", "[SEP]"]
    assert encoding.type_ids == [0, 0, 0, 1, 1]


@pytest.mark.parametrize("content", ["", "{}", "not json", '{"model": {"type": "Nothing"}}'])
def test_not_a_tokenizer(tmp_path: Path, content: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(ClozeError, match=rf"{path}: not a tokenizer\.json .*train_tokenizer\.py"):
        load_tokenizer(path)


def test_missing_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(ClozeError, match=r"tokenizer\.json: no such file"):
        load_tokenizer(tmp_path / "tokenizer.json")


def test_vocabulary_by_id_and_kind_of_model() -> None:
    assert tokens_by_id(small_tokenizer()) == [*WORDS, *SPECIAL_TOKENS]
    assert is_wordpiece(small_tokenizer())
    other = Tokenizer(models.BPE())
    other.pre_tokenizer = pre_tokenizers.ByteLevel()
    assert not is_wordpiece(other)


def test_read_vocab_keeps_characters_that_look_like_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_bytes("a\r\nb\u2028c\r\n\x1cd\r\n".encode())
    assert read_vocab(path) == {"a": 0, "b\u2028c": 1, "\x1cd": 2}


@pytest.mark.parametrize(
    ("content", "vocab", "said"),
    [
        ("a\n\nb\n", {"a": 0, "[unused0]": 1, "b": 2}, "line 2 is empty (1 such lines)"),
        ("a\nb\na\nc\n", {"[unused0]": 0, "b": 1, "a": 2, "c": 3}, "line 1 stands again as line 3"),
        ("a\nb\n\n\n", {"a": 0, "b": 1}, ""),
        ("[unused0]\n\nb\n", {"[unused0]": 0, "[unused1]": 1, "b": 2}, "line 2 is empty"),
    ],
)
def test_a_token_has_the_number_of_its_line_whatever_stands_above(
    tmp_path: Path, content: str, vocab: dict[str, int], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "vocab.txt"
    path.write_text(content, encoding="utf-8")
    warnings: list[str] = []
    monkeypatch.setattr(log, "warning", lambda text, *values: warnings.append(text % values))
    assert read_vocab(path) == vocab
    assert said in "".join(warnings)
    assert bool(warnings) == bool(said)


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "holds no token"), (b"a\n\xff\n", "not UTF-8")]
)
def test_bad_vocab(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "vocab.txt"
    path.write_bytes(content)
    with pytest.raises(ClozeError, match=rf"{path}: {message}"):
        read_vocab(path)


def test_padding_adds_unused_special_tokens() -> None:
    tokenizer = small_tokenizer()
    tokenizer.add_tokens(["[unused1]"])
    size = vocab_size(tokenizer)
    assert pad_vocab(tokenizer, 8) == -size % 8 == 7
    assert vocab_size(tokenizer) == tokenizer.get_vocab_size() == 24
    names = [f"[unused{number}]" for number in (0, 2, 3, 4, 5, 6, 7)]
    assert tokens_by_id(tokenizer)[size:] == names
    assert special_ids(tokenizer).all == set(range(11, 16)) | set(range(17, 24))
    assert pad_vocab(tokenizer, 8) == 0
    tokenizer.encode_special_tokens = True
    assert 17 not in tokenizer.encode("[unused0]").ids


def test_masks_neither_predict_nor_draw_unused_tokens() -> None:
    tokenizer = small_tokenizer()
    pad_vocab(tokenizer, 64)
    special = special_ids(tokenizer)
    masker = Masker(
        vocab_size=vocab_size(tokenizer),
        mask_token_id=special.mask,
        special_token_ids=special.all,
        mlm_probability=0.5,
        max_length=64,
        seed=0,
    )
    input_ids = np.tile(np.arange(64), (200, 1))
    masked = masker.mask(input_ids, np.ones_like(input_ids, dtype=bool), step=0)
    predicted = masked.labels[masked.weights > 0]
    assert set(predicted.tolist()) == set(range(len(WORDS)))
    replaced = masked.input_ids != input_ids
    assert set(masked.input_ids[replaced].tolist()) == {*range(len(WORDS)), special.mask}
