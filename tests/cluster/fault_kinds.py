"""What is done to a job, what it has to say and to end with, and how it is undone."""
import errno
import os
import signal
import time
from pathlib import Path
from typing import NamedTuple

from workload import Failed

SMALL = Path("/mnt/small")  # where the runs are whose disk is filled
VIEW = Path("/mnt/view")    # and those whose disk sticks: WORK, on each node through FUSE
FILLER = SMALL / "filler"
LOST, HUNG, DISK = 76, 77, 5


class Kind(NamedTuple):
    strike: object  # (cluster, fault)
    heal: object    # (cluster, fault)
    death: bool = False      # peers see it at once, and end within seconds
    hang: bool = False       # they have to wait for the timeout
    codes: tuple = (0,)      # of the job
    culprit: str = ""        # "rank", "node" or ""
    early: bool = True       # may come while ranks start
    node_down: bool = False  # Slurm loses it
    asleep: bool = False     # its ranks may stay in disk sleep until it is undone


def nothing(cluster, fault):
    del cluster, fault


def node_of(cluster, fault):
    return cluster.nodes[fault.node]


def send(number):
    def strike(cluster, fault):
        pid = cluster.ranks().get(fault.rank)
        if pid is None:
            raise Failed("ended before the fault")
        os.kill(pid, number)
    return strike


def kill_node(cluster, fault):
    node_of(cluster, fault).kill(silently=False)


def power_off(cluster, fault):
    node_of(cluster, fault).kill(silently=True)


def revive(cluster, fault):
    """As a site does that watches its nodes: told to Slurm, which ends the job, and started again."""
    if not node_of(cluster, fault).runs():
        cluster.ask("scontrol", "update", f"nodename={fault.node}", "state=down", "reason=dead")
        node_of(cluster, fault).start()
        cluster.ask("scontrol", "update", f"nodename={fault.node}", "state=resume")


def cut(cluster, fault):
    node_of(cluster, fault).cable.cut()


def mend(cluster, fault):
    node_of(cluster, fault).cable.mend()


def disturb(cluster, fault):
    node_of(cluster, fault).cable.disturb(milliseconds=20, loss=0.01)


def calm(cluster, fault):
    node_of(cluster, fault).cable.calm()


def fill(cluster, fault):
    """Leaves a few kB, fewer than a checkpoint needs."""
    del cluster, fault
    for _ in range(50):
        free = os.statvfs(SMALL)
        with open(FILLER, "wb") as filler:
            try:
                os.posix_fallocate(filler.fileno(), 0, max(free.f_bavail * free.f_frsize - 65536, 1))
                return
            except OSError as why:  # the run was faster, and nothing is filled
                if why.errno != errno.ENOSPC:
                    raise
    raise Failed("the disk could not be filled")


def empty(cluster, fault):
    del cluster, fault
    FILLER.unlink(missing_ok=True)


def file_servers(cluster, fault):
    """The processes behind the node's view of the shared folder."""
    space = os.readlink(f"/proc/{node_of(cluster, fault).first()}/ns/mnt")
    found = []
    for program in Path("/proc").glob("[0-9]*/exe"):
        try:
            if (os.path.basename(os.readlink(program)) == "bindfs"
                    and os.readlink(program.parent / "ns" / "mnt") == space):
                found.append(int(program.parent.name))
        except OSError:  # it has ended
            continue
    return found


def stick(cluster, fault):
    """As behind a file server that answers no more."""
    servers = file_servers(cluster, fault)
    if not servers:
        raise Failed(f"{fault.node} has no view of the shared folder")
    for server in servers:
        os.kill(server, signal.SIGSTOP)


def unstick(cluster, fault):
    for server in file_servers(cluster, fault):
        os.kill(server, signal.SIGCONT)


def restart_controller(cluster, fault):
    del fault
    cluster.restart_controller(silent_for=1.0)


KINDS = {
    "kill rank": Kind(send(signal.SIGKILL), nothing, death=True, codes=(LOST, 137), culprit="rank"),
    # Open MPI does not tell its ranks that a connection has ended: over it a node's death is a hang.
    "kill node": Kind(kill_node, revive, hang=True, codes=(LOST, HUNG, 137), culprit="node",
                      node_down=True),
    "power off": Kind(power_off, revive, hang=True, codes=(LOST, HUNG, 137), culprit="node",
                      node_down=True),
    "stop rank": Kind(send(signal.SIGSTOP), nothing, hang=True, codes=(HUNG,), culprit="rank"),
    "cut cable": Kind(cut, mend, hang=True, codes=(LOST, HUNG, 137), culprit="node"),
    "bad cable": Kind(disturb, calm),
    "full disk": Kind(fill, empty, death=True, codes=(DISK,), early=False),
    "stuck disk": Kind(stick, unstick, hang=True, codes=(HUNG, 137), culprit="node", early=False,
                       asleep=True),
    "controller": Kind(restart_controller, nothing),
}


if not Path("/dev/fuse").exists():
    print("no stuck disks: this machine has no /dev/fuse", flush=True)
    del KINDS["stuck disk"]


def strike(cluster, fault):
    """When it was done, on the monotonic clock."""
    begun = time.monotonic()
    KINDS[fault.kind].strike(cluster, fault)
    return begun
