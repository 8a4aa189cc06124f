"""A real Slurm of a few nodes on this machine, for tests: no systemd, no cgroups, no accounting, own ports and key.

``with slurm_cluster() as cluster:`` starts munged, slurmctld and one slurmd a node, gives the environment in which sbatch and
scontrol speak to them, and stops everything it started.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("setpriv", "munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue", "scancel")
_NODES = ("xlinga", "xlingb")
_CONFIG = """\
ClusterName=xling
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
AuthType=auth/munge
CredType=cred/munge
# a requeued job waits until its credential has expired: 120 s by default
AuthInfo=socket={folder}/munge.sock,cred_expire=5
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdPidFile={folder}/%n.pid
SlurmdLogFile={folder}/%n.log
SlurmdSpoolDir={folder}/spool.%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
KillWait=30
SchedulerParameters=sched_interval=2,sched_min_interval=0
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing_programs() -> list[str]:
    """List the programs of Slurm and munge that are not on this machine."""
    return [program for program in PROGRAMS if shutil.which(program, path=_search_path()) is None]


@dataclass(frozen=True)
class Cluster:
    """A running cluster: its folder, and the environment for its commands."""

    folder: Path
    environment: dict[str, str]

    def call(self, *command: str) -> str:
        """Run one of Slurm's commands; its output."""
        return subprocess.run(command, env=self.environment, check=True, capture_output=True, text=True).stdout.strip()

    def jobs(self) -> dict[str, str]:
        """State of every job that waits or runs, by its id as in 12_3."""
        lines = self.call("squeue", "--noheader", "--array", "--format=%i %T").splitlines()
        return dict(line.split() for line in lines)

    def restarts(self, job: str) -> int:
        """How often a job, waiting, running or just finished, was put back into the queue."""
        text = self.call("scontrol", "show", "job", job)
        return int(text.split("Restarts=")[1].split()[0])

    def wait_for(self, job: str, states: tuple[str, ...], seconds: float = 300) -> str:
        """Wait until the job is in one of `states`; that state."""
        for _ in range(int(seconds / 0.2)):
            text = self.call("scontrol", "show", "job", job)
            state = text.split("JobState=")[1].split()[0]
            if state in states:
                return state
            time.sleep(0.2)
        raise TimeoutError(f"job {job} is {state}, not {states}\n{text}")


@contextmanager
def slurm_cluster(cpus: int = 1) -> Iterator[Cluster]:
    """Start a cluster of two nodes with `cpus` processors each; stop it when the block ends."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # short: a socket's path has at most 108 bytes
    environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": _search_path()}
    cluster, daemons = Cluster(folder, environment), []
    try:
        _write_files(folder, cpus)
        for command in _commands(folder):
            daemons.append(_start(cluster, *command))
        _wait_until_idle(cluster, daemons)
        yield cluster
    finally:
        _stop(cluster, daemons)
        shutil.rmtree(folder, ignore_errors=True)


def _search_path() -> str:
    return os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])


def _write_files(folder: Path, cpus: int) -> None:
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o600)
    folder.chmod(0o755)
    (folder / "state").mkdir()
    host, (control, *ports) = socket.gethostname().split(".")[0], _free_ports(1 + len(_NODES))
    nodes = "\n".join(
        f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} RealMemory=4000"
        for node, port in zip(_NODES, ports, strict=True)
    )
    text = _CONFIG.format(host=host, port=control, folder=folder, nodes=nodes)
    (folder / "slurm.conf").write_text(text)


def _commands(folder: Path) -> Iterator[tuple[str, ...]]:
    files = {"key-file": "munge.key", "socket": "munge.sock", "pid-file": "munged.pid", "log-file": "munged.log",
             "seed-file": "munged.seed"}  # fmt: skip
    yield "munged", "--foreground", "--force", *(f"--{option}={folder / name}" for option, name in files.items())
    yield "slurmctld", "-D", "-c"
    for node in _NODES:
        yield "slurmd", "-D", "-N", node


def _free_ports(n: int) -> list[int]:
    sockets = [socket.socket() for _ in range(n)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _start(cluster: Cluster, *command: str) -> subprocess.Popen:
    with (cluster.folder / f"{command[0]}.out").open("ab") as log:
        # setpriv: a killed test takes its daemons with it; a session of its own: a Ctrl-C in the tests must not end them
        # before their jobs are cancelled
        command = ("setpriv", "--pdeathsig", "TERM", *command)
        return subprocess.Popen(command, env=cluster.environment, stdout=log, stderr=log, start_new_session=True)


def _wait_until_idle(cluster: Cluster, daemons: list[subprocess.Popen]) -> None:
    for _ in range(150):
        dead = [daemon.args[3] for daemon in daemons if daemon.poll() is not None]
        if dead:
            raise RuntimeError(f"{dead[0]} ended: {(cluster.folder / f'{dead[0]}.out').read_text()[-2000:]}")
        done = subprocess.run(
            ["sinfo", "--noheader", "--Node", "--format=%T"], env=cluster.environment, capture_output=True, text=True
        )
        if done.stdout.split() == ["idle"] * len(_NODES):
            return
        time.sleep(0.2)
    raise TimeoutError(f"the nodes did not come up: {done.stdout}{done.stderr}")


def _stop(cluster: Cluster, daemons: list[subprocess.Popen]) -> None:
    """Cancel all jobs, then end the daemons, last started first."""
    subprocess.run(["scancel", "--state=PENDING"], env=cluster.environment, capture_output=True, timeout=30)
    subprocess.run(["scancel", "--full", "--signal=KILL", "--state=RUNNING"], env=cluster.environment,
                   capture_output=True, timeout=30)  # fmt: skip
    time.sleep(0.5)
    for daemon in reversed(daemons):
        daemon.send_signal(signal.SIGTERM)
        try:
            daemon.wait(timeout=10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
