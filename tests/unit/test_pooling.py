"""How a folder turns hidden states into vectors, in the files of sentence-transformers."""

import json
from pathlib import Path

import pytest
import torch

from cloze.errors import ClozeError
from cloze.files import write_json
from cloze.model.heads import embed_samples
from cloze.model.pooling import Pooling, SentenceEncoder, read_pooling, write_pooling
from tests.tiny_model import make_config, packed_rows, perturbed


@pytest.mark.parametrize(
    "pooling", [Pooling("mean", False, 30), Pooling("cls", True, 12), Pooling("mean", True, 40)]
)
def test_what_is_written_is_read(tmp_path, pooling):
    write_pooling(tmp_path, pooling, make_config())
    assert read_pooling(tmp_path) == pooling


def test_without_modules_a_folder_has_no_pooling(tmp_path):
    assert read_pooling(tmp_path) is None


def test_without_a_limit_the_encoder_reads_as_much_as_it_has_positions(tmp_path):
    write_pooling(tmp_path, Pooling(), make_config())
    assert read_pooling(tmp_path) == Pooling("mean", False, 40)


def test_both_ways_to_write_a_pooling_are_read(tmp_path):
    write_pooling(tmp_path, Pooling("cls"), make_config())
    write_json(tmp_path / "1_Pooling" / "config.json", {"pooling_mode": "mean"})
    assert read_pooling(tmp_path) == Pooling("mean", False, 40)


def test_a_pooling_that_is_not_computed_is_refused(tmp_path):
    write_pooling(tmp_path, Pooling(), make_config())
    write_json(
        tmp_path / "1_Pooling" / "config.json",
        {"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True},
    )
    with pytest.raises(ClozeError, match=r"pools by .*max_tokens; Cloze computes mean and cls"):
        read_pooling(tmp_path)


def test_a_module_that_is_not_computed_is_refused(tmp_path):
    write_pooling(tmp_path, Pooling(normalize=True), make_config())
    path = tmp_path / "modules.json"
    modules = json.loads(path.read_text(encoding="utf-8"))
    modules[2]["type"] = "sentence_transformers.models.Dense"
    write_json(path, modules)
    with pytest.raises(ClozeError, match=r"holds Transformer, Pooling, Dense; Cloze computes"):
        read_pooling(tmp_path)


@pytest.mark.parametrize("layout", ["bert", "modernbert"])
@pytest.mark.parametrize("mode", ["mean", "cls"])
def test_vectors_are_those_of_the_encoder_and_have_length_1_where_wanted(layout, mode):
    batch = packed_rows([[5, 7], [9]], 16)
    model = perturbed(SentenceEncoder(make_config(layout), Pooling(mode, True)))
    plain = embed_samples(model.encoder, batch, mode)
    torch.testing.assert_close(model(batch), plain / plain.norm(dim=-1, keepdim=True))
    model.pooling = Pooling(mode, False)
    torch.testing.assert_close(model(batch), plain)


def test_a_broken_list_of_modules_is_refused(tmp_path: Path):
    write_json(tmp_path / "modules.json", {"idx": 0})
    with pytest.raises(ClozeError, match=r"modules.json: is no list of modules"):
        read_pooling(tmp_path)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (
            "sentence_bert_config.json",
            {"max_seq_length": "128"},
            "max_seq_length '128' is no whole",
        ),
        ("sentence_bert_config.json", [], "max_seq_length '' is no whole number"),
        ("sentence_bert_config.json", {"do_lower_case": True}, "do_lower_case true changes texts"),
        ("1_Pooling/config.json", [], "holds no object of keys and values"),
    ],
)
def test_files_that_say_something_else_are_named(file, content, message, tmp_path):
    write_pooling(tmp_path, Pooling(), make_config())
    write_json(tmp_path / file, content)
    with pytest.raises(ClozeError, match=message):
        read_pooling(tmp_path)
