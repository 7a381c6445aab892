"""What a job may not leave on its nodes: processes, listening ports, shared memory, locks."""
from pathlib import Path

from nodes import wait_until
from workload import WORK, Failed

SLURMD = 6818  # the one port that something listens on without a job


def listening(node):
    """Ports of a node that something listens on."""
    ports = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{node.first()}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                ports.add(int(fields[1].rsplit(":", 1)[1], 16))
    return ports


def locked_runs():
    """Runs whose lock is held, by /proc/locks."""
    held = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    inodes = {fields[5].rsplit(":", 1)[1] for fields in held if len(fields) > 5}
    return [str(lock) for lock in WORK.glob("**/lock") if str(lock.stat().st_ino) in inodes]


def found(cluster):
    """Of each thing that was left a line."""
    left = [f"process {pid}" for pid in cluster.processes()]
    ours = bool(left)  # a port has a process; those of Slurm's step daemons stay for a while
    for name, node in cluster.nodes.items():
        left += [f"{name}: port {port}" for port in listening(node) - {SLURMD} if ours]
        shared = Path("/proc", str(node.first()), "root", "dev", "shm")
        left += [f"{name}: /dev/shm/{file.name}" for file in shared.iterdir()]
    return left + [f"lock {path}" for path in locked_runs()]


def expect_none(cluster, seconds=10):
    try:
        wait_until(lambda: not found(cluster), seconds, "nothing is left")
    except TimeoutError:
        raise Failed(f"left behind: {', '.join(found(cluster))}") from None
