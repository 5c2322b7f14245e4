"""A real SLURM of two nodes on this machine: munge, `slurmctld` and two `slurmd` on the loopback.

Needs root and Debian's packages `slurm-wlm` and `munge`. By hand, for a look around:

    python -m tests.cluster.loopback start FOLDER
    python -m tests.cluster.loopback stop FOLDER
"""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

NODES = ("node1", "node2")
SYSTEM_CONFIGURATION = Path("/etc/slurm/slurm.conf")
# Debian installs the daemons where only root's shells look.
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
_FIRST_PORT = 16917
_DAEMONS = ("slurmd-node1", "slurmd-node2", "slurmctld", "munged")
# Each node claims two cores and 4 GB, whatever the machine has. In `short` a job has three minutes;
# `urgent` preempts the jobs of both others, which then wait in the queue again.
_CONFIGURATION = """\
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=2,bf_interval=2
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
MailProg=/bin/true
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=DEFAULT CPUs=2 RealMemory=4000
NodeName=node[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port={nodes_ports} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=1-00:00:00 PriorityTier=1 GraceTime=20
PartitionName=short Nodes=ALL MaxTime=3 PriorityTier=1
PartitionName=urgent Nodes=ALL PriorityTier=2 PreemptMode=OFF
"""


def why_not() -> str | None:
    """Return why no SLURM can be started here, or None."""
    missing = [
        name
        for name in ("munged", "slurmctld", "slurmd", "sbatch", "srun")
        if shutil.which(name, path=SEARCH_PATH) is None
    ]
    if missing:
        return f"{', '.join(missing)} not installed: apt-get install slurm-wlm munge"
    if os.geteuid() != 0:
        return "slurmd runs as root"
    if SYSTEM_CONFIGURATION.exists():
        return f"{SYSTEM_CONFIGURATION} exists: this machine belongs to a SLURM"
    return None


class Loopback:
    """A cluster whose files are all in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "PATH": SEARCH_PATH,
            "SLURM_CONF": str(folder / "slurm.conf"),
        }

    def start(self) -> None:
        """Start the daemons and wait until both nodes are idle."""
        for name in ("state", *NODES):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        # munged refuses a socket in a folder that others cannot enter.
        self.folder.chmod(0o755)
        text = _CONFIGURATION.format(
            folder=self.folder,
            host=os.uname().nodename.split(".")[0],
            port=_FIRST_PORT,
            nodes_ports=f"{_FIRST_PORT + 1}-{_FIRST_PORT + 2}",
        )
        (self.folder / "slurm.conf").write_text(text)
        # slurmd from 23.11 on looks for control groups otherwise.
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=disabled\n" if _newer() else "")
        # A step of a job is started without SLURM_CONF, so the place that needs none must do.
        SYSTEM_CONFIGURATION.symlink_to(self.folder / "slurm.conf")
        self._start_munge()
        self.run("slurmctld", "-c")
        for node in NODES:
            self.start_node(node)
        self.wait(lambda: self.run("sinfo", "-hNo", "%T", "-p", "main").split() == ["idle"] * 2)

    def start_node(self, name: str) -> None:
        """Start the daemon of a node."""
        self.run("slurmd", "-N", name)

    def kill_node(self, name: str) -> None:
        """End the daemon of a node without a word, as a power failure does."""
        pid = self._pid(f"slurmd-{name}")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        """Cancel every job, end the daemons and leave no trace outside the folder."""
        with contextlib.suppress(RuntimeError):
            self.run("scancel", "--user", "root")
            self.wait(lambda: not self.run("squeue", "-h"))
        for name in _DAEMONS:
            self._end(name)
        SYSTEM_CONFIGURATION.unlink(missing_ok=True)

    def run(self, *command: str) -> str:
        """Run a command against this cluster and return what it printed."""
        found = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        if found.returncode:
            raise RuntimeError(f"{' '.join(command)}: {found.stderr or found.stdout}")
        return found.stdout.strip()

    def wait(self, condition: Callable[[], bool], seconds: float = 300.0) -> None:
        """Wait until something holds; fails where it does not in so many seconds."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.run("squeue") + self.run("sinfo", "-R")
            time.sleep(0.2)

    def _start_munge(self) -> None:
        key = self.folder / "munge.key"
        if not key.exists():
            key.touch(0o600)
            key.write_bytes(os.urandom(128))
        files = [f"--{name}-file={self.folder}/munge.{name}" for name in ("key", "log", "seed")]
        ends = [f"--socket={self.folder}/munge.socket", f"--pid-file={self.folder}/munged.pid"]
        self.run("munged", "--force", *files, *ends)

    def _pid(self, daemon: str) -> int | None:
        """Return the id of a daemon's process, if that is still alive and of this cluster."""
        with contextlib.suppress(OSError, ValueError):
            pid = int((self.folder / f"{daemon}.pid").read_text())
            process = Path(f"/proc/{pid}")
            words = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            return pid if str(self.folder).encode() in words else None
        return None

    def _end(self, daemon: str) -> None:
        pid = self._pid(daemon)
        if pid is None:
            return
        os.kill(pid, signal.SIGTERM)
        with contextlib.suppress(ProcessLookupError):
            for _ in range(50):
                os.kill(pid, 0)
                time.sleep(0.2)
            os.kill(pid, signal.SIGKILL)


def _newer() -> bool:
    """Return whether SLURM is of 23.11 or later (tried: 22.05)."""
    words = subprocess.run(
        ["slurmctld", "-V"], env={"PATH": SEARCH_PATH}, capture_output=True, text=True
    ).stdout.split()
    return tuple(map(int, words[-1].split(".")[:2])) >= (23, 11)


def main() -> None:
    """Start or stop a cluster by hand."""
    parser = argparse.ArgumentParser(description="a SLURM of two nodes on this machine")
    parser.add_argument("action", choices=("start", "stop"))
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    cluster = Loopback(args.folder.resolve())
    if args.action == "start":
        cluster.start()
    else:
        cluster.stop()


if __name__ == "__main__":
    main()
