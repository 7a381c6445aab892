"""Every way of starting ranks on three nodes gives the same bits."""
from jobs import Step, await_job, submit
from scenario import scenario
from workload import expect_same_bits, make_data, train

STEPS = 12


def words(run):
    return train(run, STEPS, tp=2, micro=2)


@scenario
def starts(cluster):
    make_data()
    Step("pmix", words("pmix")).expect_code(0)
    number = submit("mpirun", " ".join(["mpirun", *words("mpirun")]) + "\n", "--nodes=3",
                    "--ntasks-per-node=2")
    await_job("mpirun", number)
    expect_same_bits("pmix", "mpirun", STEPS)
