"""The tokenizer of a model folder, in whichever files it lies.

| files | tokenizer |
|---|---|
| `tokenizer.json` | as it is |
| `vocab.txt` | BERT's pipeline around a WordPiece vocabulary |
| `vocab.json` and `merges.txt` | RoBERTa's byte-level BPE |
| `sentencepiece.bpe.model` and the like | the Unigram model of XLM-R or CamemBERT |

Nothing of a folder is ever run: a tokenizer that needs code is refused by name.
"""

import logging
import shutil
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from cloze.cli import log
from cloze.errors import ClozeError
from cloze.files import atomic_path, read_json, write_json
from cloze.tokens.sentencepiece import tokenizer_of_sentencepiece
from cloze.tokens.tokenizer import (
    bert_normalizer,
    bert_tokenizer,
    load_tokenizer,
    read_vocab,
    special_ids,
    vocab_size,
    write_tokenizer_config,
)

# What BERT's own vocabularies were made for.
_MAX_INPUT_CHARS_PER_WORD = 100
_FAST, _SETTINGS, _ADDED = "tokenizer.json", "tokenizer_config.json", "added_tokens.json"
_SLOW = ("vocab.txt", "vocab.json", "merges.txt")
_SENTENCEPIECE = ("sentencepiece.bpe.model", "spiece.model", "sentencepiece.model")
# Classes of `transformers` whose rules are those that the files are read by here.
_OF_VOCAB = ("Bert", "DistilBert", "Electra")
_OF_MERGES = ("Roberta", "GPT2", "Longformer", "Bart")
_OF_SENTENCEPIECE = ("XLMRoberta", "Camembert")
# Ones that say nothing of their own.
_OF_ANY = ("PreTrained", "TokenizersBackend")
# Further ones that do no more than what `tokenizer.json` says.
_OF_FAST = (
    "MPNet", "Albert", "BigBird", "Codegen", "Deberta",
    "DebertaV2", "Funnel", "GPTNeoX", "Gemma", "LayoutLM", "Llama", "Lxmert", "MobileBert",
    "Barthez", "MBart", "Qwen2", "RemBert", "T5", "XLNet",
)  # fmt: skip


def tokenizer_of_folder(folder: Path) -> Tokenizer:
    """Load the tokenizer of a model folder, without padding or truncation.

    Text that spells a special token is encoded as the text it is. Raises `ClozeError` if there
    is none, if it needs code, or if its files contradict each other.
    """
    tokenizer = _tokenizer(folder)
    tokenizer.encode_special_tokens = True
    return tokenizer


def _tokenizer(folder: Path) -> Tokenizer:
    settings = _settings(folder)
    model = next((folder / name for name in _SENTENCEPIECE if (folder / name).is_file()), None)
    if (folder / _FAST).is_file():
        known = (*_OF_VOCAB, *_OF_MERGES, *_OF_SENTENCEPIECE, *_OF_FAST)
        _require_class(folder, settings, known)
        tokenizer = load_tokenizer(folder / _FAST)
        added = _added_tokens(folder, {})
        _add(
            tokenizer, {k: v for k, v in added.items() if tokenizer.token_to_id(k) is None}, folder
        )
        return tokenizer
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        _require_class(folder, settings, _OF_MERGES)
        tokenizer = _byte_level_bpe(folder, settings)
    elif (folder / "vocab.txt").is_file():
        _require_class(folder, settings, _OF_VOCAB)
        tokenizer = _wordpiece(folder, settings)
    elif model is not None:
        _require_class(folder, settings, _OF_SENTENCEPIECE)
        tokenizer = tokenizer_of_sentencepiece(model, _sentencepiece_kind(folder, settings))
        _frame_with_two(tokenizer)
    else:
        raise ClozeError(
            f"{folder}: has neither tokenizer.json nor vocab.txt, nor vocab.json with merges.txt, "
            "nor sentencepiece.bpe.model; add one of them"
        )
    _add(tokenizer, _added_tokens(folder, settings), folder)
    return tokenizer


def tokenizer_files(folder: Path) -> list[Path]:
    """Return the files of a folder that decide its tokens."""
    fast = folder / _FAST
    slow = (folder / name for name in (*_SLOW, *_SENTENCEPIECE, _SETTINGS))
    files = [fast] if fast.is_file() else [path for path in slow if path.is_file()]
    return [*files, *(path for path in [folder / _ADDED] if path.is_file())]


def copy_tokenizer(source: Path, folder: Path, max_length: int) -> None:
    """Write the tokenizer of `source` as `tokenizer.json`, and what `tokenizer_config.json` says.

    A `tokenizer.json` that is so already is copied to the bit. `max_length`: tokens that the model
    in `folder` reads, as `model_max_length`, so that `transformers` can cut what is longer.
    """
    if _is_whole(source):
        _copy(source, folder, _FAST, _SETTINGS)
    else:
        save_tokenizer(tokenizer_of_folder(source), folder)
    if (folder / _SETTINGS).is_file():
        settings = read_json(folder / _SETTINGS)
        write_json(folder / _SETTINGS, {**settings, "model_max_length": max_length})


def _copy(source: Path, folder: Path, *names: str) -> None:
    for name in names:
        if (source / name).is_file():
            with atomic_path(folder / name) as temporary:
                shutil.copyfile(source / name, temporary)


def import_tokenizer(folder: Path, output: Path, entries: int) -> None:
    """Write a foreign folder's tokenizer as `tokenizer.json` and `tokenizer_config.json`.

    Raises `ClozeError` if it has none that Cloze reads, if a special token is missing or if the
    encoder has fewer than its `entries`; says so where it has more.
    """
    tokenizer = tokenizer_of_folder(folder)
    special_ids(tokenizer)
    size = vocab_size(tokenizer)
    if size > entries:
        raise ClozeError(
            f"{folder}: the tokenizer has {size} entries, the encoder {entries}; "
            "they do not belong together"
        )
    if size < entries:
        is_whole = (folder / _FAST).is_file()
        log.log(
            logging.INFO if is_whole else logging.WARNING,
            "%s%s: the last %d of %d embeddings belong to no token; that is so where a vocabulary "
            "was padded, and a mistake where lines of it were removed",
            "" if is_whole else "warning: ", folder, entries - size, entries,
        )  # fmt: skip
    if _is_whole(folder):
        _copy(folder, output, _FAST)
        write_tokenizer_config(output / _SETTINGS, tokenizer)
    else:
        save_tokenizer(tokenizer, output)


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write `tokenizer.json` and the `tokenizer_config.json` that goes with it."""
    tokenizer.encode_special_tokens = False
    with atomic_path(folder / _FAST) as temporary:
        temporary.write_text(tokenizer.to_str(pretty=True), encoding="utf-8", newline="\n")
    write_tokenizer_config(folder / _SETTINGS, tokenizer)


def _settings(folder: Path) -> dict[str, Any]:
    path = folder / _SETTINGS
    settings = read_json(path) if path.is_file() else {}
    if not isinstance(settings, dict):
        raise ClozeError(f"{path}: holds no object of keys and values; fetch it again")
    if settings.get("auto_map"):
        raise ClozeError(
            f"{path}: auto_map names a tokenizer in code of the folder's own, which Cloze never "
            "runs; choose a model whose tokenizer.json says all"
        )
    return settings


def _of_config(folder: Path, key: str) -> Any:
    path = folder / "config.json"
    config = read_json(path) if path.is_file() else {}
    return config.get(key) if isinstance(config, dict) else None


def _require_class(folder: Path, settings: dict[str, Any], known: tuple[str, ...]) -> None:
    """Raise `ClozeError` for a class of tokenizers that does more than its files say."""
    name = settings.get("tokenizer_class") or _of_config(folder, "tokenizer_class")
    if name is None:
        return
    bare = str(name).removesuffix("Fast").removesuffix("Tokenizer")
    if bare not in (*known, *_OF_ANY):
        raise ClozeError(
            f"{folder / _SETTINGS}: tokenizer_class {name} splits text by code that is not in the "
            f"folder's files; here Cloze reads those of {', '.join(known)}, so choose another "
            "model or save its tokenizer as tokenizer.json"
        )


def _wordpiece(folder: Path, settings: dict[str, Any]) -> Tokenizer:
    if settings.get("do_basic_tokenize") is False:
        raise ClozeError(
            f"{folder / _SETTINGS}: do_basic_tokenize false leaves splitting to somebody else; "
            "Cloze knows BERT's own, so give the folder a tokenizer.json"
        )
    lowercase = bool(settings.get("do_lower_case", True))
    strip_accents = settings.get("strip_accents")
    normalizer = bert_normalizer(
        lowercase=lowercase,
        # Unset, BERT strips accents where it lowercases.
        strip_accents=lowercase if strip_accents is None else bool(strip_accents),
        clean_text=True,
        handle_chinese_chars=bool(settings.get("tokenize_chinese_chars", True)),
    )
    return bert_tokenizer(read_vocab(folder / "vocab.txt"), normalizer, _MAX_INPUT_CHARS_PER_WORD)


def _byte_level_bpe(folder: Path, settings: dict[str, Any]) -> Tokenizer:
    vocab, merges = folder / "vocab.json", folder / "merges.txt"
    try:
        tokenizer = Tokenizer(models.BPE(*models.BPE.read_file(str(vocab), str(merges))))
    # The library raises bare `Exception` for whatever is wrong with the files.
    except Exception as error:
        raise ClozeError(
            f"{folder}: vocab.json and merges.txt are no byte-level BPE ({error}); fetch them again"
        ) from error
    prefix = bool(settings.get("add_prefix_space", False))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    tokenizer.decoder = decoders.ByteLevel()
    plain = [token for token in ("<s>", "<pad>", "</s>", "<unk>") if tokenizer.token_to_id(token)
             is not None]  # fmt: skip
    tokenizer.add_special_tokens(plain)
    if tokenizer.token_to_id("<mask>") is not None:
        mask = AddedToken("<mask>", lstrip=True, special=True, normalized=False)
        tokenizer.add_special_tokens([mask])
    if {"<s>", "</s>"} <= set(plain):
        sep, cls = ((token, tokenizer.get_vocab()[token]) for token in ("</s>", "<s>"))
        tokenizer.post_processor = processors.RobertaProcessing(sep, cls, add_prefix_space=prefix)
    return tokenizer


def _frame_with_two(tokenizer: Tokenizer) -> None:
    """Frame texts as RoBERTa does, with two separators between those of a pair."""
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("<s>", "</s>")],
    )


def _sentencepiece_kind(folder: Path, settings: dict[str, Any]) -> str:
    kind = _of_config(folder, "model_type")
    name = str(settings.get("tokenizer_class") or "")
    for known, tokenizer_class in (("camembert", "Camembert"), ("xlm-roberta", "XLMRoberta")):
        if kind == known or name.startswith(tokenizer_class):
            return known
    raise ClozeError(
        f"{folder}: its SentencePiece model is of a {kind}, and Cloze numbers the pieces of "
        "xlm-roberta and camembert alone; make a tokenizer.json of it, as "
        "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER) of transformers does"
    )


def _is_whole(folder: Path) -> bool:
    """Whether a folder's `tokenizer.json` has every token."""
    if not (folder / _FAST).is_file():
        return False
    added = _added_tokens(folder, {})
    tokenizer = load_tokenizer(folder / _FAST) if added else None
    return tokenizer is None or all(tokenizer.token_to_id(token) is not None for token in added)


def _added_tokens(folder: Path, settings: dict[str, Any]) -> dict[str, tuple[int, AddedToken]]:
    """Return the tokens that were added to a vocabulary, with their ids, by their text."""
    path = folder / _ADDED
    table = read_json(path) if path.is_file() else {}
    decoder = settings.get("added_tokens_decoder") or {}
    try:
        found = {str(token): (int(number), AddedToken(token)) for token, number in table.items()}
        for number, entry in decoder.items():
            flags = {key: bool(entry.get(key, False)) for key in ("special", "lstrip", "rstrip")}
            token = AddedToken(entry["content"], **flags, normalized=not flags["special"])
            found[entry["content"]] = (int(number), token)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ClozeError(
            f"{folder}: {_ADDED} or added_tokens_decoder of {_SETTINGS} is no table of tokens and "
            "numbers; fetch it again"
        ) from error
    return found


def _add(tokenizer: Tokenizer, added: dict[str, tuple[int, AddedToken]], folder: Path) -> None:
    """Add tokens to a vocabulary, each under its own number."""
    for text, (number, token) in sorted(added.items(), key=lambda item: item[1][0]):
        if tokenizer.token_to_id(text) is None or token.special:
            add = tokenizer.add_special_tokens if token.special else tokenizer.add_tokens
            add([token])
        if tokenizer.token_to_id(text) != number:
            raise ClozeError(
                f"{folder}: the added token {text!r} is number {number}, which does not follow the "
                "vocabulary; its files do not belong together"
            )
