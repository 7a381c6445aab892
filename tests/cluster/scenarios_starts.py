"""Every way of starting ranks on three nodes gives the same bits."""
from jobs import Step, await_job, submit
from scenario import scenario
from workload import expect, expect_same_bits, logged, make_data, switchyard, train

STEPS = 12


def words(run):
    return train(run, STEPS, tp=2, micro=2)


def batch(name, line):
    """Submits one line for six ranks on three nodes and waits for its end."""
    number = submit(name, line + "\n", "--nodes=3", "--ntasks-per-node=2")
    await_job(name, number)


@scenario
def starts(cluster):
    """srun with PMIx and without MPI, mpirun, `switchyard launch` by srun and by itself."""
    make_data()
    Step("pmix", words("pmix")).expect_code(0)
    Step("tcp", words("tcp"), mpi="none").expect_code(0)
    launched = ["switchyard", "launch", "-np", "2", "--", *words("launched")[1:]]
    Step("launched", launched, per_node=1, mpi="none").expect_code(0)
    batch("mpirun", " ".join(["mpirun", *words("mpirun")]))
    batch("over-srun", " ".join(["switchyard", "launch", "--srun", "--", *words("over-srun")[1:]]))
    for run in ("tcp", "launched", "mpirun", "over-srun"):
        expect_same_bits("pmix", run, STEPS)


@scenario
def layouts(cluster):
    """From three nodes to two, to another layout and transport, and back."""
    make_data()
    Step("whole", train("whole", 18, tp=2, micro=2)).expect_code(0)
    Step("first", train("moving", 6, tp=2, micro=2)).expect_code(0)
    Step("second", train("moving", 12, pp=2, micro=3), nodes=2, mpi="none").expect_code(0)
    Step("third", train("moving", 18, tp=2, pp=3, micro=2)).expect_code(0)
    expect(sorted(logged("moving")) == list(range(1, 19)), "a step is missing")
    switchyard("compare", "whole", "moving", "--tolerance", "1e-4")
    switchyard("inspect", "moving@18", "--verify")
