"""The bridge between the nodes and their cables, each a pair of interfaces whose one end is here."""
import subprocess

from outside import HERE, die_with_parent

NETWORK = "10.77.0"
CONTROLLER = f"{NETWORK}.1"
# Set, or it is the lowest of the cables': with a node that one would go, and the others would know
# the controller by an address that nobody has, until they ask again after many seconds.
CONTROLLER_LINK = "02:00:00:00:01:00"


def address_of(number):
    return f"{NETWORK}.{10 + number}"


def call(*words):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(str(w) for w in words)}: {done.stderr.strip()}")
    return done.stdout


def make_bridge():
    call("ip", "link", "set", "lo", "up")
    call("ip", "link", "add", "br0", "address", CONTROLLER_LINK, "type", "bridge", "forward_delay",
         "0")
    call("ip", "address", "add", f"{CONTROLLER}/24", "dev", "br0")
    call("ip", "link", "set", "br0", "up")


class Cable:
    """From the bridge to a node, whose network is that of the process `pid`."""

    def __init__(self, number, pid):
        self.end, self.carrier = f"v{number}", None
        own = f"02:00:00:00:00:{number:02x}"  # of the node also when it is started again, as peers know it
        call("ip", "link", "add", self.end, "type", "veth", "peer", "name", "eth0", "address", own,
             "netns", pid)
        call("ip", "link", "set", self.end, "master", "br0", "up")

    def remove(self):
        self.calm()
        subprocess.run(["ip", "link", "delete", self.end], stderr=subprocess.DEVNULL, check=False)

    def cut(self):
        call("ip", "link", "set", self.end, "down")

    def mend(self):
        call("ip", "link", "set", self.end, "up")

    def disturb(self, milliseconds, loss, seed=1):
        """Frames take so long each way and are lost with this probability, until calm()."""
        near, far, aside = f"a{self.end}", f"b{self.end}", f"br{self.end}"
        for tap in (near, far):
            call("ip", "tuntap", "add", tap, "mode", "tap")
        call("ip", "link", "add", aside, "type", "bridge", "forward_delay", "0")
        self.carrier = subprocess.Popen([HERE / "bad_cable", near, far, str(milliseconds), str(loss),
                                         str(seed)], stdout=subprocess.PIPE,
                                        preexec_fn=die_with_parent)
        self.carrier.stdout.readline()
        for tap, bridge in ((near, "br0"), (far, aside)):
            call("ip", "link", "set", tap, "master", bridge, "up")
        call("ip", "link", "set", aside, "up")
        call("ip", "link", "set", self.end, "master", aside)

    def calm(self):
        if self.carrier is None:
            return
        call("ip", "link", "set", self.end, "master", "br0")
        self.carrier.kill()
        self.carrier.wait()
        self.carrier = None
        for link in (f"a{self.end}", f"b{self.end}", f"br{self.end}"):
            call("ip", "link", "delete", link)
