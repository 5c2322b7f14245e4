"""What a person sees while the workflow runs: a line a job, and how far the running ones are.

A `logging.Handler` for the records of Snakemake, whose attribute `event` says what they are
(`snakemake_interface_logger_plugins.common.LogEvent`), so that nothing of Snakemake is imported.
Jobs write how far they are beside their logs (`cloze.cli.progress`).
"""

import logging
import re
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, TextIO

from cloze.cli import CLEAR_LINE
from cloze.show.run_figures import figure_of
from cloze.show.run_jobs import Job, TimeLeft, plan_lines

_REPAINT_SECONDS = 0.5
# What Snakemake tells of itself, and of a failure besides the job that failed.
_NOT_SHOWN = re.compile(
    r"Assuming unrestricted|Building DAG|Using shell|Provided |Rules claiming|Conda environments"
    r"|Singularity containers|Reasons:|Select jobs|Execute \d|Complete log|Elapsed time"
    r"|This was a dry-run|Shutting down|Exiting because a job|Terminating processes"
    r"|Removing output files|WorkflowError:\nAt least one job did not"
    r"|RuleException:\nCalledProcessError"
)
_NOTHING_TO_DO = "Nothing to be done"
_INTERRUPTED = "Terminating processes"


class RunDisplay(logging.Handler):
    """Prints the records of a run, or of a plan, to `stream`; on a terminal with a live last line.

    `cores`: how many jobs of one core run at a time. `results` returns the lines that end it all:
    the scores asked for and where their reports lie.
    """

    def __init__(
        self, stream: TextIO, cores: int, is_plan: bool, results: Callable[[], Iterable[str]]
    ) -> None:
        super().__init__(logging.INFO)
        self._stream, self._is_plan, self._results = stream, is_plan, results
        self._running: dict[int, Job] = {}
        self._planned: list[tuple[Job, str]] = []
        self._time_left = TimeLeft(cores)
        self._total = self._finished = self._failed = 0
        self._is_interrupted = False
        self._lock = threading.Lock()
        self.is_live = stream.isatty() and not is_plan
        if self.is_live:
            threading.Thread(target=self._repaint, daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Print what a person wants of a record; what fails here ends no run."""
        try:
            with self._lock:
                self._emit(vars(record), record.getMessage())
        except Exception:
            self.handleError(record)

    def _emit(self, values: dict[str, Any], message: str) -> None:
        match values.get("event"):
            case "run_info":
                self._tell_plan(values["stats"])
            case "job_info" if self._is_plan:
                self._planned.append((Job.of(values), values["reason"]))
            case "job_info":
                job = self._running[values["jobid"]] = Job.of(values)
                job.forget_progress()
            case "job_finished" if values["job_id"] in self._running:
                self._tell_finished(self._running.pop(values["job_id"]))
            case "job_error":
                self._tell_failed(self._running.pop(values["jobid"], Job.of(values)))
            case None | "error" | "group_error":
                self._tell(message)

    def end(self) -> None:
        """Say how the run ended and what it was for."""
        with self._lock:
            self._running.clear()
            left = self._total - self._finished
            if self._failed:
                jobs = "1 job" if self._failed == 1 else f"{self._failed} jobs"
                self._print(f"\n{jobs} failed, {left} of {self._total} are left; what is done "
                            "is kept, and the same command goes on")  # fmt: skip
            elif left:
                self._print(f"\nStopped with {left} of {self._total} jobs left; the same command "
                            "goes on where they were")  # fmt: skip
            else:
                self._tell_results()

    def _tell(self, message: str) -> None:
        if message and message != "None" and not _NOT_SHOWN.match(message):
            self._print(message)
        self._is_interrupted |= message.startswith(_INTERRUPTED)
        if message.startswith(_NOTHING_TO_DO):
            self._tell_results()

    def _tell_results(self) -> None:
        if lines := list(self._results()):
            self._print("\n" + "\n".join(lines))

    def _tell_plan(self, stats: dict[str, int]) -> None:
        """Say how many jobs there are; of a plan, which is told of before and after its jobs."""
        self._total = stats["total"]
        self._time_left.plan(Counter({k: n for k, n in stats.items() if k != "total"}))
        if not self._is_plan:
            self._print(f"{self._total} jobs; the log of each lies below logs/")
        elif self._planned:
            for line in plan_lines(self._planned):
                self._print(line)
            self._print("\nNothing was made; -p shows every job with its files and its command.")

    def _tell_finished(self, job: Job) -> None:
        self._finished += 1
        self._time_left.note(job.rule, job.seconds)
        job.forget_progress()
        count = f"{self._finished}/{self._total}"
        line = f"{count:>7}  {job.stage:<18}  {', '.join(job.about):<52}  {job.seconds:>5.0f} s"
        self._print(f"{line}  {figure_of(job.stage, job.output)}".rstrip())

    def _tell_failed(self, job: Job) -> None:
        job.forget_progress()
        if self._is_interrupted:
            return
        self._failed += 1
        self._print(f" failed  {job.stage} {', '.join(job.about)}; its log: {job.log}")

    def _print(self, text: str) -> None:
        self._stream.write(f"{CLEAR_LINE if self.is_live else ''}{text}\n")
        self._stream.flush()

    def _repaint(self) -> None:
        pause = threading.Event()
        while not pause.wait(_REPAINT_SECONDS):
            with self._lock:
                if self._running:
                    line = self._live_line()[: shutil.get_terminal_size().columns - 1]
                    self._stream.write(CLEAR_LINE + line)
                    self._stream.flush()

    def _live_line(self) -> str:
        running = [*self._running.values()]
        left = self._time_left.describe(running)
        return ", ".join([*(job.describe() for job in running), *([left] if left else [])])
