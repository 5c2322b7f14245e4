import init_encoder
from cloze.files import read_json, write_json
from cloze.model.hf_config import config_from_folder
from cloze.tokens.tokenizer import load_tokenizer
from tests.tiny import write_tokenizer


def test_it_describes_an_encoder_for_the_tokenizer(tmp_path):
    tokenizer = write_tokenizer(tmp_path / "tokenizer")
    arguments = ["--tokenizer", str(tokenizer), "--output", str(tmp_path / "model")]
    assert init_encoder.main([*arguments, "--hidden-size=32", "--layout=modernbert"]) == 0
    config = config_from_folder(tmp_path / "model")
    assert (config.hidden_size, config.layout, config.vocab_size) == (32, "modernbert", 64)
    assert (tmp_path / "model" / "tokenizer.json").read_bytes() == tokenizer.read_bytes()


def test_every_id_has_a_row_where_ids_have_gaps_and_tokens_were_added(tmp_path):
    """The embedding table has a row for the largest id, however many tokens there are."""
    path = write_tokenizer(tmp_path / "tokenizer")
    content = read_json(path)
    content["model"]["vocab"]["late"] = 99
    write_json(path, content)
    tokenizer = load_tokenizer(path)
    tokenizer.add_tokens(["added"])
    tokenizer.save(str(path))
    assert load_tokenizer(path).get_vocab_size() == 66
    arguments = ["--tokenizer", str(path), "--output", str(tmp_path / "model")]
    assert init_encoder.main([*arguments, "--hidden-size=32"]) == 0
    assert config_from_folder(tmp_path / "model").vocab_size == 100


def test_it_describes_relative_positions(tmp_path):
    tokenizer = write_tokenizer(tmp_path / "tokenizer")
    arguments = ["--tokenizer", str(tokenizer), "--output", str(tmp_path / "model")]
    assert init_encoder.main([*arguments, "--position-embedding-type=relative_key"]) == 0
    assert config_from_folder(tmp_path / "model").has_relative_positions


def test_an_impossible_shape_is_refused(tmp_path, capsys):
    tokenizer = write_tokenizer(tmp_path / "tokenizer")
    arguments = ["--tokenizer", str(tokenizer), "--output", str(tmp_path / "model")]
    assert init_encoder.main([*arguments, "--num-attention-heads=7"]) == 1
    assert "num_attention_heads: 7 does not divide hidden_size 256" in capsys.readouterr().err
