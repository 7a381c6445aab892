"""What docs/slurm.md prints, submitted as it is printed but for sizes and counts."""
import os
import re
import signal
import subprocess
from pathlib import Path

from jobs import await_job, await_steps, job
from nodes import wait_until
from outside import die_with_parent
from scenario import scenario
from workload import (MODEL, WORK, expect, last_logged, logged, make_data, saved_steps, switchyard,
                      train)

PAGE = Path("/mnt/house/docs/slurm.md")
SHAPE = " ".join(MODEL[2:])  # without --data-path


def block(begins):
    """The block of commands with a line that begins so."""
    blocks = re.findall(r"(?:^    .*\n)+", PAGE.read_text(), re.M)
    found = [one for one in blocks if re.search(rf"^    {re.escape(begins)}", one, re.M)]
    expect(len(found) == 1, f"docs/slurm.md has {len(found)} blocks with '{begins}'")
    return re.sub(r"^    ", "", found[0], flags=re.M)


def changed(text, changes):
    for old, new in changes.items():
        expect(old in text, f"docs/slurm.md has no '{old}' any more")
        text = text.replace(old, new)
    return text


def shell(text):
    done = subprocess.run(["bash", "-euc", text], cwd=WORK, capture_output=True, text=True,
                          check=False)
    expect(done.returncode == 0, f"{text}: {done.stderr}")
    return [int(number) for number in re.findall(r"batch job (\d+)|^(\d+)$", done.stdout, re.M)
            for number in number if number]


def prepare():
    for link in ("launch", "docs"):
        if not (WORK / link).exists():
            (WORK / link).symlink_to(f"/mnt/house/{link}")
    for name, factor in (("old", 1), ("held-out", 3)):
        make_data(name, factor, folder="runs/data")


def logs(name):
    return "\n".join(path.read_text(errors="replace")[-1500:] for path in WORK.glob(f"**/{name}*.log"))


def await_named(name, number):
    try:
        return await_job(name, number, limit=120)
    except Exception as why:
        raise type(why)(f"{why}: {logs(name)}") from None


@scenario
def page_submit(cluster):
    """`switchyard slurm`, as at the top of the page."""
    prepare()
    text = changed(block("switchyard slurm runs/main"), {
        "--nodes 4 --tasks-per-node 8 --gpus-per-node 8": "--nodes 3 --tasks-per-node 2",
        "runs/main": "runs/top", "--preset gpt2-124m --bf16 --global-batch-size 512": SHAPE,
        "--micro-batch-size 16 --lr 6e-4 --lr-warmup-iters 700": "--micro-batch-size 2",
        "100000": "12"})
    (number,) = shell(text)
    await_named("top", number)
    expect(sorted(logged("runs/top")) == list(range(1, 13)), "runs/top has other steps")


@scenario
def page_chain(cluster):
    """The chain of templates: a main path, three branches as an array, their scores as another."""
    prepare()
    text = changed(block("main=$(sbatch"), {
        "--preset gpt2-124m --global-batch-size 512 --lr 6e-4": SHAPE, "-iters 3000": "-iters 18",
        "--tp 2": "--tp 2 --save-interval 6", "300 1000 2000 3000": "4 6 12 18",
        "main-1000": "main-6", "main-2000": "main-12", "main-3000": "main-18"})
    (last,) = shell(text + "echo $main >main; echo $branches >branches")
    main, branches = (int((WORK / name).read_text()) for name in ("main", "branches"))
    await_named("train", main)
    for array, name in ((branches, "branch"), (last, "eval")):
        for task in range(3):
            await_named(name, f"{array}_{task}")
    for step in (6, 12, 18):
        expect(sorted(logged(f"runs/main-{step}")) == list(range(step + 1, step + 5)),
               f"the branch of step {step} has other steps")
    scores = re.findall(r'"bits_per_byte":', logs("eval"))
    expect(len(scores) == 3, f"{len(scores)} scores: {logs('eval')}")


@scenario
def page_plain_bash(cluster):
    """The script without the launcher, asked to stop before a time limit."""
    prepare()
    switchyard("train", "runs/main-plain", "--data-path", "runs/data/old", *MODEL[2:], "--device",
               "cpu", "--train-iters", "1")
    text = changed(block("#SBATCH --signal=B:USR1@120"), {
        "runs/main": "runs/main-plain", "3000": "150"})
    (WORK / "plain.sbatch").write_text(
        f"#!/bin/bash\n#SBATCH --nodes=3 --ntasks-per-node=2 --output=plain-%j.log\n{text}")
    (number,) = shell("sbatch plain.sbatch")
    await_steps("runs/main-plain", 20)
    cluster.ask("scancel", "--batch", "--signal=USR1", str(number), check=True)
    await_named("plain", number)
    expect(job(number)["Restarts"] == "1", f"not requeued once: {logs('plain')}")
    expect(sorted(logged("runs/main-plain")) == list(range(1, 151)), "a step is missing")
    expect(150 in saved_steps("runs/main-plain"), "the last step is not saved")


def interactive(name, text):
    """A shell in an allocation of whole nodes; its process, and the file of what it says."""
    said = Path(f"/mnt/log/{name}.out")
    with open(said, "w") as log:
        return subprocess.Popen(["salloc", "--nodes=2", "--exclusive", f"--job-name={name}", "bash",
                                 "-c", text], cwd=WORK, stdin=subprocess.DEVNULL, stdout=log,
                                stderr=log, preexec_fn=die_with_parent), said


@scenario
def page_salloc(cluster):
    """The three lines for an allocation, one behind the other on one path; then an interrupt."""
    prepare()
    text = changed(block("switchyard launch --srun -np 8"), {
        "-np 8": "-np 2", "--ntasks-per-node=8": "--ntasks-per-node=2", "runs/main": "runs/by-hand"})
    shape = f"--data-path runs/data/old {SHAPE} --device cpu --micro-batch-size 2 --train-iters"
    goals = iter((6, 12, 18))
    lines = [f"{line} {shape} {next(goals)}" if "train" in line else line
             for line in (line.partition("#")[0].strip() for line in text.splitlines())]
    shell, said = interactive("by-hand", " && ".join(lines))
    expect(shell.wait(60) == 0, f"salloc: {said.read_text()[-1500:]}")
    expect(sorted(logged("runs/by-hand")) == list(range(1, 19)), "runs/by-hand has other steps")
    shell, said = interactive("interrupted", f"{lines[0]}000000; echo ended with $?")
    await_steps("runs/by-hand", 30)
    (launcher,) = [pid for pid, (words, _) in cluster.processes().items() if "--srun" in words]
    os.kill(launcher, signal.SIGINT)
    wait_until(lambda: shell.poll() is not None, 30, "the shell ends")
    expect("ended with 75" in said.read_text(), f"it did not: {said.read_text()[-1500:]}")
    expect(last_logged("runs/by-hand") in saved_steps("runs/by-hand"), "its last step is not saved")
