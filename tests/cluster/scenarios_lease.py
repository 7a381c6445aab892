"""Two jobs on one path: one waits, is refused, or takes over where the other is gone."""
import json
import signal
import subprocess
from pathlib import Path

from jobs import Step, await_job, await_steps, job, submit
from nodes import wait_until
from outside import die_with_parent
from scenario import scenario
from workload import WORK, expect, last_logged, logged, make_data, train

SHIM = "/mnt/build/tests/cluster/liblocal_flock.so"  # a flock that each node keeps for itself


def expect_all_steps(run, steps):
    expect(sorted(logged(run)) == list(range(1, steps + 1)), f"{run} has not all steps")


@scenario
def refused(cluster):
    """With a flock that all nodes see and with one that they do not; host and job are named."""
    make_data()
    for run, preload in (("shared", ""), ("apart", SHIM)):
        more = [f"--export=ALL,LD_PRELOAD={preload}"] if preload else []
        first = Step(f"{run}-1", train(run, 100000), nodes=1, mpi="none", more=["-wn1", *more])
        await_steps(run, 5)
        second = Step(f"{run}-2", train(run, 100000), nodes=1, mpi="none", more=["-wn2", *more])
        code, text = second.code(90), second.text()
        expect(code not in (0, 75), f"{run}: a second job ended with {code}: {text[-900:]}")
        expect("n1" in text, f"{run}: the holder is not named: {text[-900:]}")
        first.process.send_signal(signal.SIGUSR1)  # TERM would end the step by force
        first.expect_code(75)
        logged(run)  # each step once


@scenario
def behind_a_cut(cluster):
    """A node that Slurm has given up goes on for a while: the requeued job waits for it."""
    make_data()
    words = train("waiting", 400, save=20, more=["--distributed-timeout-seconds", "40"])
    number = submit("waiting", " ".join(["srun", "--mpi=none", "--kill-on-bad-exit=1", *words]) + "\n",
                    "--nodes=2", "--ntasks-per-node=1", "--requeue")
    await_steps("waiting", 10)
    cluster.nodes["n1"].cable.cut()
    cluster.ask("scontrol", "update", "nodename=n1", "state=down", "reason=silent")
    try:
        await_job("waiting", number, limit=150)
    finally:
        cluster.nodes["n1"].cable.mend()
        wait_until(lambda: not cluster.processes(), 10, "the old ranks have ended")
        cluster.nodes["n1"].kill(silently=False)  # with what Slurm has left there
        cluster.nodes["n1"].start()
        cluster.ask("scontrol", "update", "nodename=n1", "state=resume")
        cluster.await_nodes()
    expect(job(number)["Restarts"] == "1", "it was not queued again")
    expect_all_steps("waiting", 400)
    expect(last_logged("waiting") == 400, "it did not reach its goal")


def by_hand(node, name, words):
    """Without Slurm, on a node whose flock is its own; the process, and the file of what it says."""
    said = Path(f"/mnt/log/{name}.out")
    line = f"cd {WORK} && LD_PRELOAD={SHIM} exec {' '.join(words)}"
    with open(said, "w") as log:
        return subprocess.Popen(node.command("bash", "-c", line), stdin=subprocess.DEVNULL, stdout=log,
                                stderr=log, env=node.environment, preexec_fn=die_with_parent), said


@scenario
def another_boot(cluster):
    """A node without power leaves a lease that nobody can be asked about, not even the node itself when
    it is back: who waits takes it over when it has stood still for 60 s, and of two who wait one."""
    make_data()
    holder, _ = by_hand(cluster.nodes["n1"], "left-0", train("left", 100000, save=5))
    await_steps("left", 12)
    boot = json.loads((WORK / "left" / "lease").read_text())["holder"]["boot"]
    cluster.nodes["n1"].kill(silently=True)
    holder.wait()
    cluster.nodes["n1"].start()
    now = cluster.nodes["n1"].run("cat", "/proc/sys/kernel/random/boot_id").stdout.strip()
    expect(boot and now and boot != now, f"n1 has the boot {now} again")
    goal = last_logged("left") + 10
    words = train("left", goal, more=["--lock-wait-minutes", "3"])
    takers = [by_hand(cluster.nodes[node], f"left-{node}", words) for node in ("n1", "n2")]
    for taker, said in takers:
        expect(taker.wait(150) == 0, f"{said.name}: {said.read_text()[-1500:]}")
    expect(not (WORK / "left" / "lease").exists(), "a lease is left")
    texts = [said.read_text() for _, said in takers]
    took = [text for text in texts if "has not renewed its lease for 60 s" in text]
    expect(len(took) == 1, f"{len(took)} of two took it over: {texts}")
    expect_all_steps("left", goal)
    cluster.await_nodes()
