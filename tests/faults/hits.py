"""Faults of real jobs: what is done to which command, and how it is judged."""
import os
import random
import shutil
import signal
import struct
import subprocess
import time
from pathlib import Path

from disks import ReadOnly, SmallDisk, bytes_below
from jobs import (LIMIT, Failed, end_session, last_line, leftovers, logged, saved_steps,
                  session_of)

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
    "dead-disk": lambda d: at_a_call(d, d.choice(["EIO", "EROFS"]), ["any", "any", "read"],
                                     on=True),
    "read-only": lambda d: ("read-only", d.random()),
    "small-disk": lambda d: ("small disk", d.random()),
    "power": lambda d: ("power", d.random(), d.randrange(1, 10)),
}


KILLS = {"kill-one", "kill-launcher", "kill-all", "slow-kill", "read-only"}
MOUNTED = {"read-only", "small-disk"}  # as root alone
READERS = ["resume", "resume-two", "fork", "average", "reshard"]


class Work:
    """Commands one behind the other; `base` is a folder that they begin with, `ends` the step
    that each run has at the end."""

    def __init__(self, jobs, name):
        train = jobs.train
        few = ["--keep-checkpoints", 2, "--keep-moments", 1]
        self.base = {"fresh": None, "two": None, "three": None, "mpirun": None,
                     "resume-two": "main-2"}.get(name, "main")
        self.commands = {
            "fresh": [train("main", 8)],
            "two": [train("main-2", 6, ranks=2, more=few[:2])],
            "three": [train("main-3", 4, ranks=3)],
            "mpirun": [train("main-2", 6, ranks=2, more=few[:2], starter="mpirun")],
            "resume-two": [train("main-2", 6, ranks=2)],
            "resume": [train("main", 8, more=few)],
            "sync-save": [train("main", 8, save=1, more=["--no-async-save"])],
            "fork": [["fork", "main@4", "branch", "--lr-decay-style", "linear",
                      "--lr-decay-iters", 4], train("branch", 8)],
            "replay": [["fork", "main@3", "unsaved"], train("unsaved", 6)],
            "average": [["average", "main", "--steps", "2:4:2", "--output", "mean"]],
            "prune": [["prune", "main", *few, "--yes"]],
            "convert": [["convert", "--from", "main", "--to", "published"]],
            "reshard": [["reshard", "main@4", "carried", "--writers", 2], train("carried", 8)],
            "extend": [["extend", "main", "--at-step", 4, "--data-path",
                        jobs.work / "data" / "more"]],
        }[name]
        self.ends = {"fresh": {"main": 8}, "two": {"main-2": 6}, "three": {"main-3": 4},
                     "mpirun": {"main-2": 6}, "resume-two": {"main-2": 6}, "resume": {"main": 8},
                     "sync-save": {"main": 8}, "fork": {"branch": 8}, "replay": {"unsaved": 6},
                     "reshard": {"carried": 8}}.get(name, {})


WORKS = ["fresh", "fresh", "two", "two", "three", "mpirun", "mpirun", "resume", "resume",
         "resume-two", "sync-save", "fork", "replay", "average", "prune", "extend", "convert",
         "reshard"]
WITH_BASE = [name for name in WORKS if name not in ("fresh", "two", "three", "mpirun")]
WORKS_OF = {"kill-launcher": ["two", "three", "mpirun"], "read": READERS, "read-only": WITH_BASE}


def same_files(one, other, name):
    files = {p.name: p.read_bytes() for p in (one / name).iterdir()}
    return files == {p.name: p.read_bytes() for p in (other / name).iterdir()}


class Hit:
    def __init__(self, jobs, seed, number, kinds):
        draw = random.Random(f"{seed} {number}")
        self.jobs, self.number = jobs, number
        self.kind = kinds[number % len(kinds)]
        self.name = draw.choice(WORKS_OF.get(self.kind, WORKS))
        self.work = Work(jobs, self.name)
        if self.kind == "power" and self.work.base:  # all that is there has to be recorded
            ranks = 2 if self.work.base == "main-2" else 1
            self.work.commands.insert(0, jobs.train(self.work.base, 4, ranks=ranks))
            self.work.base = None
        self.at = draw.randrange(len(self.work.commands)) if self.kind != "power" else 0
        self.what = KINDS[self.kind](draw)
        self.folder = jobs.work / "hits" / str(number) / "watched"
        self.fired = False
        self.code = None
        self.instant = ""
        self.disk = None

    def drawn(self):
        return self.what.get("SWITCHYARD_FAULT") if isinstance(self.what, dict) else \
            f"{self.what[0]} at {self.what[1]:.2f}" + (f" {self.what[2]}" if self.what[2:] else "")

    def words(self):
        where = f" (hit: {self.instant})" if self.instant else ""
        return f"{self.kind} {self.name} command {self.at}: {self.drawn()}{where}"

    def line(self):
        return {"kind": self.kind, "work": self.name, "command": self.at, "drawn": self.drawn(),
                "hit": self.fired, "instant": self.instant, "code": self.code}

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
            self.read_state(state)
            return code
        if self.kind == "power":
            return self.cut_power()
        whom, when = self.what
        if self.kind == "small-disk":
            return self.fill(when)
        slow = {"SWITCHYARD_DELAY": "3"} if "slowly" in whom else None
        job = self.jobs.start(self.folder, command, slow)
        seconds = when * self.jobs.seconds * (2 if slow or self.name == "mpirun" else 0.7)
        time.sleep(seconds)
        self.instant = f"{seconds:.2f} s behind the start, {last_line(self.folder)}"
        if self.kind == "read-only":
            return self.lock_disk(job)
        self.kill(job, whom)
        return self.ended(job)

    def read_state(self, state):
        """Of faults.c: how many calls were hit, and the first of them."""
        if not state.exists():
            return
        whole = state.read_bytes()
        counted, fired = struct.unpack("QQ", whole[:16])
        self.fired = fired > 0
        if self.fired:
            where = whole[16:].split(b"\0")[0].decode(errors="replace")
            self.instant = f"{where}, {fired} of {counted} calls"

    def fill(self, part):
        room = int(part ** 2 * self.jobs.bytes)
        self.disk = SmallDisk(self.folder, room)
        self.instant = f"room for {room} bytes"
        code = self.jobs.end(self.jobs.start(self.folder, self.work.commands[self.at]))
        self.fired = code != 0
        self.disk.make_room()
        return code

    def lock_disk(self, job):
        self.fired = job.poll() is None
        locked = [ReadOnly(run) for run in self.folder.iterdir() if run.is_dir()]
        try:
            return self.ended(job)
        finally:
            for each in locked:
                each.end()

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
        self.instant = done.stdout.splitlines()[0]
        if not self.instant.startswith("kept draw"):
            raise Failed(f"nothing was kept of the cut: {done.stdout}")
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

    def is_made(self, command):
        """Of those that are refused where all is already so, rather than do nothing."""
        new = {"convert": command[-1], "reshard": command[2]}.get(command[0])
        return new is not None and (self.folder / new).exists()

    def judge(self):
        try:
            self.hit_and_go_on()
        finally:
            if self.disk:
                self.disk.end()
        shutil.rmtree(self.folder.parent)

    def hit_and_go_on(self):
        """Hits, judges what is left, goes on, and judges again."""
        for _ in range(5):
            self.prepare()
            code = self.code = self.hit()
            if self.fired or self.kind not in KILLS:
                break
            self.what = (self.what[0], self.what[1] / 2)  # it had ended before
        if code in BAD_ENDS or (self.kind in MOUNTED and code not in (0, 5)):
            raise Failed(f"it ends with {code}")
        if code != 0 and isinstance(self.what, dict) and "short" in str(self.what):
            raise Failed(f"a call that comes short is no fault, but it ends with {code}")
        self.jobs.judge(self.folder, saved_steps(self.folder) if self.kind != "power" else "")
        self.jobs.run(self.folder, ["list", "."])
        for command in self.work.commands[self.at:]:
            if not self.is_made(command):
                self.jobs.run(self.folder, command)
        self.jobs.judge(self.folder, saved_steps(self.folder))
        if self.name == "convert" and not same_files(self.jobs.reference, self.folder, "published"):
            raise Failed("the published folder differs from that of a run that was never hit")
        for run, last in self.work.ends.items():
            wanted = {step: line for step, line in logged(self.jobs.reference / run).items()
                      if step <= last}
            if logged(self.folder / run) != wanted:
                raise Failed(f"{run} has other numbers than the run that was never hit")
            if not list((self.folder / run / "checkpoints").glob(f"*{last}/checkpoint.h5")):
                raise Failed(f"{run} has no step {last}")
        left = leftovers(self.folder, self.work.ends)
        if left:
            raise Failed(f"left behind: {', '.join(left)}")


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
    jobs.run(reference, ["convert", "--from", "main@4", "--to", "published"])
    jobs.run(reference, ["reshard", "main@4", "carried", "--writers", 2])
    jobs.run(reference, jobs.train("carried", 8, save=1))
    for name, ranks in (("main", 1), ("main-2", 2)):
        base = jobs.work / "bases" / name
        base.mkdir(parents=True)
        jobs.run(base, jobs.train(name, 4, ranks=ranks))
    jobs.bytes = bytes_below(jobs.work / "bases" / "main")  # of two steps


def make_data(jobs):
    (jobs.work / "data").mkdir(parents=True)
    for name, factor in (("text", 1), ("more", 3)):
        text = jobs.work / f"{name}.txt"
        text.write_text("".join(f"{i * i * factor % 97} cats, \n" for i in range(1500)))
        jobs.run(Path(jobs.work / "data"), ["tokenize", "--input", text, "--output-prefix", name])
