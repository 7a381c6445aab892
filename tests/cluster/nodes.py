"""A node: namespaces of its own on a cable, with slurmd in it."""
import os
import signal
import subprocess
import time
from pathlib import Path

from network import Cable, address_of
from outside import HERE, OWN_NAMESPACES, die_with_parent

HOSTS = Path("/mnt/etc/hosts")


def wait_until(condition, seconds, what, interval=0.05):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(interval)


class Node:
    def __init__(self, number, environment):
        self.number, self.name, self.environment = number, f"n{number}", environment
        self.outer = None
        self.start()

    def runs(self):
        return self.outer is not None and self.outer.poll() is None

    def start(self):
        """Nothing where it runs."""
        if self.runs():
            return
        log = open(f"/mnt/log/slurmd.{self.name}.log", "a")
        command = [HERE / "node_init", self.name, address_of(self.number), HOSTS]
        self.outer = subprocess.Popen(["unshare", *OWN_NAMESPACES, *command], stdout=log,
                                      stderr=log, env=self.environment,
                                      stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)
        log.close()
        wait_until(lambda: self.first(), 10, f"{self.name} has a first process")
        self.cable = Cable(self.number, self.outer.pid)

    def first(self):
        """The number of the node's first process, as seen from here."""
        children = Path(f"/proc/{self.outer.pid}/task/{self.outer.pid}/children").read_text()
        return int(children.split()[0]) if children.split() else None

    def command(self, *words):
        return ["nsenter", "--all", "-t", str(self.first()), "--", *[str(w) for w in words]]

    def run(self, *words, **more):
        return subprocess.run(self.command(*words), capture_output=True, text=True, check=False,
                              env=self.environment, **more)

    def kill(self, silently):
        """All processes at once. `silently`: as without power, nothing says good-bye."""
        if not self.runs():
            return
        if silently:
            self.cable.cut()
        os.kill(self.first(), signal.SIGKILL)
        self.outer.wait()  # for its child, which ends behind all others of the node
        self.cable.remove()
