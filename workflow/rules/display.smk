# What a person sees of a run: lines of our own instead of Snakemake's blocks.
#
# Snakemake's own output comes back with -p, and with whatever else asks for more or less of it
# (--verbose, --debug-dag, --quiet) or for another logger. Its log below .snakemake/log/ has every
# command in any case.

from snakemake.logging import DefaultFilter, logger
from snakemake.settings.types import ExecMode

from cloze.cli import PROGRESS_VARIABLE
from cloze.show.run_display import RunDisplay
from cloze.show.run_figures import describe_report


def results_asked_for():
    """Return what the reports that were asked for say, and where they lie."""
    files = {str(file) for job in workflow.dag.jobs for file in job.output}
    reports = (f"results/{name}_report" for name in (*CONFIG.reports, *CONFIG.averages))
    asked = [report for report in reports if f"{report}.txt" in files]
    return [line for report in asked for line in describe_report(Path(report))]


def display_for_people():
    """Return the display that takes the place of Snakemake's own output, None where that stays."""
    settings = workflow.output_settings
    own = [handler for handler in logger.handlers if handler.name == "DefaultStreamHandler"]
    asks = settings.printshellcmds or settings.verbose or settings.debug_dag or settings.quiet
    if workflow.exec_mode != ExecMode.DEFAULT or asks or not own:
        return None
    for handler in logger.handlers:
        for filter in handler.filters:
            if isinstance(filter, DefaultFilter):
                filter.printshellcmds = True
    display = RunDisplay(own[0].stream, CORES, settings.dryrun, results_asked_for)
    logger.removeHandler(own[0])
    logger.addHandler(display)
    if display.is_live:
        os.environ[PROGRESS_VARIABLE] = "1"
    return display


DISPLAY = display_for_people()


def end_display():
    """Say how the run ended."""
    if DISPLAY is not None:
        DISPLAY.end()
