"""Arrays built from buffers equal those that Arrow builds, and pandas stays where it is."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from cloze.corpus.arrays import binaries, booleans, is_null, numbers, strings, values_of
from tests.texts import random_text, write_documents

TEXTS = ["", "abc", None, "日本語", "x" * 1000, None, "é"]


@pytest.mark.parametrize("values", [TEXTS, ["a", "b"], [None] * 9, []])
def test_texts(values: list[str | None]) -> None:
    found = strings(values)
    found.validate(full=True)
    assert found.equals(pa.array(values, pa.string()))
    large = strings(values, pa.large_string())
    large.validate(full=True)
    assert large.equals(pa.array(values, pa.large_string()))


@pytest.mark.parametrize("values", [[b"abcd", None, b"efgh"], [b"abcd"], [None], []])
def test_bytes_of_a_fixed_size(values: list[bytes | None]) -> None:
    found = binaries(values, pa.binary(4))
    found.validate(full=True)
    assert found.equals(pa.array(values, pa.binary(4)))


def test_numbers_and_truth_values() -> None:
    values = np.arange(20)[::2]
    for kind in (pa.uint32(), pa.uint64(), pa.int64()):
        assert numbers(values, kind).equals(pa.array(values, kind))
    for count in (0, 1, 7, 8, 9, 100):
        truths = np.random.default_rng(count).random(count) < 0.5
        assert booleans(truths).equals(pa.array(truths, pa.bool_()))


def test_back_again_also_from_a_slice() -> None:
    array = pa.array([1, None, 3, None] * 9, pa.uint32())
    assert is_null(array).tolist() == [False, True] * 18
    assert is_null(array.slice(5, 9)).tolist() == is_null(array).tolist()[5:14]
    assert is_null(pa.array(["a", "b"])).tolist() == [False, False]
    whole = pa.array(range(20), pa.uint32())
    assert values_of(whole.slice(3, 4)).tolist() == [3, 4, 5, 6]


def test_extraction_imports_no_pandas(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n\n".join(f"Story {n % 90}." for n in range(100)))
    program = (
        "import sys, extract_documents, extract_part, mix_documents\n"
        f"folder, flags = {str(tmp_path)!r}, ['--format', 'paragraphs', '--input']\n"
        "extract_documents.main([*flags, f'{folder}/a.txt', '--output', f'{folder}/o'])\n"
        "extract_part.main([*flags, f'{folder}/a.txt', '--output', f'{folder}/p.arrow'])\n"
        "flags.append(f'{folder}/p.arrow')\n"
        "extract_documents.main([*flags, '--from-parts', '--output', f'{folder}/o'])\n"
        "mix_documents.main(['--corpus', 'a', '1', f'{folder}/o', '--output', f'{folder}/m'])\n"
        "assert 'pandas' not in sys.modules, [m for m in sys.modules if m.startswith('pandas')]\n"
    )
    _run(program)
    assert (tmp_path / "m" / "train.parquet").is_file()


def test_tokenisation_imports_no_pandas(tmp_path: Path) -> None:
    write_documents(tmp_path / "train.parquet", [random_text(seed, 20) for seed in range(4)])
    write_documents(tmp_path / "validation.parquet", [random_text(9, 20)], first_id=4)
    program = (
        "import sys, split_tokens, train_tokenizer\n"
        f"folder = {str(tmp_path)!r}\n"
        "flags = ['--documents', f'{folder}/train.parquet', '--output', folder]\n"
        "assert not train_tokenizer.main([*flags, '--vocab-size', '900'])\n"
        "flags = ['--documents', folder, '--tokenizer', f'{folder}/tokenizer.json', '--threads']\n"
        "for kind in 'msgpack', 'parquet':\n"
        "    path = f'{folder}/{kind}'\n"
        "    assert not split_tokens.main([*flags, '1', '--output', path, '--format', kind])\n"
        "assert 'pandas' not in sys.modules, [m for m in sys.modules if m.startswith('pandas')]\n"
    )
    _run(program)
    for kind in ("msgpack", "parquet"):
        assert (tmp_path / kind / "manifest.json").is_file()


def _run(program: str) -> None:
    scripts = Path(__file__).parents[2] / "scripts"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=scripts, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
