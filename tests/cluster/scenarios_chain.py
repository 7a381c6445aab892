"""A main path, a fork of a step that it has not saved, branches and their scores, as dependent jobs."""
import json

from jobs import await_job, submit
from scenario import scenario
from workload import WORK, expect, expect_same_bits, logged, make_data, train

SIX = ("--nodes=3", "--ntasks-per-node=2")


def after(number):
    return (f"--dependency=afterok:{number}", "--kill-on-invalid-dep=yes")


def line(words, mpi="pmix"):
    return " ".join(["srun", f"--mpi={mpi}", "--kill-on-bad-exit=1", *words]) + "\n"


@scenario
def chain(cluster):
    make_data()
    make_data("new", factor=3)
    decay = "--data-path data/new --lr-decay-style linear --lr-decay-iters 6"
    go_on = "switchyard train {} --device cpu --tp 2 --micro-batch-size 2".split()
    jobs = {"main": submit("main", line(train("main", 12, tp=2, micro=2, save=6)), *SIX)}
    jobs["fork"] = submit("fork", f"switchyard fork main@8 branch {decay}\n", "--nodes=1",
                          *after(jobs["main"]))
    branch = [word.format("branch") for word in go_on]
    jobs["branch"] = submit("branch", line(branch), *SIX, *after(jobs["fork"]))
    jobs["eval"] = submit(
        "eval", line("switchyard eval branch --data-path data/new --device cpu --tp 2"
                     " --micro-batch-size 2 --json >eval.json".split(), mpi="none"),
        *SIX, *after(jobs["branch"]))
    jobs["on"] = submit("on", line(train("main", 18, tp=2, micro=2, save=6), mpi="none"), *SIX,
                        *after(jobs["main"]))
    for name, number in jobs.items():
        await_job(name, number)
    expect(sorted(logged("branch")) == list(range(9, 15)), "the branch has other steps")
    expect(sorted(logged("main")) == list(range(1, 19)), "the main path has other steps")
    expect(0 < json.loads((WORK / "eval.json").read_text())["bits_per_byte"] < 8, "no score")


@scenario
def array(cluster):
    """Branches with seeds of their own, a task of an array each; one seed twice has the same bits."""
    make_data()
    await_job("trunk", submit("trunk", line(train("trunk", 6, tp=2, micro=2)), *SIX))
    body = ("seeds=(7 8 7); run=seed-$SLURM_ARRAY_TASK_ID\n"
            "switchyard fork trunk@6 $run --seed ${seeds[$SLURM_ARRAY_TASK_ID]}"
            " --lr-decay-style 1-sqrt --lr-decay-iters 6\n"
            + line("switchyard train $run --device cpu --tp 2 --micro-batch-size 2".split()))
    number = submit("seeds", body, "--array=0-2", "--nodes=1", "--ntasks-per-node=2")
    for task in range(3):
        await_job("seeds", f"{number}_{task}")
    expect_same_bits("seed-0", "seed-2", 12)
    expect(logged("seed-0") != logged("seed-1"), "two seeds have the same losses")


@scenario
def failed_dependency(cluster):
    """What waits for a job that fails is taken out of the queue."""
    make_data()
    bad = submit("bad", line(["switchyard", "train", "nowhere"]), "--nodes=1", "--ntasks-per-node=2")
    waits = submit("waits", "true\n", *after(bad))
    await_job("bad", bad, state="FAILED")
    await_job("waits", waits, state="CANCELLED")
