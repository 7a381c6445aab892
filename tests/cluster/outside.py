"""The way into the cluster's namespaces, and what is looked at outside of them before and after.

The tests run as the first process of namespaces for processes, network, mounts, host name and IPC:
whatever they start or mount ends with them, also when they are killed.
"""
import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SKIPPED = 77
INSIDE = "SWITCHYARD_CLUSTER_INSIDE"
OWN_NAMESPACES = ("--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child",
                  "--mount-proc")


def die_with_parent():
    """In a new process: the kernel ends it when the one that started it ends, however that does."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def refusal():
    """Why this machine cannot hold a cluster; empty where it can."""
    if os.getuid() != 0:
        return "root is needed"
    probe = ["unshare", *OWN_NAMESPACES, "mount", "-t", "tmpfs", "probe", "/mnt"]
    done = subprocess.run(probe, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"namespaces are refused: {done.stderr.strip()}"


def traces():
    """What a cluster could leave here: mounts, interfaces, named networks, shared memory."""
    mounts = {line for line in Path("/proc/self/mountinfo").read_text().splitlines()
              if line.split()[4].startswith("/mnt") or line.split()[-2] in ("cluster", "ctl")}
    interfaces = {f"interface {p.name}" for p in Path("/sys/class/net").iterdir()
                  if p.name == "br0" or p.name[:1] == "v" and p.name[1:].isdigit()}
    # Names of Open MPI's and our shared memory have the host's in them; others have files there, too.
    shared = {str(p) for p in Path("/dev/shm").iterdir()
              if any(f".n{i}." in p.name for i in range(1, 10))}
    return mounts | interfaces | shared


def survivors(token):
    """Processes that still have our token in their environment."""
    marked = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            if token in environment.read_bytes() and int(environment.parent.name) != os.getpid():
                marked.append(f"process {environment.parent.name}: "
                              + (environment.parent / "comm").read_text().strip())
        except OSError:  # it has ended
            continue
    return marked


def enter(arguments):
    """Returns inside the namespaces; outside it runs the same program there and ends with its code."""
    if os.environ.get(INSIDE):
        return
    why = refusal()
    if why:
        print(f"skipped: no cluster can be made here: {why}")
        sys.exit(SKIPPED)
    if subprocess.run([HERE / "setup"], check=False).returncode != 0:
        sys.exit("FAILED: packages could not be installed")
    token = f"switchyard-cluster-{os.getpid()}"
    before = traces()
    inside = subprocess.Popen(["unshare", *OWN_NAMESPACES, sys.executable, *arguments],
                              env={**os.environ, INSIDE: token}, preexec_fn=die_with_parent)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: inside.kill())
    code = inside.wait()
    left = sorted(traces() - before) + survivors(f"{INSIDE}={token}".encode())
    for trace in left:
        print(f"FAILED: left behind: {trace}")
    sys.exit(1 if left or code < 0 else code)
