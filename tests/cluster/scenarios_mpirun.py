"""mpirun inside of an allocation."""
import re

from fault_runs import SLACK, TIMEOUT
from jobs import await_job, await_steps
from nodes import wait_until
from scenario import scenario
from scenarios_templates import logs, shell
from workload import expect, make_data, train


@scenario
def cable_cut_under_mpirun(cluster):
    """Of another node, and of the one where mpirun and the script run: which sees the others gone."""
    make_data()
    for node, named in (("n3", "on n3, which do"), ("n1", "on n[23], which do")):
        run, more = f"cut-{node}", ["--distributed-timeout-seconds", str(TIMEOUT)]
        words = train(run, 100000, tp=2, micro=2, more=more)[3:]
        (number,) = shell(f"switchyard slurm {run} --nodes 3 --tasks-per-node 2 --mpi mpirun --restarts 0"
                          f" --no-requeue --submit -- train {' '.join(words)}")
        await_steps(run, 5)
        cluster.nodes[node].cable.cut()
        try:
            wait_until(lambda: not cluster.processes(), TIMEOUT + SLACK, "all ranks have ended")
        finally:
            cluster.nodes[node].cable.mend()
        code = await_job(run, number, state="FAILED")["ExitCode"]
        expect(code in ("76:0", "77:0"), f"{run}: exit code {code}: {logs(run)}")
        expect(re.search(named, logs(run)), f"{run}: nobody is named: {logs(run)}")
