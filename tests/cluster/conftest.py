"""A cluster for all tests of this folder, or the reason why there is none."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.loopback import Loopback, why_not


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    """A SLURM of two nodes; skips the tests that need it where it cannot be started."""
    if reason := why_not():
        pytest.skip(reason)
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        pytest.skip("no snakemake-executor-plugin-slurm: pip install -e '.[slurm]'")
    folder = tmp_path_factory.mktemp("slurm")
    # munge wants a folder that others may enter, and so all that it lies in.
    for parent in (folder, *folder.parents):
        if parent == Path("/tmp"):
            break
        parent.chmod(0o755)
    slurm = Loopback(folder)
    slurm.start()
    try:
        yield slurm
    finally:
        slurm.stop()
