"""`switchyard slurm ... --submit`, and what its script does when something happens to the job."""
import re
from pathlib import Path

from jobs import Step, await_job, await_steps, job
from jobs import submit as batch
from nodes import wait_until
from scenario import scenario
from workload import (WORK, expect, expect_same_bits, last_logged, logged, make_data, saved_steps,
                      switchyard, train)

STEPS = 200


def submit(run, *options, nodes=3, tasks=2, steps=STEPS, save=20, more=()):
    """The job's number, of the line that sbatch prints."""
    words = train(run, steps, tp=2, micro=2, save=save, more=more)[1:]
    words.remove(run)  # `slurm` puts it there
    said = switchyard("slurm", run, "--nodes", nodes, "--tasks-per-node", tasks, *options,
                      "--submit", "--", *words)
    found = re.search(r"Submitted batch job (\d+)", said)
    expect(found, f"no job's number in: {said}")
    return int(found.group(1))


def log_of(run, number):
    return (WORK / run / "slurm" / f"{run}-{number}.log").read_text(errors="replace")


def await_run(run, number, limit=120):
    try:
        await_job(run, number, limit=limit)
    except Exception as why:
        raise type(why)(f"{why}: {log_of(run, number)[-1800:]}") from None


def expect_all_steps(run, steps=STEPS):
    expect(sorted(logged(run)) == list(range(1, steps + 1)), f"{run} has not all steps")


@scenario
def submitted(cluster):
    """As it is, over PMIx and over mpirun: the same bits."""
    make_data()
    for mpi in ("none", "pmix", "mpirun"):
        run = f"by-{mpi}"
        await_run(run, submit(run, "--mpi", mpi, steps=12))
    expect_same_bits("by-none", "by-pmix", 12)
    expect_same_bits("by-none", "by-mpirun", 12)


@scenario
def asked_to_stop(cluster):
    """USR1 to the batch process, as before a time limit: saved, requeued, gone on."""
    make_data()
    number = submit("asked", steps=60, save=100)
    await_steps("asked", 5)
    cluster.ask("scancel", "--batch", "--signal=USR1", str(number), check=True)
    await_run("asked", number)
    expect(job(number)["Restarts"] == "1", f"not requeued once: {log_of('asked', number)[-900:]}")
    expect_all_steps("asked", 60)
    expect(len(saved_steps("asked")) == 2, f"saved were {saved_steps('asked')}")


@scenario
def cancelled(cluster):
    """scancel saves, and the job does not come back."""
    make_data()
    number = submit("dropped", steps=100000)
    await_steps("dropped", 5)
    cluster.ask("scancel", str(number), check=True)
    await_job("dropped", number, state="CANCELLED")
    wait_until(lambda: not cluster.processes(), 15, "all ranks have ended")
    expect(last_logged("dropped") in saved_steps("dropped"), "its last step is not saved")
    wait_until(lambda: job(number)["JobState"] == "CANCELLED", 3, "it stays cancelled")


@scenario
def restarts(cluster):
    """A rank that is killed: the launcher goes on from the last saved step, on the same nodes."""
    make_data()
    number = submit("hurt", "--restarts", 2)
    await_steps("hurt", 45)
    cluster.signal_rank(3, "KILL")
    await_run("hurt", number)
    text = log_of("hurt", number)
    expect("restart 1 of 2" in text, f"no restart: {text[-1500:]}")
    expect(job(number)["Restarts"] == "0", "Slurm queued it again")
    Step("unhurt", train("unhurt", STEPS, tp=2, micro=2, save=20), mpi="none").expect_code(0)
    expect_same_bits("unhurt", "hurt", STEPS)


@scenario
def fewer_nodes(cluster):
    """A node that is lost: the rest goes on with a smaller dp."""
    make_data()
    number = submit("shrunk", "--restarts", 2, "--min-nodes", 2)
    await_steps("shrunk", 45)
    cluster.nodes["n3"].kill(silently=False)
    cluster.ask("scontrol", "update", "nodename=n3", "state=down", "reason=dead")
    try:
        await_run("shrunk", number)
        expect_all_steps("shrunk")
        expect("restart 1 of 2" in log_of("shrunk", number), "no restart within the job")
    finally:
        cluster.nodes["n3"].start()
        cluster.ask("scontrol", "update", "nodename=n3", "state=resume")
        cluster.await_nodes()


@scenario
def preempted_by_user_signal(cluster):
    """With preempt_send_user_signal USR1 comes to the batch process when another job takes the nodes:
    saved within the grace time, queued again, and no step is made twice."""
    make_data()
    configuration = Path("/mnt/etc/slurm.conf")
    before = configuration.read_text()
    configuration.write_text(f"SlurmctldParameters=preempt_send_user_signal\n{before}")
    cluster.restart_controller(silent_for=0)
    try:
        number = submit("yields", "--partition", "spare", steps=400, save=1000)
        await_steps("yields", 5)
        urgent = batch("urgent", "sleep 1\n", "--nodes=3", "--exclusive")
        await_job("urgent", urgent)
        stopped = last_logged("yields")
        await_run("yields", number)
    finally:
        configuration.write_text(before)
        cluster.restart_controller(silent_for=0)
    text = log_of("yields", number)
    expect(job(number)["Restarts"] == "1", f"not requeued once: {text[-900:]}")
    expect("User defined signal 1" in text, f"another signal came: {text[-900:]}")
    expect_all_steps("yields", 400)
    expect(stopped < 400 and saved_steps("yields") == [stopped, 400],
           f"it was at step {stopped}, and saved were {saved_steps('yields')}: {text[-1500:]}")
