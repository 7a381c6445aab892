"""What the stages of tests/gpu/run stand on: programs, how they are started, results."""
import ctypes
import json
import os
import shutil
import signal
import subprocess
import threading
import traceback
from pathlib import Path
from typing import Callable, NamedTuple


class Stage(NamedTuple):
    limit: int  # seconds
    body: Callable


STAGES = {}  # in the order of their value


def stage(name, limit):
    def register(body):
        STAGES[name] = Stage(limit, body)
        return body
    return register


class Failed(Exception):
    pass


class Skipped(Exception):
    pass


def cuda_of_python():
    """CUDA's libraries in Python's packages, where a machine has no toolkit."""
    try:
        import nvidia
    except ImportError:
        return []
    return [str(p) for root in nvidia.__path__ for p in sorted(Path(root).glob("*/lib"))]


def die_with_parent():
    """In a new process: the kernel ends it when the one that started it ends, however that does."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def kill_tree(pid):
    """Ends a process and what it has started, which would else hold its output open."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:  # it has ended
            continue
        parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    tree = [pid]
    for parent in tree:
        tree += parents.get(parent, [])
    for one in tree:
        try:
            os.kill(one, signal.SIGKILL)
        except ProcessLookupError:
            pass


CACHES = ("CUDA_CACHE_PATH", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "XDG_CACHE_HOME")


class Place:
    """Where the programs are and what they run on; `toy`: in shapes that take a moment."""

    def __init__(self, here, build, out, device, toy):
        package = here.parent.parent
        self.bin = build or (package / "bin" if (package / "bin").is_dir()
                             else package / "build" / "release")
        self.house, self.out, self.device, self.toy = package, out, device, toy
        self.environment = dict(os.environ)  # of our programs
        for name in CACHES:  # which would else lie in the home folder
            self.environment.setdefault(name, str(out / "caches" / name.lower()))
        self.others = dict(self.environment)  # of programs that are none of ours
        self.environment.setdefault("NCCL_DEBUG", "WARN")  # why a communicator was refused
        if toy:
            self.environment.setdefault("OMP_NUM_THREADS", "2")
        self.environment["SWITCHYARD_GOLDEN_FOLDER"] = str(package / "tests" / "golden")
        if (package / "lib").is_dir():
            folders = [str(package / "lib"), *cuda_of_python(),
                       self.environment.get("LD_LIBRARY_PATH", ""), "/usr/local/cuda/lib64"]
            self.environment["LD_LIBRARY_PATH"] = ":".join(f for f in folders if f)

    def program(self, name):
        for folder in ("", "tests/gpu"):
            path = self.bin / folder / name
            if path.exists():
                return str(path)
        raise Failed(f"{name} is missing under {self.bin}; build it first")

    def tool(self, name):
        """A program of the CUDA toolkit, or None."""
        return shutil.which(name) or shutil.which(name, path="/usr/local/cuda/bin")

    def call(self, command, check=True, limit=None, environment=None, each=lambda line: None):
        """Runs a command, printing what it says while it says it; `each` is given each line.

        Ended at its limit: status -9.
        """
        print("$", *command, flush=True)
        try:
            process = subprocess.Popen([str(c) for c in command],
                                       env=environment or self.environment,
                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                       stdin=subprocess.DEVNULL, text=True, errors="replace",
                                       preexec_fn=die_with_parent)
        except OSError as why:
            raise Failed(f"{command[0]} cannot be started: {why.strerror}") from why
        late = threading.Event()

        def end():
            late.set()
            kill_tree(process.pid)

        timer = threading.Timer(limit or 1e6, end)
        timer.daemon = True
        timer.start()
        lines = []
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
            each(line)
        status = process.wait()
        timer.cancel()
        if late.is_set():
            lines.append(f"ended at its limit of {limit:.0f} s\n")
        done = subprocess.CompletedProcess(command, status, "".join(lines))
        if check and status != 0:
            raise Failed(f"{Path(str(command[0])).name} ended with {status}: {ends_with(done)}")
        return done

    def switchyard(self, *words, **more):
        return self.call([self.program("switchyard"), *words], **more)

    def json_of(self, *words, **more):
        return last_json(self.switchyard(*words, **more))

    def tokens(self):
        """A small token set of real text: the program's own documents."""
        prefix = self.out / "text"
        if not prefix.with_suffix(".idx").exists():
            text = [p for p in (self.house / "docs").glob("*.md")] + [self.house / "README.md"]
            self.switchyard("tokenize", "--input", *text, "--output-prefix", prefix)
        return prefix


def last_json(done):
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        raise Failed(f"{Path(str(done.args[0])).name} printed no result: {ends_with(done)}")
    return json.loads(lines[-1])


def ends_with(done, length=300):
    """The last lines of what a command said, in one; an error is often above a trace."""
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    return " | ".join(lines[-4:])[-length:]


def run(name, place, record):
    """The process of one stage; its exit status."""
    try:
        STAGES[name].body(place, record)
        return 0
    except Skipped as why:
        record(name, status="skipped", why=str(why))
        return 0
    except Failed as why:
        print(f"FAILED: {why}")
        return 1


def attempt(record, name, body):
    """What fails in here is a result of its own, and the stage goes on."""
    try:
        body()
    except Skipped as why:
        record(name, status="skipped", why=str(why))
    except Failed as why:
        print(f"FAILED: {name}: {why}", flush=True)
        record(name, status="failed", why=str(why))
    except Exception as why:  # an answer that nobody expected costs this result alone
        traceback.print_exc()
        record(name, status="failed", why=f"{type(why).__name__}: {why}")
