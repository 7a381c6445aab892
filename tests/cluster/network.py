"""The bridge between the nodes and their cables, each a pair of interfaces whose one end is here."""
import subprocess

NETWORK = "10.77.0"
CONTROLLER = f"{NETWORK}.1"


def address_of(number):
    return f"{NETWORK}.{10 + number}"


def call(*words):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(str(w) for w in words)}: {done.stderr.strip()}")
    return done.stdout


def make_bridge():
    call("ip", "link", "set", "lo", "up")
    call("ip", "link", "add", "br0", "type", "bridge", "forward_delay", "0")
    call("ip", "address", "add", f"{CONTROLLER}/24", "dev", "br0")
    call("ip", "link", "set", "br0", "up")


class Cable:
    """From the bridge to a node, whose network is that of the process `pid`."""

    def __init__(self, number, pid):
        self.end = f"v{number}"
        call("ip", "link", "add", self.end, "type", "veth", "peer", "name", "eth0", "netns", pid)
        call("ip", "link", "set", self.end, "master", "br0", "up")

    def cut(self):
        call("ip", "link", "set", self.end, "down")

    def mend(self):
        call("ip", "link", "set", self.end, "up")

    def disturb(self, *netem):
        """As in disturb("delay", "20ms", "loss", "1%"), of what goes to the node."""
        call("tc", "qdisc", "replace", "dev", self.end, "root", "netem", *netem)

    def calm(self):
        call("tc", "qdisc", "delete", "dev", self.end, "root")
