"""Jobs whose changes are recorded: the power is cut at every place of them by crash_states."""
import shutil
import subprocess

from jobs import Failed, add_line


class Recording:
    """A folder `watched` in which commands leave a trace."""

    def __init__(self, jobs, name):
        self.jobs = jobs
        self.place = jobs.work / "recorded" / name
        shutil.rmtree(self.place, ignore_errors=True)
        self.folder = self.place / "watched"
        self.folder.mkdir(parents=True)
        self.trace = self.place / "trace"

    def say(self, text):
        add_line(self.trace, text)

    def run(self, words, fault=None, codes=(0,)):
        variables = {"SWITCHYARD_TRACE": str(self.trace)}
        if fault:
            state = self.place / "state"
            state.unlink(missing_ok=True)
            variables |= {"SWITCHYARD_FAULT": fault, "SWITCHYARD_STATE": str(state)}
        return self.jobs.run(self.folder, words, variables, codes)

    def train(self, run, steps, fault=None, codes=(0,), **more):
        self.say(f"run {run}")
        return self.run(self.jobs.train(run, steps, **more), fault, codes)

    def cut(self, seed, draws):
        """(states, what was wrong)"""
        done = subprocess.run([self.jobs.states, self.trace, "--reference", self.jobs.reference,
                               "--seed", str(seed), "--draws", str(draws), "--is", self.folder],
                              capture_output=True, text=True, check=False)
        if done.returncode == 2:
            raise Failed(done.stderr)
        *faults, last = done.stdout.splitlines()
        return int(last.split()[0]), faults


def keep_few(r):
    r.train("main", 8, more=["--keep-checkpoints", 2, "--keep-moments", 1])


def two_ranks(r):
    r.train("main-2", 6, ranks=2, more=["--keep-checkpoints", 2])


def three_ranks(r):
    r.train("main-3", 4, ranks=3, more=["--no-async-save"])


def shared_files(r):
    r.train("main-3", 4, ranks=3, more=["--save-writers-per-node", 2])


def stop_and_go(r):
    r.train("main", 4)
    r.train("main", 8, save=1, more=["--keep-checkpoints", 2, "--keep-every", 4])


def give_up(r):
    r.train("main", 6)
    r.say("lines main 6")
    r.say("gives up main")
    r.train("main", 8, more=["--load-step", 2])


def fork(r):
    r.train("main", 4)
    r.run(["fork", "main@4", "branch", "--lr-decay-style", "linear", "--lr-decay-iters", 4])
    r.say("has branch")
    r.say("pinned main 4")
    r.train("branch", 8)
    r.train("main", 8, more=["--keep-checkpoints", 1, "--keep-moments", 1])


def fork_unsaved(r):
    r.train("main", 4)
    r.run(["fork", "main@3", "unsaved"])
    r.say("has unsaved")
    r.say("pinned main 2")
    r.say("unpinned main 2")  # when the branch has saved its fork point
    r.train("unsaved", 6)


def average(r):
    r.train("main", 6)
    r.run(["average", "main", "--steps", "2:6:2", "--output", "mean"])
    r.say("has mean")
    r.say("step mean 6")
    r.say("whole mean")
    r.run(["prune", "main", "--keep-checkpoints", 1, "--keep-moments", 1, "--yes"])


def convert(r):
    r.train("main", 2)
    r.run(["convert", "--from", "main", "--to", "models/published"])
    r.say("whole models/published")
    r.train("main", 4)


def reshard(r):
    r.train("main", 4)
    r.run(["reshard", "main@4", "carried", "--writers", 2])
    r.say("has carried")
    r.say("step carried 4")
    r.say("whole carried")
    r.run(["prune", "main", "--keep-checkpoints", 1, "--keep-moments", 1, "--yes"])


def extend(r):
    r.train("extended", 4)
    r.run(["extend", "extended", "--at-step", 4, "--data-path", r.jobs.work / "data" / "more"])
    r.train("extended", 6)


def kept_averages(r):
    r.train("averaged", 8, more=["--average", "lawa:k=2,every=2", "--keep-checkpoints", 1])


def failing_syncs(r):
    """Each fsync of a save fails in turn, until there is none left."""
    for nth in range(1, 30):
        fault = f"call=sync;nth={nth};name=step-00000002;does=EIO"
        if r.train("main", 2, fault=fault, codes=(0, 5)) == 0:
            break
    r.train("main", 4)


SCENARIOS = {f.__name__.replace("_", "-"): f for f in (
    keep_few, two_ranks, three_ranks, shared_files, stop_and_go, give_up, fork, fork_unsaved, average,
    convert, reshard, extend, kept_averages, failing_syncs)}


def with_fault(random):
    """A fault within the recorded job, and the power cut at every place behind it and before."""
    call = random.choice(["sync", "sync", "write", "rename", "unlink", "truncate", "open"])
    does = random.choice(["EIO", "EIO", "ENOSPC", "short"])
    if does == "short" and call != "write":
        does = "EIO"
    words = f"call={call};nth={random.randint(1, 40)};does={does}"
    retention = ["--keep-checkpoints", 2] + random.choice([[], ["--keep-moments", 1]])

    def play(r):
        code = r.train("main", 8, fault=words, codes=(0, 1, 2, 5), more=retention)
        r.train("main", 8, more=retention)
        return code
    return words, play
