import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

import train_tokenizer
from cloze.tokens.text_encoder import Splitting, TextEncoder
from cloze.tokens.tokenizer import load_tokenizer, special_ids, vocab_size
from tests.texts import MULTILINGUAL, random_text, without_space, write_documents

SCRIPT = Path(train_tokenizer.__file__)
TEXTS = [MULTILINGUAL, *(random_text(seed, 40) for seed in range(20))]
MODELS = ["wordpiece", "bpe", "byte-level-bpe", "unigram"]
BERT = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cafe", "the", "##s", "x", ","]


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("documents") / "train.parquet"
    write_documents(path, TEXTS)
    return path


def train(documents: Path, output: Path, *flags: str) -> int:
    command = ["--documents", str(documents), "--output", str(output), "--vocab-size", "900"]
    return train_tokenizer.main([*command, *flags])


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err


@pytest.mark.parametrize("model", ["wordpiece", "bpe", "byte-level-bpe"])
def test_three_fresh_processes_write_the_same_bytes(
    documents: Path, tmp_path: Path, model: str
) -> None:
    digests = set()
    for seed, threads in [("0", "1"), ("1", "4"), ("random", "2")]:
        output = tmp_path / f"{seed}-{threads}"
        environment = {**os.environ, "PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": threads}
        arguments = ["--documents", documents, "--output", output, "--vocab-size", "900"]
        command = [sys.executable, SCRIPT, *arguments, "--model", model, "--threads", threads]
        subprocess.run([str(part) for part in command], check=True, env=environment)
        files = sorted(set(output.iterdir()) - {output / "metrics.json"})
        assert (output / "vocab.txt" in files) == (model == "wordpiece")
        content = b"\0".join(file.read_bytes() for file in files)
        digests.add(hashlib.sha256(content).hexdigest())
    assert len(digests) == 1


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], "Ünïcödé DO naïve"),
        (["--lowercase"], "ünïcödé do naïve"),
        (["--strip-accents"], "Unicode DO naive"),
        (["--lowercase", "--strip-accents"], "unicode do naive"),
        (["--unicode-normalization", "nfc"], "Ünïcödé DO naïve"),
    ],
)
def test_case_and_accents(
    documents: Path, tmp_path: Path, model: str, flags: list[str], expected: str
) -> None:
    assert train(documents, tmp_path, "--model", model, *flags) == 0
    tokenizer = load_tokenizer(tmp_path / "tokenizer.json")
    ids = tokenizer.encode("Ünïcödé DO naïve").ids
    assert without_space(tokenizer.decode(ids)) == without_space(expected)


@pytest.mark.parametrize("model", MODELS)
def test_unicode_normalization(documents: Path, tmp_path: Path, model: str) -> None:
    assert train(documents, tmp_path, "--model", model, "--unicode-normalization", "nfkc") == 0
    tokenizer = load_tokenizer(tmp_path / "tokenizer.json")
    assert tokenizer.encode("cafe\u0301 \ufb01").ids == tokenizer.encode("caf\u00e9 fi").ids


@pytest.mark.parametrize("model", MODELS)
def test_the_fast_encoder_gives_the_same_ids(documents: Path, tmp_path: Path, model: str) -> None:
    flags = ["--model", model, "--pad-vocab-to-multiple-of", "64"]
    assert train(documents, tmp_path, *flags) == 0
    tokenizer = load_tokenizer(tmp_path / "tokenizer.json")
    encoder = TextEncoder(tokenizer)
    assert encoder.splitting is not Splitting.AT_LINES
    texts = [*TEXTS, *(random_text(seed, 40) for seed in range(100, 110))]
    lines = [line for text in texts for line in text.split("\n") if line.strip(" \t\r")]
    contents = [line.encode() for line in lines]
    offsets = np.cumsum([0, *map(len, contents)])
    encoded = encoder.encode(np.frombuffer(b"".join(contents), np.uint8), offsets)
    expected = [tokenizer.encode(line, add_special_tokens=False).ids for line in lines]
    assert encoded.input_ids.tolist() == [token for ids in expected for token in ids]
    assert np.diff(encoded.document_offsets).tolist() == list(map(len, expected))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("model_type", [None, "bert", "modernbert"])
def test_transformers_reads_the_same_tokenizer(
    documents: Path, tmp_path: Path, model: str, model_type: str | None
) -> None:
    from transformers import AutoTokenizer

    flags = ["--model", model, "--pad-vocab-to-multiple-of", "64"]
    assert train(documents, tmp_path, *flags) == 0
    if model_type:
        (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    ours = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text in [*TEXTS, "Ünseen Wörds do not vanish. [MASK] x\u200cy"]:
        assert theirs(text)["input_ids"] == ours.encode(text).ids
        assert theirs(text, "two")["input_ids"] == ours.encode(text, "two").ids
    assert set(theirs(MULTILINGUAL)) == {"input_ids", "attention_mask"}
    assert (theirs.pad_token_id, theirs.unk_token_id, theirs.cls_token_id) == (0, 1, 2)
    assert (theirs.sep_token_id, theirs.mask_token_id, len(theirs)) == (3, 4, 960)
    assert theirs.convert_tokens_to_ids("[unused0]") == ours.token_to_id("[unused0]")
    plain = TEXTS[1]
    decoded = theirs.decode(theirs(plain, add_special_tokens=False)["input_ids"])
    assert without_space(decoded) == without_space(plain)


def test_vocab_txt_lists_tokens_by_id_and_gives_the_same_tokenizer(
    documents: Path, tmp_path: Path
) -> None:
    assert train(documents, tmp_path / "trained") == 0
    trained = load_tokenizer(tmp_path / "trained" / "tokenizer.json")
    vocab = tmp_path / "trained" / "vocab.txt"
    lines = vocab.read_text(encoding="utf-8").split("\n")
    assert lines[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert lines[:-1] == [trained.id_to_token(i) for i in range(trained.get_vocab_size())]
    again = ["--vocab", str(vocab), "--output", str(tmp_path / "again")]
    assert train_tokenizer.main(again) == 0
    taken = load_tokenizer(tmp_path / "again" / "tokenizer.json")
    assert taken.get_vocab() == trained.get_vocab()
    assert (tmp_path / "again" / "vocab.txt").read_bytes() == vocab.read_bytes()


def test_metrics(documents: Path, tmp_path: Path) -> None:
    assert train(documents, tmp_path, "--limit-alphabet", "100") == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())["metrics"]
    assert metrics["documents"] == len(TEXTS)
    assert metrics["alphabet"] == 100
    assert metrics["dropped_characters"] > 0
    assert metrics["special_ids"] == {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4}
    assert metrics["text_bytes"] == metrics["training_bytes"] == sum(len(t.encode()) for t in TEXTS)
    content = (tmp_path / "tokenizer.json").read_bytes()
    assert metrics["tokenizer_sha256"] == hashlib.sha256(content).hexdigest()


def test_training_text_is_capped(tmp_path: Path) -> None:
    texts = [f"{word} " * 100 for word in ("early", "middle", "late")]
    write_documents(tmp_path / "train.parquet", [text for text in texts for _ in range(40)])
    flags = ["--max-training-bytes", "15000", "--vocab-size", "100"]
    assert train(tmp_path / "train.parquet", tmp_path / "out", *flags) == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())["metrics"]
    assert metrics["text_bytes"] == 72_000
    assert 14_000 < metrics["training_bytes"] <= 15_000
    vocab = load_tokenizer(tmp_path / "out" / "tokenizer.json").get_vocab()
    assert {"early", "middle", "late"} <= vocab.keys()


@pytest.mark.parametrize("model", ["wordpiece", "bpe", "unigram"])
def test_no_character_of_text_beyond_the_cap_is_unknown(tmp_path: Path, model: str) -> None:
    rare = "żółw"
    texts = ["common words again " * 20] * 40 + [f"{rare} " + "words " * 40]
    write_documents(tmp_path / "train.parquet", texts)
    flags = ["--max-training-bytes", "1000", "--vocab-size", "120", "--model", model]
    assert train(tmp_path / "train.parquet", tmp_path / "out", *flags) == 0
    tokenizer = load_tokenizer(tmp_path / "out" / "tokenizer.json")
    encoding = tokenizer.encode(rare, add_special_tokens=False)
    assert "[UNK]" not in encoding.tokens


def test_vocab_is_padded(documents: Path, tmp_path: Path) -> None:
    assert train(documents, tmp_path / "trained", "--pad-vocab-to-multiple-of", "64") == 0
    tokenizer = load_tokenizer(tmp_path / "trained" / "tokenizer.json")
    metrics = json.loads((tmp_path / "trained" / "metrics.json").read_text())["metrics"]
    assert vocab_size(tokenizer) == metrics["vocab_size"] == 960
    assert metrics["unused_tokens"] == 60
    assert special_ids(tokenizer).all == {*range(5), *range(900, 960)}
    lines = (tmp_path / "trained" / "vocab.txt").read_text(encoding="utf-8").split("\n")
    assert lines[900:] == [*(f"[unused{number}]" for number in range(60)), ""]
    vocab = tmp_path / "trained" / "vocab.txt"
    flags = ["--vocab", str(vocab), "--pad-vocab-to-multiple-of", "1000"]
    assert train_tokenizer.main([*flags, "--output", str(tmp_path / "taken")]) == 0
    taken = load_tokenizer(tmp_path / "taken" / "tokenizer.json")
    assert taken.token_to_id("[unused60]") == 960
    assert special_ids(taken).all == {*range(5), *range(960, 1000)}


def test_a_limited_alphabet_of_bytes(
    documents: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--model", "byte-level-bpe", "--limit-alphabet", "100"]
    assert train(documents, tmp_path, *flags) == 1
    assert "limit_alphabet has no meaning for byte-level-bpe" in error_of(capsys)


def test_an_existing_vocab_txt_is_taken_with_its_ids(tmp_path: Path) -> None:
    from transformers import BertTokenizer

    vocab = tmp_path / "vocab.txt"
    vocab.write_text("\n".join(BERT) + "\n")
    flags = ["--vocab", str(vocab), "--lowercase", "--strip-accents"]
    assert train_tokenizer.main([*flags, "--output", str(tmp_path / "out")]) == 0
    ours = load_tokenizer(tmp_path / "out" / "tokenizer.json")
    theirs = BertTokenizer(vocab=str(vocab), do_lower_case=True)
    for text in [
        "The Cafés, x\u200cs",
        "Café",
        "café [MASK] x" + "s" * 101,
        "中x",
        "\ufffdthe\x01s",
    ]:
        ours.encode_special_tokens = False
        assert ours.encode(text).ids == theirs(text)["input_ids"]
    assert ours.token_to_id("[CLS]") == 3
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())["metrics"]
    assert metrics["special_ids"] == {"pad": 0, "unk": 2, "cls": 3, "sep": 4, "mask": 5}


@pytest.mark.skipif("CLOZE_DATA" not in os.environ, reason="needs CLOZE_DATA")
def test_the_vocabulary_of_bert_base_uncased(tmp_path: Path) -> None:
    from transformers import BertTokenizer

    vocab = Path(os.environ["CLOZE_DATA"]) / "bert-base-uncased" / "vocab.txt"
    flags = ["--vocab", str(vocab), "--lowercase", "--strip-accents"]
    assert train_tokenizer.main([*flags, "--output", str(tmp_path)]) == 0
    ours = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    theirs = BertTokenizer(vocab=str(vocab), do_lower_case=True)
    assert all(ours.encode(text).ids == theirs(text)["input_ids"] for text in TEXTS)
    assert (tmp_path / "vocab.txt").read_bytes() == vocab.read_bytes()


def test_an_existing_tokenizer_json_is_copied(documents: Path, tmp_path: Path) -> None:
    assert train(documents, tmp_path / "first") == 0
    path = tmp_path / "first" / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text())))
    arguments = ["--vocab", str(path), "--output", str(tmp_path / "second"), "--lowercase"]
    assert train_tokenizer.main(arguments) == 0
    assert (tmp_path / "second" / "tokenizer.json").read_bytes() == path.read_bytes()
    first = (tmp_path / "first" / "vocab.txt").read_bytes()
    assert (tmp_path / "second" / "vocab.txt").read_bytes() == first


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("texts", [[], [""], [" \n", "\t"]])
def test_empty_corpus(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], model: str, texts: list[str]
) -> None:
    write_documents(tmp_path / "train.parquet", texts)
    assert train(tmp_path / "train.parquet", tmp_path / "out", "--model", model) == 1
    assert "train.parquet: the corpus is empty" in error_of(capsys)
    assert not (tmp_path / "out" / "tokenizer.json").exists()


@pytest.mark.parametrize("model", MODELS)
def test_vocabulary_too_small(
    documents: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], model: str
) -> None:
    assert train(documents, tmp_path, "--vocab-size", "30", "--model", model) == 1
    assert "train.parquet: vocab_size of 30 is too small" in error_of(capsys)


def test_vocabulary_without_a_special_token(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vocab = tmp_path / "vocab.txt"
    vocab.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n")
    assert train_tokenizer.main(["--vocab", str(vocab), "--output", str(tmp_path / "out")]) == 1
    assert f"{vocab}: the vocabulary lacks [MASK]" in error_of(capsys)
