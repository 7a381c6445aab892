"""One fault: drawn, done to a job while it trains, judged; then the run is started again to its end."""
import os
import random
import re
import shutil
import time
from pathlib import Path
from typing import NamedTuple

import leftovers
from fault_kinds import HUNG, KINDS, LOST, SMALL, VIEW, strike
from jobs import LOGS, Step, is_start_crash
from nodes import wait_until
from workload import WORK, Failed, expect, expect_same_bits, last_logged, train

STEPS, SAVE = 24, 6
TIMEOUT = 6   # seconds, of an exchange
DEATH = 12.0    # seconds within which a job ends that has lost a rank; 2 cores carry 6 ranks
SLACK = 12.0    # behind the timeout, likewise
RANKS, PER_NODE = 6, 2
LAYOUTS = {"tp2 dp3": (2, 1, 2), "pp3 dp2": (1, 3, 1), "tp2 pp3": (2, 3, 2), "dp6": (1, 1, 1)}
TRANSPORTS = {"mpi": "pmix", "tcp": "none"}


class Fault(NamedTuple):
    number: int
    kind: str
    layout: str
    transport: str
    rank: int
    when: float  # a step, or below 1: so many seconds behind the rank's start

    @property
    def node(self):
        return f"n{1 + self.rank // PER_NODE}"

    def words(self):
        when = f"step {self.when:.0f}" if self.when >= 1 else f"start + {self.when:.1f} s"
        return (f"{self.number}: {self.kind}, {self.layout}, {self.transport}, rank {self.rank} on "
                f"{self.node}, {when}")


def draw(seed, number, transports):
    """The same for the same seed and number; every kind comes once before one comes again."""
    names = sorted(KINDS)
    random.Random(f"{seed} {number // len(names)}").shuffle(names)
    drawn = random.Random(f"{seed} fault {number}")
    kind = names[number % len(names)]
    early = KINDS[kind].early and drawn.random() < 0.15
    return Fault(number, kind, drawn.choice(sorted(LAYOUTS)), drawn.choice(transports),
                 drawn.randrange(RANKS), 0.6 * drawn.random() if early else drawn.randint(1, STEPS - 4))


def start(name, run, layout, transport):
    tp, pp, micro = LAYOUTS[layout]
    more = ["--distributed-timeout-seconds", str(TIMEOUT)]
    return Step(name, train(run, STEPS, tp=tp, pp=pp, micro=micro, save=SAVE, more=more),
                nodes=RANKS // PER_NODE, per_node=PER_NODE, mpi=TRANSPORTS[transport])


def reference(layout):
    return f"undisturbed-{layout.replace(' ', '-')}"


def make_reference(layout):
    start(reference(layout), reference(layout), layout, "mpi").expect_code(0)


def await_moment(cluster, fault, run, step):
    try:
        if fault.when < 1:
            wait_until(lambda: fault.rank in cluster.ranks() or step.process.poll() is not None, 20,
                       "the rank is there", interval=0.01)
            time.sleep(fault.when)
        else:
            wait_until(lambda: last_logged(run) >= fault.when or step.process.poll() is not None, 60,
                       f"step {fault.when} is logged", interval=0.01)
    except TimeoutError as why:
        raise Failed(f"{why}; {cluster.words()}; {step.text()[-600:]}") from None


def blamed(fault, text):
    """Whether a line of the program, or the first of srun's, names who did it."""
    own = [line for line in text.splitlines() if line.startswith("switchyard: ")]
    if KINDS[fault.kind].culprit == "rank":  # that one it sees itself
        own += [line for line in text.splitlines() if line.startswith("srun: error: ")][:1]
    wanted = [rf"\b{fault.node}\b"]
    if KINDS[fault.kind].culprit == "rank":
        wanted.append(rf"world ranks?( \d+)* {fault.rank}\b")
    else:
        first = (fault.rank // PER_NODE) * PER_NODE
        wanted.append(rf"world ranks?( \d+)* ({first}|{first + 1})\b")
    return any(re.search(pattern, line) for line in own for pattern in wanted)


def left(cluster, fault):
    """Processes that still run; a file server that does not answer holds some of its node's beyond
    their death."""
    found = cluster.processes()
    if found and KINDS[fault.kind].asleep:
        found = {pid for pid in found if state(pid) != "D"}
    return found


def state(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def judge_end(cluster, fault, step, begun):
    """Waits for the job's end; its seconds, and whether the culprit was named ("-": there is none)."""
    kind = KINDS[fault.kind]
    limit = DEATH if kind.death else TIMEOUT + SLACK
    try:
        wait_until(lambda: not left(cluster, fault), limit, "all ranks have ended", interval=0.02)
    except TimeoutError:
        ranks = sorted(cluster.ranks())
        raise Failed(f"ranks {ranks} are still there after {limit:.0f} s: {step.text()[-900:]}") from None
    seconds = time.monotonic() - begun
    try:  # healing may end the step before Slurm has brought what its ranks have said
        wait_until(lambda: step.process.poll() is not None or blamed(fault, step.text()), 10, "words")
    except TimeoutError:
        pass
    kind.heal(cluster, fault)
    code = step.code(30)
    codes = kind.codes
    if fault.when < 1 and {LOST, HUNG} & {*codes}:  # srun's own, of ranks that do not listen yet
        codes += (143,)
    expect(code in codes, f"code {code}, not {codes}: {step.text()[-900:]}")
    return seconds, ("yes" if blamed(fault, step.text()) else "NO") if kind.culprit else "-"


def sit_out(cluster, fault, step, run):
    """A fault that a job survives. What Slurm has missed of its end on a bad cable is Slurm's."""
    time.sleep(1.5)
    KINDS[fault.kind].heal(cluster, fault)
    wait_until(lambda: not cluster.processes() or step.process.poll() is not None, 60,
               "all ranks have ended")
    try:
        step.expect_code(0, limit=15)
    except Failed:
        expect(last_logged(run) == STEPS, f"not at its end: {step.text()[-600:]}")
        recover(cluster, fault)
    return 0.0, "-"


def suffer(cluster, fault, run):
    for sooner in (1, 2, 4):  # a job may be over before a fault that is drawn late
        shutil.rmtree(run, ignore_errors=True)
        step = start(f"fault-{fault.number}", run, fault.layout, fault.transport)
        await_moment(cluster, fault._replace(when=fault.when / sooner), run, step)
        if fault.rank in cluster.ranks():
            break
    expect(fault.rank in cluster.ranks(), f"ended before the fault: {step.text()[-600:]}")
    begun = strike(cluster, fault)
    if KINDS[fault.kind].codes == (0,):
        return sit_out(cluster, fault, step, run)
    return judge_end(cluster, fault, step, begun)


def start_again(fault, run):
    """To its end; once more where Open MPI has crashed in its start."""
    for last in (False, True):
        step = start(f"again-{fault.number}", run, fault.layout, fault.transport)
        if last or step.code(120) != 139 or "MPI_Init" not in step.text():
            step.expect_code(0)
            return


def judge(cluster, fault):
    """Seconds to the end of the job and whether the culprit was named; Failed where anything is lost."""
    run = run_of(fault)
    result = suffer(cluster, fault, run)
    if result[1] == "NO" and os.path.isdir(f"{run}/faults"):
        shutil.copytree(f"{run}/faults", f"/mnt/log/faults-{fault.number}", dirs_exist_ok=True)
    cluster.await_nodes()
    leftovers.expect_none(cluster)
    start_again(fault, run)
    expect_same_bits(reference(fault.layout), run, STEPS)
    shutil.rmtree(run)
    return result


def said_of(fault):
    log = LOGS / f"fault-{fault.number}.out"
    return log.read_text(errors="replace") if log.exists() else ""


def is_no_verdict(fault, why):
    """Whether it says nothing of the program: Slurm has lost a node that the fault was not done to,
    Open MPI has crashed in its start, or the job was over before the fault."""
    said = why + said_of(fault)
    lost = any(node != fault.node for node in re.findall(r"Node failure on (n\d+)", said))
    crashed = fault.when < 1 and is_start_crash(said)
    return lost or crashed or why.startswith(("ended before the fault", "code 0, not"))


def run_of(fault):
    disks = {"full disk": SMALL, "stuck disk": VIEW}
    return f"{disks.get(fault.kind, WORK)}/run-{fault.number}"


def recover(cluster, fault):
    """Behind a fault that went wrong: everything as before it, whatever state it is in."""
    if os.path.isdir(f"{run_of(fault)}/faults"):
        shutil.copytree(f"{run_of(fault)}/faults", f"/mnt/log/faults-{fault.number}",
                        dirs_exist_ok=True)
    cluster.end_all()
    KINDS[fault.kind].heal(cluster, fault)
    cluster.nodes[fault.node].kill(silently=False)
    cluster.nodes[fault.node].start()
    cluster.await_nodes()
