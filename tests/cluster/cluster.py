"""The cluster: nodes n1 to nN, a controller `ctl` where the tests run, files that all see in /mnt."""
import os
import signal
import subprocess
import time
from pathlib import Path

import network
import slurm
from nodes import HOSTS, Node, wait_until
from outside import HERE

SHARED = ("house", "build", "etc", "log", "run", "state", "view", "work")


def prepare_files(bound):
    """The file system of the cluster: its own /mnt and /tmp, and folders of the machine bound in."""
    opened = {name: os.open(folder, os.O_PATH) for name, folder in bound.items()}
    network.call("mount", "-t", "tmpfs", "-o", "mode=755", "cluster", "/mnt")
    for name in SHARED:
        (Path("/mnt") / name).mkdir()
    for name, descriptor in opened.items():
        network.call("mount", "--bind", f"/proc/{os.getpid()}/fd/{descriptor}", f"/mnt/{name}")
        os.close(descriptor)
    network.call("mount", "--bind", "/mnt/work", "/mnt/view")  # nodes put FUSE in its place
    for folder in ("/tmp", "/dev/shm"):
        network.call("mount", "-t", "tmpfs", "-o", "mode=1777", "ctl", folder)
    os.chdir("/mnt/work")


def user_environment():
    """What a user of the cluster has. Its nodes share a few real cores, so ranks yield."""
    kept = {k: v for k, v in os.environ.items()
            if not k.startswith(("SLURM", "OMPI", "OMP_", "PMIX")) or k == "SLURM_CONF"}
    return {**kept, "SLURM_CONF": "/mnt/etc/slurm.conf", "OMP_NUM_THREADS": "1", "LC_ALL": "C",
            "PATH": "/mnt/build:/mnt/house/launch:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/tmp",
            "SLURM_PMIX_FENCE": "ring",
            "OMPI_MCA_mpi_yield_when_idle": "1", "OMPI_MCA_hwloc_base_binding_policy": "none",
            "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


class Cluster:
    """`options` name the folders of the program and, where they are to be kept, of the logs."""

    def __init__(self, options, nodes=3, cpus=4, silence=15, small_disk=False):
        os.environ.update(user_environment())
        bound = {"house": HERE.parents[1], "build": options.build}
        if options.logs:
            options.logs.mkdir(parents=True, exist_ok=True)
            for old in [*options.logs.glob("*.out"), *options.logs.glob("*.log")]:
                old.unlink()
            bound["log"] = options.logs
        prepare_files(bound)
        if small_disk:
            Path("/mnt/small").mkdir()
            network.call("mount", "-t", "tmpfs", "-o", "size=8m", "small", "/mnt/small")
        slurm.write_configuration(nodes, cpus, silence)
        network.call("hostname", "ctl")
        network.call("mount", "--bind", HOSTS, "/etc/hosts")
        network.make_bridge()
        self.munge = slurm.start_munge()
        wait_until(lambda: Path("/mnt/run/munge.sock").exists(), 10, "munge answers")
        self.controller = slurm.start_controller()
        self.nodes = {f"n{i}": Node(i, dict(os.environ)) for i in range(1, nodes + 1)}
        self.await_nodes()

    def await_nodes(self, seconds=40):
        """Until Slurm can use every node; one that went down is back when its slurmd reports."""
        def ready():
            states = self.states().values()
            return len(states) == len(self.nodes) and all(
                state in ("idle", "mixed", "allocated", "completing") for state in states)
        wait_until(ready, seconds, "all nodes are up", interval=0.1)

    def states(self):
        """Of the nodes, in Slurm's words; behind one that does not answer stands a star."""
        lines = self.ask("sinfo", "-h", "-p", "main", "-N", "-o", "%N %T").split("\n")
        return dict(line.split() for line in lines if line.strip())

    def words(self):
        """What Slurm does with nodes and jobs, for a message."""
        jobs = self.ask("squeue", "-h", "-o", "%i %T %r").split("\n")
        return f"nodes {self.states()}, jobs {[job for job in jobs if job]}"

    def ask(self, *words, check=False):
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def restart_controller(self, silent_for=1.0):
        self.controller.terminate()
        self.controller.wait()
        time.sleep(silent_for)
        self.controller = slurm.start_controller()

    def processes(self):
        """Of the program, on all nodes: number -> its words and its environment."""
        found = {}
        for program in Path("/proc").glob("[0-9]*/exe"):
            try:
                if os.path.basename(os.readlink(program)) != "switchyard":
                    continue
                words = (program.parent / "cmdline").read_text(errors="replace").split("\0")
                pairs = (program.parent / "environ").read_text(errors="replace").split("\0")
            except OSError:  # it has ended; one that is dead has no program
                continue
            environment = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
            found[int(program.parent.name)] = (words, environment)
        return found

    def ranks(self):
        """World rank -> number of the process, of the one job that runs."""
        ranks = {}
        for pid, (words, environment) in self.processes().items():
            names = ("OMPI_COMM_WORLD_RANK", "PMIX_RANK", "RANK", "SLURM_PROCID")
            own = [environment[name] for name in names if name in environment]
            if own and words[1:2] not in ([], ["launch"]):  # one that is just started has no words
                ranks[int(own[0])] = pid
        return ranks

    def signal_rank(self, rank, name):
        os.kill(self.ranks()[rank], getattr(signal, f"SIG{name}"))

    def end_all(self):
        """Every job and every process of the program."""
        self.ask("scancel", "--state=PENDING,RUNNING,SUSPENDED", "-u", "root")
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def stop(self):
        for node in self.nodes.values():
            if node.runs():
                node.kill(silently=False)
        for one in (self.controller, self.munge):
            one.kill()
            one.wait()
