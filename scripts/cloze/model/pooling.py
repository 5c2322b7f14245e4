"""How a folder turns hidden states into a vector, in the files of sentence-transformers.

`modules.json` names the modules in order: the encoder, `1_Pooling` and, where vectors have
length 1, `2_Normalize`; `sentence_bert_config.json` says how many tokens are read. A folder
with these files is what `SentenceTransformer(path)` loads (Reimers and Gurevych 2019).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from cloze.errors import ClozeError
from cloze.files import read_json, write_json
from cloze.model.encoder import Encoder, EncoderConfig, PackedBatch
from cloze.model.heads import pooled_samples, sample_slots
from cloze.settings.encoders import POOLINGS

MODULES = "modules.json"
_POOLING, _NORMALIZE, _LIMITS = "1_Pooling", "2_Normalize", "sentence_bert_config.json"
_KEYS = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token"}
# Names of modules since the first version, which every version still reads.
_TYPES = {
    "Transformer": "sentence_transformers.models.Transformer",
    "Pooling": "sentence_transformers.models.Pooling",
    "Normalize": "sentence_transformers.models.Normalize",
}


@dataclass(frozen=True)
class Pooling:
    """What makes a vector of a text's hidden states.

    `mode`: `mean` of all tokens or `cls`, the first one's; `normalize`: to length 1;
    `max_length`: tokens kept of a text, None for all that the encoder reads.
    """

    mode: str = "mean"
    normalize: bool = False
    max_length: int | None = None


class SentenceEncoder(nn.Module):
    """The encoder with a pooling and no weights besides: one vector for each text.

    Shape suffixes as in `heads`. Vectors have length 1 where the pooling says so.
    """

    def __init__(self, config: EncoderConfig, pooling: Pooling) -> None:
        super().__init__()
        self.config, self.pooling = config, pooling
        self.encoder = Encoder(config)

    def forward(self, batch: PackedBatch) -> Tensor:
        """Return vectors [S, D] float32, samples in the order of the rows."""
        num_samples = int(batch.sample_ids.max())
        return self.row_vectors(batch, num_samples)[sample_slots(batch, num_samples)]

    def row_vectors(self, batch: PackedBatch, num_samples: int) -> Tensor:
        """Return vectors [B, N, D] float32 of the first N samples of each row.

        What stands where a row has fewer means nothing.
        """
        pooled_BND = pooled_samples(self.encoder, batch, self.pooling.mode, num_samples)
        return F.normalize(pooled_BND, dim=-1) if self.pooling.normalize else pooled_BND


def read_pooling(folder: Path) -> Pooling | None:
    """Return what the folder's `modules.json` says; None without that file.

    Raises `ClozeError` for a module or a pooling that Cloze does not compute.
    """
    if not (folder / MODULES).is_file():
        return None
    modules: Any = read_json(folder / MODULES)
    try:
        kinds = [(module["type"].rpartition(".")[2], str(module["path"])) for module in modules]
    except (KeyError, TypeError, AttributeError) as error:
        raise ClozeError(f"{folder / MODULES}: is no list of modules with type and path") from error
    names = [kind for kind, _ in kinds]
    if names not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise ClozeError(
            f"{folder / MODULES}: holds {', '.join(names) or 'no module'}; Cloze computes "
            "Transformer, Pooling and perhaps Normalize, so choose another model"
        )
    mode = _mode(folder / kinds[1][1] / "config.json")
    return Pooling(mode, len(kinds) == 3, _max_length(folder / _LIMITS))


def _max_length(path: Path) -> int | None:
    limits = read_json(path) if path.is_file() else {}
    length = limits.get("max_seq_length") if isinstance(limits, dict) else ""
    if length is not None and (isinstance(length, bool) or not isinstance(length, int)):
        raise ClozeError(f"{path}: max_seq_length {length!r} is no whole number; mend it")
    if limits.get("do_lower_case"):
        raise ClozeError(
            f"{path}: do_lower_case true changes texts before the tokenizer does; Cloze leaves "
            "case to tokenizer.json, so set it to false where that lowercases"
        )
    return length


def _mode(path: Path) -> str:
    settings = read_json(path)
    if not isinstance(settings, dict):
        raise ClozeError(f"{path}: holds no object of keys and values; fetch it again")
    chosen = [key for key, value in settings.items() if key.startswith("pooling_mode_") and value]
    modes = [mode for mode, key in _KEYS.items() if key in chosen]
    if not chosen and settings.get("pooling_mode") in POOLINGS:
        return str(settings["pooling_mode"])
    if len(chosen) != 1 or not modes:
        shown = ", ".join(chosen) or repr(settings.get("pooling_mode"))
        raise ClozeError(
            f"{path}: pools by {shown}; Cloze computes {' and '.join(POOLINGS)} alone, so choose "
            "another model"
        )
    return modes[0]


def write_pooling(folder: Path, pooling: Pooling, config: EncoderConfig) -> None:
    """Write the files that `read_pooling` and `SentenceTransformer` read, each atomically."""
    names = ["Transformer", "Pooling", *(["Normalize"] if pooling.normalize else [])]
    paths = ["", _POOLING, _NORMALIZE]
    modules = [
        {"idx": number, "name": str(number), "path": paths[number], "type": _TYPES[name]}
        for number, name in enumerate(names)
    ]
    modes = {key: mode == pooling.mode for mode, key in _KEYS.items()}
    write_json(
        folder / _POOLING / "config.json",
        {"word_embedding_dimension": config.hidden_size, **modes},
    )
    write_json(
        folder / _LIMITS,
        {
            "max_seq_length": pooling.max_length or config.max_length,
            "do_lower_case": False,
        },
    )
    if pooling.normalize:
        # The module has no settings; a folder without a file would not survive a copy of files.
        write_json(folder / _NORMALIZE / "config.json", {})
    write_json(folder / MODULES, modules)
