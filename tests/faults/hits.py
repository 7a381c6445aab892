"""Faults of real jobs: what is done to which command, and how it is judged."""
import os
import random
import shutil
import signal
import struct
import subprocess
import time
from pathlib import Path

from jobs import LIMIT, Failed, end_session, leftovers, logged, saved_steps, session_of

CALLS = {"open": 40, "write": 400, "sync": 50, "rename": 25, "unlink": 12, "mkdir": 9,
         "truncate": 24, "link": 2}  # about as many as a job makes
BAD_ENDS = {-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS, -signal.SIGFPE, 134, 135, 136, 139}


def at_a_call(draw, does, calls=None, on=False):
    call = draw.choice(calls or sorted(CALLS))
    place = draw.choice(["", "", "", "step-"]) if call != "link" else ""
    nth = int(CALLS.get(call, 60) ** draw.random())  # the first calls of a job as often as the rest
    words = f"call={call};nth={nth};does={does}"
    return {"SWITCHYARD_FAULT": words + (f";name={place}" if place else "") + (";on" if on else "")}


# Of each kind: what is drawn: variables of the environment, or (whom a kill hits, when).
KINDS = {
    "kill-one": lambda d: ("one", d.random()),
    "kill-launcher": lambda d: ("leader", d.random()),
    "kill-all": lambda d: ("all", d.random()),
    "slow-kill": lambda d: ("all slowly", d.random()),
    "die": lambda d: at_a_call(d, d.choice(["die-before", "die-behind"])),
    "die-group": lambda d: at_a_call(d, d.choice(["group-before", "group-behind"])),
    "error": lambda d: at_a_call(d, d.choice(["EIO", "EROFS", "EDQUOT", "EMFILE"])),
    "full": lambda d: at_a_call(d, "ENOSPC", ["write", "open", "mkdir", "truncate"], on=True),
    "short": lambda d: at_a_call(d, "short", ["write"]),
    "fsync": lambda d: at_a_call(d, d.choice(["EIO", "ENOSPC"]), ["sync"]),
    "read": lambda d: at_a_call(d, d.choice(["EIO", "short"]), ["read"]),
    "power": lambda d: ("power", d.random(), d.randrange(1, 10)),
}


KILLS = {"kill-one", "kill-launcher", "kill-all", "slow-kill"}


class Work:
    """Commands one behind the other; `base` is a folder that they begin with, `ends` the step
    that each run has at the end."""

    def __init__(self, jobs, name):
        train = jobs.train
        few = ["--keep-checkpoints", 2, "--keep-moments", 1]
        self.ranks = {"two": 2, "three": 3}.get(name, 1)
        self.base = None if name in ("fresh", "two", "three") else "main"
        self.commands = {
            "fresh": [train("main", 8)],
            "two": [train("main-2", 6, ranks=2, more=few[:2])],
            "three": [train("main-3", 4, ranks=3)],
            "resume": [train("main", 8, more=few)],
            "sync-save": [train("main", 8, save=1, more=["--no-async-save"])],
            "fork": [["fork", "main@4", "branch", "--lr-decay-style", "linear",
                      "--lr-decay-iters", 4], train("branch", 8)],
            "replay": [["fork", "main@3", "unsaved"], train("unsaved", 6)],
            "average": [["average", "main", "--steps", "2:4:2", "--output", "mean"]],
            "prune": [["prune", "main", *few, "--yes"]],
            "extend": [["extend", "main", "--at-step", 4, "--data-path",
                        jobs.work / "data" / "more"]],
        }[name]
        self.ends = {"fresh": {"main": 8}, "two": {"main-2": 6}, "three": {"main-3": 4},
                     "resume": {"main": 8}, "sync-save": {"main": 8}, "fork": {"branch": 8},
                     "replay": {"unsaved": 6}}.get(name, {})


WORKS = ["fresh", "fresh", "two", "two", "three", "resume", "resume", "sync-save", "fork", "replay",
         "average", "prune", "extend"]


class Hit:
    def __init__(self, jobs, seed, number, kinds):
        draw = random.Random(f"{seed} {number}")
        self.jobs, self.number = jobs, number
        self.kind = kinds[number % len(kinds)]
        self.name = draw.choice(WORKS if self.kind != "kill-launcher" else ["two", "three"])
        if self.kind == "read" and self.name in ("fresh", "two", "three"):
            self.name = draw.choice(["resume", "fork", "average"])
        self.work = Work(jobs, self.name)
        if self.kind == "power" and self.work.base:  # all that is there has to be recorded
            self.work.base = None
            self.work.commands.insert(0, jobs.train("main", 4))
        self.at = draw.randrange(len(self.work.commands)) if self.kind != "power" else 0
        self.what = KINDS[self.kind](draw)
        self.folder = jobs.work / "hits" / str(number) / "watched"
        self.fired = False

    def words(self):
        what = self.what.get("SWITCHYARD_FAULT") if isinstance(self.what, dict) else \
            f"{self.what[0]} at {self.what[1]:.2f}" + (f" {self.what[2]}" if self.what[2:] else "")
        return f"{self.kind} {self.name} command {self.at}: {what}"

    def prepare(self):
        shutil.rmtree(self.folder.parent, ignore_errors=True)
        self.folder.parent.mkdir(parents=True)
        if self.work.base:
            shutil.copytree(self.jobs.work / "bases" / self.work.base, self.folder)
        else:
            self.folder.mkdir()
        for command in self.work.commands[:self.at]:
            self.jobs.run(self.folder, command)

    def hit(self):
        """The exit code."""
        command = self.work.commands[self.at]
        if isinstance(self.what, dict):
            state = self.folder.parent / "state"
            job = self.jobs.start(self.folder, command,
                                  self.what | {"SWITCHYARD_STATE": str(state)})
            code = self.ended(job)
            self.fired = state.exists() and struct.unpack("QQ", state.read_bytes()[:16])[1] > 0
            return code
        if self.kind == "power":
            return self.cut_power()
        whom, when = self.what
        slow = {"SWITCHYARD_DELAY": "3"} if "slowly" in whom else None
        job = self.jobs.start(self.folder, command, slow)
        time.sleep(when * self.jobs.seconds * (2 if slow else 0.7))
        self.kill(job, whom)
        return self.ended(job)

    def cut_power(self):
        """Plays all, and puts in the place of the folder what the disk may have held on the way."""
        trace, left = self.folder.parent / "trace", self.folder.parent / "left"
        for command in self.work.commands:
            self.jobs.run(self.folder, command, {"SWITCHYARD_TRACE": str(trace)})
        left.mkdir()
        _, part, draw = self.what
        done = subprocess.run([self.jobs.states, trace, "--part", str(part), "--draws", "10",
                               "--draw", str(draw), "--seed", str(self.number), "--keep", left],
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failed(done.stdout + done.stderr)
        shutil.rmtree(self.folder)
        left.rename(self.folder)
        (self.folder.parent / "log").unlink()  # what was said holds no more
        self.fired = True
        return 0

    def kill(self, job, whom):
        there = session_of(job.pid)
        if not there:
            return
        self.fired = True
        chosen = [job.pid] if whom == "leader" else there
        if whom == "one":
            chosen = [random.Random(self.what[1]).choice(there)]
        for process in chosen:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def ended(self, job):
        """Of all processes, by themselves."""
        end = time.monotonic() + LIMIT
        try:
            while job.poll() is None or session_of(job.pid):
                if time.monotonic() > end:
                    raise Failed(f"{len(session_of(job.pid))} processes are there after {LIMIT} s")
                time.sleep(0.02)
            return job.returncode
        finally:
            end_session(job.pid)

    def judge(self):
        """Hits, judges what is left, goes on, and judges again."""
        for _ in range(5):
            self.prepare()
            code = self.hit()
            if self.fired or self.kind not in KILLS:
                break
            self.what = (self.what[0], self.what[1] / 2)  # it had ended before
        if code in BAD_ENDS:
            raise Failed(f"it ends with {code}")
        self.jobs.judge(self.folder, saved_steps(self.folder) if self.kind != "power" else "")
        self.jobs.run(self.folder, ["list", "."])
        for command in self.work.commands[self.at:]:
            self.jobs.run(self.folder, command)
        self.jobs.judge(self.folder, saved_steps(self.folder))
        for run, last in self.work.ends.items():
            wanted = {step: line for step, line in logged(self.jobs.reference / run).items()
                      if step <= last}
            if logged(self.folder / run) != wanted:
                raise Failed(f"{run} has other numbers than the run that was never hit")
            if not list((self.folder / run / "checkpoints").glob(f"*{last}/checkpoint.h5")):
                raise Failed(f"{run} has no step {last}")
        left = leftovers(self.folder, bool(self.work.ends))
        if left:
            raise Failed(f"left behind: {', '.join(left)}")
        shutil.rmtree(self.folder.parent)


def make_bases(jobs):
    """Runs that were never hit, with all of their steps; and what works begin with."""
    reference = jobs.reference
    reference.mkdir(parents=True)
    begun = time.monotonic()
    jobs.run(reference, jobs.train("main", 8, save=1))
    jobs.seconds = time.monotonic() - begun
    jobs.run(reference, jobs.train("main-2", 6, ranks=2, save=1))
    jobs.run(reference, jobs.train("main-3", 4, ranks=3, save=1))
    jobs.run(reference, ["fork", "main@4", "branch", "--lr-decay-style", "linear",
                         "--lr-decay-iters", 4])
    jobs.run(reference, jobs.train("branch", 8, save=1))
    jobs.run(reference, ["fork", "main@3", "unsaved"])
    jobs.run(reference, jobs.train("unsaved", 6, save=1))
    base = jobs.work / "bases" / "main"
    base.mkdir(parents=True)
    jobs.run(base, jobs.train("main", 4))


def make_data(jobs):
    (jobs.work / "data").mkdir(parents=True)
    for name, factor in (("text", 1), ("more", 3)):
        text = jobs.work / f"{name}.txt"
        text.write_text("".join(f"{i * i * factor % 97} cats, \n" for i in range(1500)))
        jobs.run(Path(jobs.work / "data"), ["tokenize", "--input", text, "--output-prefix", name])
