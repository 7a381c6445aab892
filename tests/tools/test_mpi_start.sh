#!/usr/bin/env bash
# test_mpi_start.sh PROGRAM FAULTY_MPI MPIRUN: what launch/slurm/train.sbatch does where a rank faults
# inside MPI_Init, with stand-ins of Slurm's commands and ranks over Open MPI.
program=$1 faulty=$2 mpirun=$3
house=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source-path=SCRIPTDIR source=shell_test
. "$house/tests/tools/shell_test"
export SWITCHYARD=$program REAL_MPIRUN=$mpirun PATH=$house/tests/tools/slurm_stand_ins:$PATH
export CALLS=$folder/calls DEAD=$folder/dead DOWN=$folder/down
options+=(--global-batch-size 4 --device cpu)

start() { # RUN MPI FAULTS: the template as Slurm runs it
  rm -f fault-*
  code=0
  SWITCHYARD_MPI=$2 SWITCHYARD_TEST_FAULTS=$3 SWITCHYARD_TEST_FOLDER=$folder LD_PRELOAD=$faulty \
    ASAN_OPTIONS=verify_asan_link_order=0 \
    SLURM_JOB_ID=$((RANDOM + 40000)) SLURM_JOB_NODELIST=n1 SLURM_NNODES=1 SLURM_NTASKS_PER_NODE=2 \
    timeout 100 bash "$house/launch/slurm/train.sbatch" "$1" "${options[@]}" --train-iters 4 \
    >log 2>&1 || code=$?
}

make_tokens text
for mpi in pmix mpirun; do
  start "once-$mpi" $mpi 1
  ((code == 0)) || failed "$mpi: $code: $(cat log)"
  expect "$mpi" log "a rank faulted before its first step: once more" "step 4/4"
  grep -q "restart 1 of" log && failed "$mpi: an accident of a start counts as a restart: $(cat log)"
  # A second fault is no accident of a start: it counts as a loss.
  start "twice-$mpi" $mpi 2
  ((code == 0)) || failed "$mpi, twice: $code: $(cat log)"
  expect "$mpi, twice" log "a rank faulted before its first step: once more" \
    "restart 1 of 3 behind exit code 76" "step 4/4"
done
exit $((failures > 0))
