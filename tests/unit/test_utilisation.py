import numpy as np
import pytest
import torch

from cloze.errors import ClozeError
from cloze.model.encoder import EncoderConfig
from cloze.train.utilisation import (
    Utilisation,
    matmul_peak,
    peak_memory_bytes,
    training_flop,
)


def test_the_peak_is_measured_once_a_process():
    first = matmul_peak("cpu", "fp32")
    # No CPU core does less than 0.1 or more than 10 TFLOP/s in single precision.
    assert 1e8 < first < 1e13 * torch.get_num_threads()
    assert matmul_peak("cpu", "fp32") == first


def test_an_unknown_precision_is_refused():
    with pytest.raises(ClozeError, match="'fp8' is unknown; use one of fp32, bf16, fp16"):
        matmul_peak("cpu", "fp8")


def test_the_share_is_of_the_measured_peak():
    utilisation = Utilisation(model_flops=3e12, matmul_peak=6e12)
    assert utilisation.share == 0.5
    assert utilisation.as_dict() == {
        "model_tflops": 3.0,
        "matmul_peak_tflops": 6.0,
        "utilisation": 0.5,
    }


def test_peak_memory_counts_what_was_held_and_freed():
    before = peak_memory_bytes("cpu")
    held = np.ones(before + (64 << 20), dtype=np.uint8)
    assert held.all()
    del held
    assert peak_memory_bytes("cpu") > before + (32 << 20)


def test_flop_of_bert_base_is_about_six_times_its_weights():
    config = EncoderConfig(
        vocab_size=30522, hidden_size=768, num_hidden_layers=12, intermediate_size=3072
    )
    per_token = training_flop(config, tokens=1, length=128, mlm_probability=0.15)
    assert 6 * 85e6 < per_token < 6 * 95e6
