"""The stream of a run's measurements: a file that is the truth, and dashboards that follow it."""

import importlib
import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from cloze.errors import ClozeError
from cloze.files import read_records, write_text

_VALIDATION = "validation_"


class Dashboard(Protocol):
    """Shows measurements while training goes on."""

    def rewind(self, step: int) -> None:
        """Expect the measurements after `step` again; called before the first `add`."""

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Show the values of one step; may be called several times for a step."""

    def close(self) -> None:
        """Show what has not been shown yet."""


class MetricsStream:
    """Measurements, one JSON object a line with the key `step`, and the dashboards that get them.

    Dashboards get the plain numbers of a record, by the names `training/…` and
    `validation/…`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._dashboards: list[Dashboard] = []

    def forward_to(self, dashboard: Dashboard) -> None:
        """Send every later measurement to `dashboard` too; the caller then rewinds the stream."""
        self._dashboards.append(dashboard)

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one measurement."""
        with open(self.path, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(dict(record)) + "\n")
        values = _shown(record)
        for dashboard in self._dashboards if values else ():
            dashboard.add(record["step"], values)

    def read(self) -> list[dict[str, Any]]:
        """Return all measurements; what is damaged is passed over."""
        return read_records(self.path)

    def rewind(self, step: int) -> None:
        """Forget measurements after `step`, which a resumed run makes again."""
        kept = [record for record in self.read() if record["step"] <= step]
        write_text(self.path, "".join(json.dumps(record) + "\n" for record in kept))
        for dashboard in self._dashboards:
            dashboard.rewind(step)

    def close(self) -> None:
        """Let the dashboards show what they have not shown yet."""
        for dashboard in self._dashboards:
            dashboard.close()


def _shown(record: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a record by the names that dashboards group them by."""
    return {
        f"validation/{key.removeprefix(_VALIDATION)}"
        if key.startswith(_VALIDATION)
        else f"training/{key}": value
        for key, value in record.items()
        if key != "step" and isinstance(value, int | float) and not isinstance(value, bool)
    }


class TensorBoard:
    """Event files in `folder`, for `tensorboard --logdir`."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._make_writer = SummaryWriter
        self._folder = folder
        self._writer: Any = None

    @staticmethod
    def is_installed() -> bool:
        """Whether the package `tensorboard` is there."""
        return importlib.util.find_spec("tensorboard") is not None

    def rewind(self, step: int) -> None:
        """Tell readers that what earlier event files hold after `step` is void."""
        self._writer = self._make_writer(str(self._folder), purge_step=step + 1)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Write one event a value."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is still queued."""
        if self._writer is not None:
            self._writer.close()


class WeightsAndBiases:
    """A run of a W&B project; a resumed run goes on under the same id.

    W&B keeps a history that only grows, so measurements that are made again are not sent
    again. Raises `ClozeError` where the package is missing or the run cannot be opened.
    """

    def __init__(self, project: str, run_id: str, folder: Path, config: Mapping[str, Any]) -> None:
        try:
            wandb: Any = importlib.import_module("wandb")
        except ImportError as error:
            raise ClozeError(
                f"--wandb {project}: the package is not installed; `pip install wandb`, or leave "
                "the flag out"
            ) from error
        try:
            self._run = wandb.init(
                project=project, id=run_id, resume="allow", dir=str(folder), config=dict(config)
            )
        except (OSError, wandb.errors.Error) as error:
            raise ClozeError(
                f"--wandb {project}: {error}; `wandb login` first, set WANDB_MODE=offline, or "
                "leave the flag out"
            ) from error
        self._first_new_step = self._run.step

    def rewind(self, step: int) -> None:
        """Leave what W&B has as it is."""

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Send the values unless W&B had this step before the run was resumed."""
        if step >= self._first_new_step:
            self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Wait until W&B has everything."""
        self._run.finish()


def open_dashboards(
    stream: MetricsStream, run_id: str, wandb_project: str | None, config: Mapping[str, Any]
) -> None:
    """Attach TensorBoard, where it is installed, and the W&B project that was asked for.

    Their files lie beside the stream's own. Raises `ClozeError` as `WeightsAndBiases` does.
    """
    folder = stream.path.parent
    if TensorBoard.is_installed():
        stream.forward_to(TensorBoard(folder / "tensorboard"))
    if wandb_project is not None:
        stream.forward_to(WeightsAndBiases(wandb_project, run_id, folder, config))
