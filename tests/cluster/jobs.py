"""Starting jobs as a user does, and waiting for them."""
import os
import re
import subprocess
import time
from pathlib import Path

from nodes import wait_until
from outside import die_with_parent
from workload import WORK, Failed, expect


LOGS = Path("/mnt/log")


def is_start_crash(text):
    """Of a log: Open MPI's own, in 3 of about 650 starts; the templates try those again."""
    return "ends by SIGSEGV" in text and "MPI_Init" in text


class Step:
    """srun, started here: from a login node, without a batch script."""

    def __init__(self, name, words, nodes=3, per_node=2, mpi="pmix", more=()):
        self.log = LOGS / f"{name}.out"
        command = ["srun", f"--nodes={nodes}", f"--ntasks-per-node={per_node}", f"--mpi={mpi}",
                   "--kill-on-bad-exit=1", f"--job-name={name}", *more, *words]
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(command, cwd=WORK, stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)

    def text(self):
        return self.log.read_text(errors="replace")

    def code(self, limit):
        """The exit code; Failed behind `limit` seconds."""
        try:
            return self.process.wait(limit)
        except subprocess.TimeoutExpired as why:
            raise Failed(f"{self.log.name}: still there after {limit} s: {self.text()[-600:]}") from why

    def expect_code(self, code, limit=60):
        found = self.code(limit)
        expect(found == code, f"{self.log.name}: code {found}, not {code}: {self.text()[-1500:]}")


HEAD = "#!/bin/bash\nset -e\n"


def submit(name, body, *options):
    """A batch script whose options are as on sbatch's line; the job's number."""
    script = WORK / f"{name}.sbatch"
    script.write_text(HEAD + body)
    command = ["sbatch", "--parsable", f"--job-name={name}", f"--output=/mnt/log/{name}-%j.out",
               "--open-mode=append", *options, str(script)]
    done = subprocess.run(command, cwd=WORK, capture_output=True, text=True, check=False)
    expect(done.returncode == 0, f"sbatch {name}: {done.stderr}")
    return int(done.stdout.split(";")[0])


def job(number):
    """The fields of scontrol show job."""
    text = subprocess.run(["scontrol", "-o", "show", "job", str(number)], capture_output=True,
                          text=True, check=False).stdout
    return dict(re.findall(r"(\w+)=(\S*)", text.splitlines()[0])) if text else {}


def job_log(name, number):
    path = LOGS / f"{name}-{number}.out"
    return path.read_text(errors="replace") if path.exists() else ""


ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "OUT_OF_MEMORY",
         "DEADLINE", "BOOT_FAIL")


def await_job(name, number, state="COMPLETED", limit=90):
    """Waits until a job has ended, starts it soon where Slurm would wait before a requeue.

    Within the second of the requeue its new credential would count as the old, revoked one.
    """
    end, hastened = time.monotonic() + limit, ""
    while True:
        now = job(number)
        if now.get("JobState") in ENDED:
            break
        waits = now.get("JobState") == "PENDING" and now.get("Reason") == "BeginTime"
        if waits and hastened != now.get("Restarts"):
            hastened = now.get("Restarts")
            subprocess.run(["scontrol", "update", f"JobId={number}", "StartTime=now+3"],
                           capture_output=True, check=False)
        if time.monotonic() > end:
            raise Failed(f"{name}: {now.get('JobState')} ({now.get('Reason')}) after {limit} s: "
                         + job_log(name, number)[-1500:])
        time.sleep(0.1)
    expect(now["JobState"] == state, f"{name}: {now['JobState']}, exit code {now.get('ExitCode')}, "
           f"not {state}: {job_log(name, number)[-1500:]}")
    return now


def await_steps(run, step, limit=40):
    from workload import last_logged
    wait_until(lambda: last_logged(run) >= step, limit, f"{run} has logged step {step}")
