#!/usr/bin/env bash
# test_failing_nccl_rank.sh MPIRUN PROGRAM: a rank that fails ends the job soon, under the program's
# own launcher and under mpirun.
set -u
mpirun=$1 program=$2 failures=0
export SWITCHYARD_RANKS_PER_GPU=8

expect() {  # EXIT_CODE TEXT COMMAND...
  local begin=$SECONDS wanted=$1 text=$2 output code
  shift 2
  output=$(timeout 120 "$@" 2>&1)
  code=$?
  if [[ $wanted == nonzero && $code == 0 ]] || [[ $wanted != nonzero && $code != "$wanted" ]] ||
     [[ $output != *"$text"* ]] || ((SECONDS - begin > 60)); then
    echo "FAILED: $* ended with $code after $((SECONDS - begin)) s; wanted $wanted and: $text"
    echo "$output"
    failures=$((failures + 1))
  fi
}

launched() { expect "$1" "$2" "$program" launch -np 3 --ranks-per-gpu 3 -- "$3"; }
under_mpi() { expect "$1" "$2" "$mpirun" -np 3 "$program" "$3"; }

hang='of 3 in dp'
stuck='all_reduce (sum) of 4 f32, "losses", step 7: no end after 20000 ms (the timeout)'
launched 0 "" none
launched 1 "rank 1 fails" throw
launched 42 "" abort
launched 76 "rank 1 on $(hostname) was ended by signal 9" kill
launched 77 "$stuck" hang
launched 77 "$hang" hang
under_mpi 0 "" none
under_mpi 1 "rank 1 fails" throw
under_mpi 76 "" kill
under_mpi 77 "$stuck" hang

# All ranks learn of a rank without a GPU, which says so, once.
said='local rank 2 sees 2 GPUs, which 1 rank each may use; start fewer ranks on this machine (rank 2)'
SWITCHYARD_RANKS_PER_GPU=1 SWITCHYARD_EMULATED_DEVICES=2 under_mpi 2 "$said" none
lines=$(SWITCHYARD_RANKS_PER_GPU=1 SWITCHYARD_EMULATED_DEVICES=2 \
  timeout 120 "$mpirun" -np 3 "$program" none 2>&1 | grep -c '^switchyard: ')
[[ $lines == 1 ]] || { echo "FAILED: said $lines times"; failures=$((failures + 1)); }

# Nobody else ends the others here: NCCL reports that a peer has gone.
export WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=$((20000 + RANDOM % 10000))
RANK=1 LOCAL_RANK=1 "$program" orphan 2>/dev/null &
RANK=0 LOCAL_RANK=0 expect 76 "network error; its last warning: " "$program" orphan
wait

# Each process is shown one GPU alone: another for each, or for all the same.
unset SWITCHYARD_RANKS_PER_GPU
on_gpu() { env RANK="$2" LOCAL_RANK="$2" CUDA_VISIBLE_DEVICES="$1" "$program" none; }
on_gpu 5 1 2>/dev/null &
expect 0 "" env RANK=0 LOCAL_RANK=0 CUDA_VISIBLE_DEVICES=4 "$program" none
wait
export MASTER_PORT=$((MASTER_PORT + 1))
on_gpu 4 1 2>/dev/null &
expect 2 "Duplicate GPU" env RANK=0 LOCAL_RANK=0 CUDA_VISIBLE_DEVICES=4 "$program" none
wait
unset WORLD_SIZE MASTER_ADDR MASTER_PORT

expect 2 "local rank 9 sees 1 GPU" env -u CUDA_VISIBLE_DEVICES RANK=9 LOCAL_RANK=9 WORLD_SIZE=16 \
  MASTER_ADDR=127.0.0.1 MASTER_PORT=20000 "$program" none
exit $((failures > 0))
