"""Jobs that are stopped on the way: time limit, preemption, scancel, a second signal."""
import subprocess
import time

from jobs import Step, await_job, await_steps, job, job_log, submit
from nodes import wait_until
from scenario import scenario
from workload import (WORK, expect, expect_same_bits, last_logged, logged, make_data, saved_steps,
                      train)

PAIR = ("--nodes=2", "--ntasks-per-node=1", "--requeue")
# As in docs/paths.md: the shell hands signals on and decides by the exit code.
SCRIPT = """\
set +e
goal=100000
[[ ${SLURM_RESTART_COUNT:-0} == 0 ]] || goal=$(($(wc -l <%(run)s/metrics.jsonl) + 12))
%(line)s & job=$!
trap 'kill -USR1 $job' USR1
trap 'kill -TERM $job' TERM
code=0; wait $job || code=$?
while kill -0 $job 2>/dev/null; do code=0; wait $job || code=$?; done
echo "ended with $code"
state=$(squeue -h -j $SLURM_JOB_ID -o %%T) # CANCELLED or COMPLETING behind scancel
case $code-$state in 75-RUNNING | 7[67]-RUNNING) scontrol requeue $SLURM_JOB_ID; sleep 30 ;; esac
exit $code
"""


def submit_endless(run, *options, mpi="none"):
    """It trains without end at first, and once it was requeued twelve steps more than are there."""
    words = train(run, "$goal", save=50)
    line = " ".join(["srun", f"--mpi={mpi}", "--kill-on-bad-exit=1", *words])
    return submit(run, SCRIPT % {"run": run, "line": line}, *PAIR, *options)


def send(number, name, *options):
    done = subprocess.run(["scancel", f"--signal={name}", *options, str(number)],
                          capture_output=True, text=True, check=False)
    expect(done.returncode == 0, f"scancel: {done.stderr}")


def expect_went_on(run, number, limit=90):
    """Behind a requeue: each step is there once, and the last start went on from a saved step."""
    await_job(run, number, limit=limit)
    text = job_log(run, number)
    expect(job(number)["Restarts"] == "1", f"{run}: {job(number)['Restarts']} restarts: {text}")
    expect("ended with 75" in text, f"{run} did not end with 75: {text}")
    last = last_logged(run)
    expect(sorted(logged(run)) == list(range(1, last + 1)), f"{run} has not all steps to {last}")
    expect(last - 12 in saved_steps(run), f"{run} did not save its last step, {last - 12}")
    return last


@scenario
def time_limit(cluster):
    """USR1 some time before the limit, which Slurm looks at every half minute."""
    make_data()
    number = submit_endless("limited", "--time=1", "--signal=B:USR1@50", mpi="pmix")
    expect_went_on("limited", number, limit=120)


@scenario
def usr1(cluster):
    """To the batch shell, to the step and to one rank; the last has the bits of a run without stops."""
    make_data()
    for run, way in (("shell", ("--batch",)), ("step", ()), ("rank", None)):
        number = submit_endless(run)
        await_steps(run, 5)
        if way is None:
            cluster.signal_rank(1, "USR1")
        else:
            send(number, "USR1", *way)
        last = expect_went_on(run, number)
    Step("straight", train("straight", last), nodes=2, per_node=1, mpi="none").expect_code(0)
    expect_same_bits("straight", "rank", last)


@scenario
def preemption(cluster):
    """A job of more weight takes the nodes: TERM, the grace time, and later the rest."""
    make_data()
    number = submit_endless("preempted", "--partition=spare")
    await_steps("preempted", 5)
    urgent = submit("urgent", "sleep 1\n", "--nodes=3", "--exclusive")
    await_job("urgent", urgent)
    expect_went_on("preempted", number)


@scenario
def cancel(cluster):
    """scancel saves, too, within KillWait; what comes behind it goes on there."""
    make_data()
    number = submit_endless("cancelled", mpi="pmix")
    await_steps("cancelled", 5)
    subprocess.run(["scancel", str(number)], check=True)
    await_job("cancelled", number, state="CANCELLED")
    wait_until(lambda: not cluster.processes(), 10, "all ranks have ended")
    last = last_logged("cancelled")
    expect(last in saved_steps("cancelled"), f"step {last} is not saved")
    Step("behind", train("cancelled", last + 3), nodes=2, per_node=1).expect_code(0)
    expect(last_logged("cancelled") == last + 3, "it did not go on")


@scenario
def second_signal(cluster):
    """Ends ranks that cannot save, here as one of them does not run."""
    make_data()
    number = submit_endless("stuck")
    await_steps("stuck", 5)
    cluster.signal_rank(1, "STOP")
    send(number, "TERM")
    time.sleep(2.5)  # two within 2 seconds are one request
    send(number, "TERM")
    wait_until(lambda: set(cluster.ranks()) <= {1}, 3, "rank 0 ends at the second signal")
    cluster.end_all()
    wait_until(lambda: not cluster.processes(), 10, "all ranks have ended")
    expect((WORK / "stuck" / "path.json").exists(), "no path is left")
