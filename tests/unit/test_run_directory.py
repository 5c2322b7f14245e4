import os
import subprocess
import sys

import pytest
import torch

from cloze.errors import ClozeError
from cloze.files import fingerprint
from cloze.train.run_directory import open_run

RECIPE = {"learning_rate": 0.1, "code": ["pretrain.py@12345678"]}


def test_a_recipe_finds_its_own_run_and_no_other(tmp_path):
    with open_run(tmp_path, RECIPE) as run:
        first = run.path
    with open_run(tmp_path, dict(reversed(RECIPE.items()))) as run:
        assert run.path == first
    with open_run(tmp_path, {**RECIPE, "learning_rate": 0.2}) as run:
        assert run.path != first
    assert fingerprint(RECIPE) != fingerprint({**RECIPE, "learning_rate": "0.1"})


def test_two_trainers_are_kept_apart(tmp_path):
    code = (
        "import sys, time\nfrom pathlib import Path\n"
        "from cloze.train.run_directory import open_run\n"
        f"with open_run(Path(sys.argv[1]), {RECIPE!r}):\n"
        "    print('locked', flush=True)\n    time.sleep(60)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, env=environment
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        message = f"process {other.pid} on .* is still training.*kill {other.pid}"
        with pytest.raises(ClozeError, match=message), open_run(tmp_path, RECIPE):
            pass
        other.kill()
        other.wait()
    with open_run(tmp_path, RECIPE) as run:
        assert run.path.is_dir()


def test_checkpoints_come_back_and_old_ones_go(tmp_path):
    with open_run(tmp_path, RECIPE) as run:
        for step in (10, 20, 30):
            run.save_checkpoint(step, {"weight": torch.full((2,), float(step))}, {"seconds": 1.5})
        assert [path.name for path in run.checkpoints()] == [
            "checkpoint-00000020",
            "checkpoint-00000030",
        ]
        tensors, state = run.load_checkpoint(dict)
        assert tensors["weight"].tolist() == [30.0, 30.0]
        assert state == {"step": 30, "seconds": 1.5}


def test_a_broken_checkpoint_falls_back_to_the_one_before(tmp_path):
    with open_run(tmp_path, RECIPE) as run:
        for step in (10, 20):
            run.save_checkpoint(step, {"weight": torch.full((2,), float(step))}, {})
        (run.path / "checkpoint-00000020" / "tensors.safetensors").write_bytes(b"half")
        assert run.load_checkpoint(dict)[1]["step"] == 10


def test_leftovers_of_a_killed_writer_are_removed(tmp_path):
    with open_run(tmp_path, RECIPE) as run:
        leftover = run.path / ".checkpoint-00000010.123.tmp"
        leftover.mkdir()
    with open_run(tmp_path, RECIPE) as run:
        assert not leftover.exists()
        assert run.load_checkpoint(dict) is None


def test_the_log_forgets_what_a_resumed_run_makes_again(tmp_path):
    with open_run(tmp_path, RECIPE) as run:
        for step in (10, 20, 30):
            run.metrics.append({"step": step})
        with open(run.metrics.path, "a") as stream:
            stream.write('{"step": 4')
        run.metrics.rewind(20)
        assert [record["step"] for record in run.metrics.read()] == [10, 20]
