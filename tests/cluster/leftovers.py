"""What a job may not leave on its nodes: processes, listening ports, shared memory, locks."""
from pathlib import Path

from nodes import wait_until
from workload import WORK, Failed


def listening(node):
    """Ports of a node that something listens on."""
    ports = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{node.first()}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                ports.add(int(fields[1].rsplit(":", 1)[1], 16))
    return ports


def shared_memory(node):
    return {p.name for p in Path(f"/proc/{node.first()}/root/dev/shm").iterdir()}


def snapshot(cluster):
    return {name: (listening(node), shared_memory(node)) for name, node in cluster.nodes.items()}


def locked_runs():
    """Runs whose lock is held, by /proc/locks."""
    inodes = {line.split()[5].rsplit(":", 1)[1] for line in
              Path("/proc/locks").read_text().splitlines() if len(line.split()) > 5}
    return [str(lock) for lock in WORK.glob("**/lock") if str(lock.stat().st_ino) in inodes]


def found(cluster, before):
    """Of each thing that was left a line."""
    left = [f"process {pid} ({values.get('SLURM_STEP_ID', '')})"
            for pid, values in cluster.processes().items()]
    for name, (ports, memory) in snapshot(cluster).items():
        old_ports, old_memory = before.get(name, (set(), set()))
        left += [f"{name}: port {port}" for port in ports - old_ports]
        left += [f"{name}: /dev/shm/{file}" for file in memory - old_memory]
    return left + [f"lock {path}" for path in locked_runs()]


def expect_none(cluster, before, seconds=10):
    try:
        wait_until(lambda: not found(cluster, before), seconds, "nothing is left")
    except TimeoutError:
        raise Failed(f"left behind: {', '.join(found(cluster, before))}") from None
