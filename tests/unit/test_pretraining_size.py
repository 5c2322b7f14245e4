"""What a pretraining asks a cluster for, from its configuration alone."""

from dataclasses import replace
from pathlib import Path

import pytest

from cloze.settings.config import load_config
from cloze.settings.pretraining_size import PretrainingSize
from tests.workflow.project import ROOT

PHASES = """
datasets: {longer: {method: split_tokens, max_length: 512}}
encoders: {tiny: {phases: [{dataset: longer, train_batch_size: 8, max_steps: 100}]}}
"""
ADAPTED = "encoders: {mine: {adapt: some/folder, max_steps: 10, train_batch_size: 8}}"


@pytest.fixture(scope="module")
def size() -> PretrainingSize:
    config = load_config([ROOT / "config.yaml"])
    return PretrainingSize.of(config, "uncased-4k", "sentences-128", "tiny")


BERT_BASE = PretrainingSize(
    parameters=110_000_000, units=12 * 768, batch_tokens=256 * 128, tokens=10**10, budget=None
)


def test_the_sample_fits_into_a_small_node(size: PretrainingSize) -> None:
    assert size.memory_mb(processes=1) < 4000


def test_a_larger_encoder_and_more_processes_take_more_memory(size: PretrainingSize) -> None:
    assert size.memory_mb(1) < size.memory_mb(2) < BERT_BASE.memory_mb(1)
    # State of 2.2 GB and activations of 20 GB.
    assert 20_000 < BERT_BASE.memory_mb(1) < 30_000


def test_more_cores_take_less_time_and_a_budget_its_own(size: PretrainingSize) -> None:
    assert size.seconds(cores=8) == pytest.approx(size.seconds(cores=2) / 4)
    assert replace(size, tokens=None, budget=1200.0).seconds(cores=8) == 1200


def test_a_later_phase_is_counted_by_its_own_recipe_and_data_set(tmp_path: Path) -> None:
    (tmp_path / "phases.yaml").write_text(PHASES, encoding="utf-8")
    config = load_config([ROOT / "config.yaml", tmp_path / "phases.yaml"])
    later = PretrainingSize.of(config, "uncased-4k", "sentences-128", "tiny", phase=2)
    assert (later.batch_tokens, later.tokens) == (8 * 512, 100 * 8 * 512)


def test_an_adapted_encoder_is_taken_for_one_like_bert_base(tmp_path: Path) -> None:
    (tmp_path / "adapt.yaml").write_text(ADAPTED, encoding="utf-8")
    config = load_config([ROOT / "config.yaml", tmp_path / "adapt.yaml"])
    adapted = PretrainingSize.of(config, "mine", "sentences-128", "mine")
    assert 100e6 < adapted.parameters < 150e6
    assert adapted.tokens is not None
