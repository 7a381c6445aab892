"""slurm.conf, and the daemons of the controller."""
import os
import subprocess
from pathlib import Path

from network import CONTROLLER, address_of
from outside import die_with_parent

ETC, LOG = Path("/mnt/etc"), Path("/mnt/log")

CONFIGURATION = """\
ClusterName=switchyard
SlurmctldHost=ctl({controller})
SlurmUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=/mnt/run/munge.sock
StateSaveLocation=/mnt/state
SlurmdSpoolDir=/tmp/spool
TmpFS=/tmp
SlurmctldPidFile=/mnt/run/slurmctld.pid
SlurmdPidFile=/tmp/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
MpiDefault=none
KillWait=5
KillOnBadExit=0
UnkillableStepTimeout=60
CompleteWait=0
SlurmctldTimeout=30
SlurmdTimeout={silence}
MessageTimeout=10
TCPTimeout=2
MinJobAge=3600
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,bf_interval=1,sched_interval=1,sched_min_interval=0
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
"""

PARTITIONS = """\
PartitionName=main Nodes={nodes} Default=YES MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
PartitionName=spare Nodes={nodes} MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=20
"""


def write_configuration(nodes, cpus, silence):
    """`silence`: seconds without word from a node after which Slurm takes it for lost."""
    lines = [f"NodeName=n{i} NodeAddr={address_of(i)} CPUs={cpus} RealMemory=2000 State=UNKNOWN"
             for i in range(1, nodes + 1)]
    (ETC / "slurm.conf").write_text(
        CONFIGURATION.format(controller=CONTROLLER, silence=silence) + "\n".join(lines) + "\n" + PARTITIONS.format(nodes=f"n[1-{nodes}]"))
    # Named, or slurmd 22.05 asks systemd for a cgroup; unused with the plugins above.
    (ETC / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
    hosts = [f"{CONTROLLER} ctl"] + [f"{address_of(i)} n{i}" for i in range(1, nodes + 1)]
    (ETC / "hosts").write_text("127.0.0.1 localhost\n" + "\n".join(hosts) + "\n")


def start_munge():
    key = ETC / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    return daemon("munged", "--foreground", f"--key-file={key}", "--socket=/mnt/run/munge.sock",
                  "--pid-file=/mnt/run/munged.pid", f"--log-file={LOG / 'munged.log'}",
                  "--seed-file=/mnt/run/munged.seed", name="munged")


def start_controller():
    return daemon("slurmctld", "-D", name="slurmctld")


def daemon(*words, name):
    with open(LOG / f"{name}.log", "a") as log:
        return subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                preexec_fn=die_with_parent)
