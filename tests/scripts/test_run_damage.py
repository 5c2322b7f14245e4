"""What becomes of a run of `pretrain.py` whose files were damaged while nobody trained."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import pretrain
from cloze.files import read_json
from tests.tiny_pretraining import break_off, checkpoints, command, weights, write_inputs

STEPS, STOPPED_AT = 40, 37
Damage = Callable[[bytes], bytes]


def changed(change: Callable[[dict], object]) -> Damage:
    """Return the damage that a change of a JSON object's values is."""

    def damage(content: bytes) -> bytes:
        values = json.loads(content)
        other = change(values)
        return json.dumps(values if other is None else other).encode()

    return damage


def flip(content: bytes) -> bytes:
    return content[:-100] + bytes([content[-100] ^ 1]) + content[-99:]


GARBAGE = {
    "not JSON": lambda content: b"{half",
    "not text": lambda content: b"\xff\xfe\x00" + os.urandom(64),
    "empty": lambda content: b"",
    "a list": lambda content: b"[1, 2]",
    "a number": lambda content: b"7",
}
STATE = GARBAGE | {
    "no watch": changed(lambda values: values.pop("watch") and None),
    "no sha256": changed(lambda values: values.pop("sha256") and None),
    "a step that is text": changed(lambda values: values.update(step="x")),
    "a budget that is a number": changed(lambda values: values.update(budget=3)),
    "spans that are text": changed(lambda values: values.update(spans="abc")),
    "another best step": changed(lambda values: values.update(best_step=36)),
}
RUN = GARBAGE | {
    "no recipe": changed(lambda values: values.pop("recipe") and None),
    "no environment": changed(lambda values: values.pop("environment") and None),
    "a recipe that is a number": changed(lambda values: values.update(recipe=1)),
    "steps that are text": changed(lambda values: values.update(max_steps="x")),
    "another learning rate": changed(lambda values: values["recipe"].update(learning_rate=1.0)),
}
LINES = GARBAGE | {
    "a line that is no text": lambda content: content + b"\xff\xfe\x00\n",
    "a line without a step": lambda content: b'{"loss": 1.0}\n' + content,
    "a line with a step that is text": lambda content: b'{"step": "x"}\n' + content,
    "a line that is a list": lambda content: b"[1]\n" + content,
    "half a line": lambda content: content[: len(content) // 2],
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    """A folder with inputs, an interrupted run, and a whole one of the same recipe."""
    folder = tmp_path_factory.mktemp("kept")
    inputs = write_inputs(folder)
    break_off(pretrain, command(inputs, folder / "model", STEPS), STOPPED_AT)
    elsewhere = [*inputs[:2], f"--run-dir={folder / '.whole'}"]
    assert pretrain.main(command(elsewhere, folder / "whole", STEPS)) == 0
    return folder


@pytest.fixture
def root(kept, tmp_path) -> Path:
    """A copy of it that a test may damage."""
    return Path(shutil.copytree(kept, tmp_path / "root"))


def flags(root: Path, runs: str = ".runs") -> list[str]:
    dataset, tokenizer = root / "dataset", root / "tokenizer" / "tokenizer.json"
    return [f"--dataset={dataset}", f"--tokenizer={tokenizer}", f"--run-dir={root / runs}"]


def train(root: Path) -> list[int]:
    """Run the same command again; returns the steps that it went on from."""
    assert pretrain.main(command(flags(root), root / "model", STEPS)) == 0
    for part in ("", "best"):
        assert weights(root / "model" / part) == weights(root / "whole" / part)
    return read_json(root / "model" / "metrics.json")["metrics"]["resumed_from"]


def damage_file(path: Path, damage: Damage) -> None:
    path.write_bytes(damage(path.read_bytes()))


@pytest.mark.parametrize("name", STATE)
def test_a_checkpoint_with_a_damaged_state_is_passed_over(root, capsys, name):
    newest = checkpoints(root / ".runs")[-1]
    damage_file(newest / "state.json", STATE[name])
    assert train(root) == [STOPPED_AT - 1]
    assert f"{newest.name} cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "damage"),
    [("state.json", STATE["no watch"]), ("tensors.safetensors", flip)],
    ids=["states", "tensors"],
)
def test_without_a_sound_checkpoint_the_run_begins_again_and_ends_alike(root, file, damage):
    for folder in checkpoints(root / ".runs"):
        damage_file(folder / file, damage)
    assert train(root) == []
    logs = [(root / name / "metrics.jsonl").read_text().splitlines() for name in ("model", "whole")]
    assert [without_speed(line) for line in logs[0]] == [without_speed(line) for line in logs[1]]


def without_speed(line: str) -> dict:
    return {k: v for k, v in json.loads(line).items() if "seconds" not in k and "second" not in k}


@pytest.mark.parametrize("name", RUN)
def test_what_was_decided_is_decided_again_where_it_is_damaged(root, capsys, name):
    (run,) = (root / ".runs").iterdir()
    damage_file(run / "run.json", RUN[name])
    assert train(root) == [STOPPED_AT]
    assert "run.json cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize("file", ["metrics.jsonl", "masked_examples.jsonl"])
def test_damaged_records_cost_no_step(root, file, name):
    (run,) = (root / ".runs").iterdir()
    damage_file(run / file, LINES[name])
    assert train(root) == [STOPPED_AT]
    steps = [json.loads(line)["step"] for line in (root / "model" / file).open()]
    assert steps == sorted(steps)
    assert steps[-1] == STEPS


def test_lost_records_of_a_run_at_its_last_step_are_no_error(root):
    break_off_before_the_end(root)
    (run,) = (root / ".runs").iterdir()
    (run / "metrics.jsonl").unlink()
    assert train(root) == [STOPPED_AT, STEPS]


def break_off_before_the_end(root: Path) -> None:
    """Go on until all steps are done and saved, and end before the results are written."""

    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    args = pretrain.build_parser().parse_args(
        [*command(flags(root), root / "model", STEPS), "--checkpoint-seconds=0"]
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cloze.train.trainer.Trainer.final_scores", stop)
        with pytest.raises(KeyboardInterrupt):
            pretrain.run(args)
    shutil.rmtree(checkpoints(root / ".runs")[0])


@pytest.mark.parametrize("content", [b"", b"\xff\xfe not a number", b"1"])
def test_a_lock_that_nobody_holds_is_taken_whatever_it_says(root, content):
    (run,) = (root / ".runs").iterdir()
    (run / "lock").write_bytes(content)
    assert train(root) == [STOPPED_AT]


def one_byte_of_the_weights(run: Path) -> None:
    # What is published may be the same file.
    path = run / "final" / "model.safetensors"
    content = flip(path.read_bytes())
    path.unlink()
    path.write_bytes(content)


FINISHED: dict[str, Callable[[Path], None]] = {
    "a byte of the weights": one_byte_of_the_weights,
    "no weights": lambda run: (run / "final" / "model.safetensors").unlink(),
    "no best weights": lambda run: shutil.rmtree(run / "final" / "best"),
    "no hashes": lambda run: (run / "sha256.json").unlink(),
    "no hash in the file": lambda run: (run / "sha256.json").write_text("{}"),
    "hashes that are a list": lambda run: (run / "sha256.json").write_text("[]"),
    "hashes that are no text": lambda run: (run / "sha256.json").write_bytes(b"\xff\xfe"),
    "one hash less": lambda run: damage_file(
        run / "sha256.json", changed(lambda values: values.pop("model.safetensors") and None)
    ),
}


@pytest.mark.parametrize("name", FINISHED)
def test_a_damaged_finished_run_is_trained_again_and_not_published(root, capsys, name):
    (run,) = (root / ".whole").iterdir()
    expected = weights(root / "whole"), weights(root / "whole" / "best")
    FINISHED[name](run)
    assert pretrain.main(command(flags(root, ".whole"), root / "again", STEPS)) == 0
    said = capsys.readouterr().err
    assert "the finished run is damaged" in said
    assert "training it again" in said
    assert (weights(root / "again"), weights(root / "again" / "best")) == expected
    # What was made again is sound.
    assert pretrain.main(command(flags(root, ".whole"), root / "third", STEPS)) == 0
    assert "damaged" not in capsys.readouterr().err
