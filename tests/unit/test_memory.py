import pytest
import torch

from cloze.errors import ClozeError
from cloze.train.memory import (
    largest_divisor,
    micro_batch_size,
    out_of_memory,
    probe_micro_batch_size,
)


class Device:
    """A device with memory for so many rows; remembers what was tried."""

    def __init__(self, rows: int) -> None:
        self.rows, self.tried = rows, []

    def attempt(self, size: int) -> None:
        self.tried.append(size)
        if size > self.rows:
            raise torch.OutOfMemoryError("CUDA out of memory")


def test_the_largest_part_that_fits_is_found():
    device = Device(40)
    assert probe_micro_batch_size(96, device.attempt) == 32
    assert device.tried == [96, 48, 32]


def test_what_fits_at_once_is_tried_once():
    device = Device(1000)
    assert probe_micro_batch_size(96, device.attempt) == 96
    assert device.tried == [96]


def test_not_even_one_row_is_an_error():
    with pytest.raises(ClozeError, match="not one row"):
        probe_micro_batch_size(8, Device(0).attempt)


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    def attempt(size: int) -> None:
        raise RuntimeError("device-side assert")

    with pytest.raises(RuntimeError, match="device-side assert"):
        probe_micro_batch_size(8, attempt)


def test_accumulation_must_divide_the_rows():
    assert micro_batch_size(96, 3) == 32
    with pytest.raises(ClozeError, match="--gradient-accumulation-steps 5: does not divide"):
        micro_batch_size(96, 5)


def test_a_pinned_size_serves_another_number_of_rows():
    assert largest_divisor(96, 32) == 32
    assert largest_divisor(48, 32) == 24


def test_a_lack_of_memory_names_the_value_to_set():
    assert "--gradient-accumulation-steps 4," in str(out_of_memory(7, 96, 32))
    assert "a smaller encoder" in str(out_of_memory(7, 96, 1))
