"""Tokenizers in the files that people have, against `transformers` where it reads them too."""

import json
import struct

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from cloze.errors import ClozeError
from cloze.files import read_json, write_json
from cloze.tokens.tokenizer import load_tokenizer, special_ids, special_tokens
from cloze.tokens.tokenizer_folder import copy_tokenizer, import_tokenizer, tokenizer_of_folder
from tests.tiny import SPECIAL, write_tokenizer

transformers = pytest.importorskip("transformers")

TEXT = "A café of old, it was; it was lovely. It's <mask> here"
ROBERTA = ["<s>", "<pad>", "</s>", "<unk>"]


def write_byte_level(folder, special=(*ROBERTA, "<mask>")):
    """Write RoBERTa's `vocab.json` and `merges.txt`, trained on a few words."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=list(special), show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator([TEXT] * 5, trainer)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.model.save(str(folder))
    return folder


def message(*fields):
    """A message of protocol buffers of texts, bytes, floats and whole numbers."""
    found = b""
    for number, value in fields:
        if isinstance(value, float):
            found += bytes([number << 3 | 5]) + struct.pack("<f", value)
        elif isinstance(value, int):
            found += bytes([number << 3, value])
        else:
            data = value.encode() if isinstance(value, str) else value
            size = len(data)
            length = bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])
            found += bytes([number << 3 | 2]) + length + data
    return found


PIECES = ["▁", "▁it", "▁was", "a", "c", "f", "l", "o", "v", "e", "y", ".", "i", "t", "w", "s"]


def write_sentencepiece(folder, first=("<unk>", "<s>", "</s>"), kind=1):
    pieces = [(text, 0.0) for text in first]
    pieces += [(text, -1.0 - number / 8) for number, text in enumerate(PIECES)]
    model = b"".join(message((1, message((1, text), (2, score)))) for text, score in pieces)
    model += message((2, message((3, kind))))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sentencepiece.bpe.model").write_bytes(model)
    return folder


def test_a_vocabulary_with_merges_is_robertas(tmp_path):
    folder = write_byte_level(tmp_path)
    write_json(folder / "config.json", {"model_type": "roberta"})
    ours = tokenizer_of_folder(folder)
    vocab, merges = models.BPE.read_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
    # As in the tokenizer.json of roberta-base, and in version 4 for every folder.
    mask = transformers.AddedToken("<mask>", lstrip=True, special=True)
    theirs = transformers.RobertaTokenizer(vocab=vocab, merges=merges, mask_token=mask)
    ours.encode_special_tokens = False
    for text in (TEXT, " two  spaces", "it was\nit"):
        assert ours.encode(text).ids == theirs(text)["input_ids"]
    assert ours.encode("it was", "it").ids == theirs("it was", "it")["input_ids"]
    special = special_ids(ours)
    assert special.roles() == {"pad": 1, "unk": 3, "cls": 0, "sep": 2, "mask": 4}
    assert special.separators == 2
    assert special_tokens(ours)["mask"] == "<mask>"


@pytest.mark.parametrize(
    ("kind", "family", "first", "mask"),
    [
        ("xlm-roberta", "XLMRoberta", ("<unk>", "<s>", "</s>"), 4 + len(PIECES)),
        ("camembert", "Camembert", ("<unk>", "<s>", "</s>"), 7 + len(PIECES)),
    ],
)
def test_a_sentencepiece_model_is_numbered_as_its_family_does(kind, family, first, mask, tmp_path):
    folder = write_sentencepiece(tmp_path, first)
    write_json(folder / "config.json", {"model_type": kind})
    ours = tokenizer_of_folder(folder)
    vocabulary = [
        (token, score) for token, score in json.loads(ours.to_str())["model"]["vocab"]
    ]  # fmt: skip
    assert vocabulary[1][0] == "<pad>"
    theirs = getattr(transformers, f"{family}Tokenizer")(vocab=vocabulary)
    ours.encode_special_tokens = False
    # Its own class takes `<s>` of a CamemBERT from the pieces, as its slow tokenizer did.
    for text in ("it was it", "it  was lovely.", "clova <mask> it"):
        expected = theirs(text, add_special_tokens=False)["input_ids"]
        assert ours.encode(text, add_special_tokens=False).ids == expected
    assert special_ids(ours).mask == mask
    assert special_ids(ours).separators == 2
    assert ours.decode(ours.encode("it was lovely.").ids) == "it was lovely."


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda f: write_json(f / "config.json", {"model_type": "albert"}), "is of a albert"),
        (
            lambda f: (
                write_json(f / "config.json", {"model_type": "bert"}),
                write_json(
                    f / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"}
                ),
            ),
            "is of a bert, and Cloze numbers the pieces",
        ),
        (lambda f: write_sentencepiece(f, kind=2), "holds no Unigram vocabulary"),
        (lambda f: (f / "sentencepiece.bpe.model").write_bytes(b"\x0a\xff\xff"), "not a Sentence"),
        (lambda f: (f / "sentencepiece.bpe.model").write_bytes(b""), "holds no Unigram"),
    ],
)
def test_sentencepiece_models_of_other_kinds_are_named(write, message, tmp_path):
    folder = write_sentencepiece(tmp_path)
    write_json(folder / "config.json", {"model_type": "camembert"})
    write(folder)
    with pytest.raises(ClozeError, match=message):
        tokenizer_of_folder(folder)


def write_vocab(folder, *lines):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join([*SPECIAL, *lines]) + "\n", encoding="utf-8")
    return folder


def test_added_tokens_follow_a_vocabulary(tmp_path):
    folder = write_vocab(tmp_path, "film", "##s")
    write_json(folder / "added_tokens.json", {"<user>": 7, "<url>": 8})
    tokenizer = tokenizer_of_folder(folder)
    assert tokenizer.encode("film <url> films", add_special_tokens=False).ids == [5, 8, 5, 6]
    import_tokenizer(folder, tmp_path / "out", entries=9)
    again = load_tokenizer(tmp_path / "out" / "tokenizer.json")
    assert again.encode("film <url> films", add_special_tokens=False).ids == [5, 8, 5, 6]
    with pytest.raises(ClozeError, match="has 9 entries, the encoder 8"):
        import_tokenizer(folder, tmp_path / "out", entries=8)
    write_json(folder / "added_tokens.json", {"<user>": 11})
    with pytest.raises(ClozeError, match="added token '<user>' is number 11"):
        tokenizer_of_folder(folder)
    write_json(folder / "added_tokens.json", ["<user>"])
    with pytest.raises(ClozeError, match="no table of tokens and numbers"):
        tokenizer_of_folder(folder)


def test_tokens_that_tokenizer_json_lacks_are_added(tmp_path):
    write_tokenizer(tmp_path)
    write_json(tmp_path / "added_tokens.json", {"w3": 8, "<user>": 64})
    assert tokenizer_of_folder(tmp_path).encode("w3 <user>", add_special_tokens=False).ids == [
        8,
        64,
    ]
    copy_tokenizer(tmp_path, tmp_path / "copy", 16)
    assert load_tokenizer(tmp_path / "copy" / "tokenizer.json").token_to_id("<user>") == 64


def test_a_copy_says_how_long_a_text_its_model_reads(tmp_path):
    write_tokenizer(tmp_path)
    write_json(tmp_path / "tokenizer_config.json", {"model_max_length": 512, "pad_token": "[PAD]"})
    copy_tokenizer(tmp_path, tmp_path / "copy", 16)
    settings = read_json(tmp_path / "copy" / "tokenizer_config.json")
    assert settings == {"model_max_length": 16, "pad_token": "[PAD]"}


def test_whole_tokenizers_are_copied_to_the_bit(tmp_path):
    path = write_tokenizer(tmp_path)
    copy_tokenizer(tmp_path, tmp_path / "copy", 16)
    assert (tmp_path / "copy" / "tokenizer.json").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"auto_map": {"AutoTokenizer": ["t.Mine", None]}}, "code of the folder's own"),
        ({"tokenizer_class": "BertJapaneseTokenizer"}, "tokenizer_class BertJapaneseTokenizer"),
        ({"tokenizer_class": "BertweetTokenizer"}, "tokenizer_class BertweetTokenizer"),
        ({"do_basic_tokenize": False}, "do_basic_tokenize false"),
        ([], "holds no object"),
    ],
)
def test_tokenizers_that_need_code_are_refused_by_name(settings, message, tmp_path):
    folder = write_vocab(tmp_path, "film")
    write_json(folder / "tokenizer_config.json", settings)
    with pytest.raises(ClozeError, match=message):
        tokenizer_of_folder(folder)


def test_the_class_may_stand_in_the_models_configuration(tmp_path):
    folder = write_vocab(tmp_path, "film")
    write_json(folder / "config.json", {"tokenizer_class": "BertJapaneseTokenizer"})
    with pytest.raises(ClozeError, match="tokenizer_class BertJapaneseTokenizer"):
        tokenizer_of_folder(folder)


def test_a_vocabulary_of_bytes_needs_no_unknown_token(tmp_path):
    folder = write_byte_level(tmp_path, special=("<s>", "<pad>", "</s>", "<mask>"))
    special = special_ids(tokenizer_of_folder(folder))
    assert special.unk is None
    assert special.roles() == {"pad": 1, "cls": 0, "sep": 2, "mask": 3}
    write_byte_level(tmp_path / "gpt2", special=())
    with pytest.raises(ClozeError, match="the vocabulary has no pad token"):
        special_ids(tokenizer_of_folder(tmp_path / "gpt2"))


def test_a_folder_without_a_tokenizer_is_told_what_to_add(tmp_path):
    with pytest.raises(
        ClozeError, match=r"neither tokenizer\.json nor vocab\.txt, nor vocab\.json"
    ):
        tokenizer_of_folder(tmp_path)
