import pytest
import yaml

import plan
from cloze.files import read_json
from tests.tiny import write_dataset, write_tokenizer

MACHINE = ["--device=cpu", "--precision=fp32", "--compile=off", "--threads=1", "--seconds=0.01"]
CONFIG = {
    "architectures": {
        "small": {
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "max_position_embeddings": 16,
        }
    },
    "encoders": {
        "short": {"architecture": "small", "max_steps": 20, "train_batch_size": 8},
        "long": {"architecture": "small", "max_steps": 80, "train_batch_size": 8},
        "theirs": {"pretrained": "elsewhere"},
    },
}


@pytest.fixture
def config(tmp_path) -> list[str]:
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    return ["--config", "config.yaml", str(overlay)]


def test_it_plans_every_encoder_that_was_asked_for(config, tmp_path, capsys):
    tokenizer = write_tokenizer(tmp_path / "tokenizer")
    dataset = write_dataset(tmp_path / "dataset", tokenizer, num_rows=64)
    output = tmp_path / "plan.json"
    flags = [f"--dataset={dataset}", "--encoders", "short", "long", f"--output={output}"]
    assert plan.main([*config, *flags, *MACHINE]) == 0
    printed = capsys.readouterr().out
    short, long = read_json(output)["plans"]
    assert [short["encoder"], long["encoder"]] == ["short", "long"]
    assert (short["steps"], long["steps"]) == (20, 80)
    assert long["epochs"] == 80 * 8 / 64
    assert printed.splitlines()[1].startswith("short")
    assert f"Recommended: {read_json(output)['advice']}." in printed


def test_a_busy_machine_is_said(config, monkeypatch, capsys):
    flags = ["--tokens=1000", "--row-length=16", "--encoders", "short", *MACHINE]
    monkeypatch.setattr(plan, "watch_others", lambda: lambda: 99.0)
    assert plan.main([*config, *flags]) == 0
    assert "99.0 of" in (said := capsys.readouterr().err)
    assert "plan again when the machine is quiet" in said


def test_a_budget_takes_the_place_of_the_steps(config, tmp_path):
    output = tmp_path / "plan.json"
    flags = ["--tokens=100000", "--vocab-size=64", "--row-length=16", "--encoders", "short"]
    assert plan.main([*config, *flags, *MACHINE, "--budget=60s", f"--output={output}"]) == 0
    (only,) = read_json(output)["plans"]
    assert only["seconds"] == pytest.approx(60, abs=1)
    assert only["steps"] > 20


@pytest.mark.parametrize("name", ["shrot", "theirs"])
def test_an_encoder_that_is_not_pretrained_here_is_named(name, config, capsys):
    flags = ["--tokens=1000", "--encoders", name]
    assert plan.main([*config, *flags, *MACHINE]) == 1
    message = f"--encoders: {name!r} is none that the configuration pretrains; there are tiny, tin"
    assert message in capsys.readouterr().err


def test_a_corpus_is_a_data_set_or_a_number_of_tokens(config, capsys):
    assert plan.main([*config, *MACHINE]) == 1
    assert "give either --dataset, a data set folder, or --tokens" in capsys.readouterr().err
