"""Starts jobs of the program, with the preloaded library's faults or without, and judges folders."""
import json
import os
import signal
import struct
import subprocess
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODEL = ("--num-layers 2 --hidden-size 16 --num-attention-heads 2 --seq-length 12"
         " --global-batch-size 6 --micro-batch-size 1 --lr 1e-3 --lr-warmup-iters 4"
         " --hidden-dropout 0.1 --device cpu").split()
LIMIT = 120  # seconds, for a job that takes one or two
RANKS = {1: [], 2: ["--tp", "2"], 3: []}


class Failed(Exception):
    pass


class Jobs:
    """`work` has data/, reference/ and a folder for each fault."""

    def __init__(self, build, work, program=None):
        self.program = program or build / "switchyard"
        self.shim = build / "tests" / "faults" / "libfaulty_files.so"
        self.states = build / "tests" / "faults" / "crash_states"
        self.work = work
        self.reference = work / "reference"
        self.started = 0

    def train(self, run, steps, ranks=1, save=2, more=(), starter="launch"):
        words = ["train", run, "--data-path", self.work / "data" / "text", *MODEL, "--train-iters",
                 steps, "--save-interval", save, *RANKS[ranks], *more]
        return words if ranks == 1 else [starter, "-np", ranks, "--", *words]

    def start(self, folder, words, variables=None):
        """In the folder, in a process group of its own; prints go to folder/../log."""
        self.started += 1
        environment = dict(os.environ, OMP_NUM_THREADS="1", **(variables or {}))
        if variables:
            environment["LD_PRELOAD"] = str(self.shim)
            environment["SWITCHYARD_WATCHED"] = str(folder)
        with open(folder.parent / "log", "ab") as log:
            log.write(f"$ {' '.join(str(w) for w in words)} {variables or ''}\n".encode())
            log.flush()
            return subprocess.Popen(self.line(words), cwd=folder, env=environment, stdout=log,
                                    stderr=log, start_new_session=True)

    def line(self, words):
        program, words = str(self.program), [str(word) for word in words]
        if words[0] != "mpirun":
            return [program, *words]
        return [str(HERE.parents[1] / "launch" / "mpirun"), *words[1:3], program, *words[4:]]

    def end(self, job, limit=LIMIT):
        """Its exit code; all that belongs to it is gone then."""
        try:
            return job.wait(limit)
        except subprocess.TimeoutExpired:
            raise Failed(f"it has not ended within {limit} s") from None
        finally:
            end_session(job.pid)

    def run(self, folder, words, variables=None, codes=(0,)):
        code = self.end(self.start(folder, words, variables))
        if code not in codes:
            raise Failed(f"switchyard {words[0]} ends with {code}: {tail(folder)}")
        return code

    def judge(self, folder, said=""):
        """Of a folder as it is: every step that counts as complete, and what was promised."""
        (folder.parent / "said").write_text(said)
        done = subprocess.run([self.states, folder, "--reference", self.reference, "--said",
                               folder.parent / "said"], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failed((done.stdout + done.stderr).strip()[-800:])


def session_of(leader):
    """All processes of the session, threads' children too."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(entry.name))
    return found


def end_session(leader):
    for _ in range(100):
        left = session_of(leader)
        if not left:
            return
        for process in left:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.02)


def tail(folder):
    return (folder.parent / "log").read_text(errors="replace")[-700:]


def last_line(folder):
    """Of what the job has said so far; "silent" where that is nothing."""
    *_, last = (folder.parent / "log").read_text(errors="replace").splitlines()
    return "silent" if last.startswith("$ ") else f"behind '{last}'"


def saved_steps(folder):
    """The newest step of each run that the log says is saved, as lines for promises.h."""
    newest, run = {}, ""
    for line in (folder.parent / "log").read_text(errors="replace").splitlines():
        words = line.split()
        if line.startswith("$ ") and "train" in words:
            run = words[words.index("train") + 1]
        if "saved step" in line and " in " in line and run:
            newest[run] = int(line.split("saved step ")[1].split()[0])
    return "".join(f"harness: step {run} {step}\n" for run, step in newest.items())


def logged(run):
    """Step -> (loss, norm) of the lines of metrics.jsonl."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: (line["loss"], line["grad_norm"]) for line in lines}


def leftovers(folder, started):
    """Files that nobody needs any more once a start of each run in `started` has ended well. What a
    command that is killed leaves in another run, a lease or a .look-ID, goes with that run's next
    start."""
    def is_left(path):
        if path.name.endswith((".tmp", ".unfinished", ".leaving", ".whole")):
            return True
        own = path.relative_to(folder).parts[0] in started
        return own and (path.name == "lease" or path.name.startswith(".look-"))
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if is_left(p))


def add_line(trace, text):
    """Of the driver's, into a trace: see promises.h."""
    data = f"harness: {text}\n".encode()
    with open(trace, "ab") as file:
        file.write(struct.pack("<IIQqIIQ", 11, 0, 0, 0, 0, 0, len(data)) + data)
