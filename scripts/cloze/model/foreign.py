"""A model folder from elsewhere as one of ours: weights, configuration and tokenizer."""

import shutil
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer
from torch import nn

from cloze.errors import ClozeError
from cloze.files import atomic_path, read_json
from cloze.model.checkpoints import has_tied_masked_lm_head, normalized_checkpoint, read_checkpoint
from cloze.model.encoder import Encoder
from cloze.model.heads import MaskedLM
from cloze.model.hf_config import config_from_folder
from cloze.model.hf_names import import_state
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


class Imported(NamedTuple):
    """A model read from a folder; `unused` names the weights that it has no place for."""

    model: MaskedLM | Encoder
    unused: list[str]


def import_model(folder: Path, *, unpickle: bool = False) -> Imported:
    """Read a BERT or ModernBERT folder that `transformers` wrote, whatever its head.

    With a masked-language head tied to the embeddings it is a `MaskedLM`, else the
    encoder alone. Raises `ClozeError` for a model of another kind and for weights that
    are missing, misshapen or not safe to read (see `read_checkpoint`).
    """
    config = config_from_folder(folder)
    checkpoint = normalized_checkpoint(read_checkpoint(folder, unpickle=unpickle), config)
    has_head = has_tied_masked_lm_head(checkpoint, config.layout)
    model = MaskedLM(config) if has_head else Encoder(config)
    filled = model if has_head else nn.ModuleDict({"encoder": model})
    used = import_state(filled, checkpoint, config.layout, folder)
    return Imported(model, sorted(checkpoint.keys() - used))


def import_tokenizer(folder: Path, output: Path, entries: int) -> None:
    """Write a foreign folder's tokenizer as `tokenizer.json` and `tokenizer_config.json`.

    A `tokenizer.json` is copied; around a `vocab.txt` BERT's pipeline is built, with the
    choices of `tokenizer_config.json`. Raises `ClozeError` if there is neither, if a
    special token is missing or if the encoder has fewer than its `entries`.
    """
    if (folder / "tokenizer.json").is_file():
        tokenizer = load_tokenizer(folder / "tokenizer.json")
        with atomic_path(output / "tokenizer.json") as temporary:
            shutil.copyfile(folder / "tokenizer.json", temporary)
    elif (folder / "vocab.txt").is_file():
        tokenizer = _tokenizer_of_vocab(folder)
        with atomic_path(output / "tokenizer.json") as temporary:
            tokenizer.save(str(temporary))
    else:
        raise ClozeError(f"{folder}: has neither tokenizer.json nor vocab.txt; add one of them")
    special_ids(tokenizer)
    if vocab_size(tokenizer) > entries:
        raise ClozeError(
            f"{folder}: the tokenizer has {vocab_size(tokenizer)} entries, the encoder {entries}; "
            "they do not belong together"
        )
    write_tokenizer_config(output / "tokenizer_config.json", tokenizer)


def _tokenizer_of_vocab(folder: Path) -> Tokenizer:
    path = folder / "tokenizer_config.json"
    settings: dict[str, Any] = read_json(path) if path.is_file() else {}
    lowercase = bool(settings.get("do_lower_case", True))
    strip_accents = settings.get("strip_accents")
    normalizer = bert_normalizer(
        lowercase=lowercase,
        # Unset, BERT strips accents where it lowercases.
        strip_accents=lowercase if strip_accents is None else bool(strip_accents),
        clean_text=True,
    )
    return bert_tokenizer(read_vocab(folder / "vocab.txt"), normalizer, _MAX_INPUT_CHARS_PER_WORD)
