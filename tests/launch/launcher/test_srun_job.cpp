// What srun's lines say, which nodes are run on, and what is queued again: pure functions.
#include <gtest/gtest.h>

#include <fmt/ranges.h>

#include "launch/launcher/launched_training.h"
#include "launch/launcher/srun_job.h"
#include "launch/launcher/srun_step.h"

namespace switchyard::test {
namespace {

using Words = std::vector<std::string>;

StepEnd end_of(const Words& lines, int code) {
  SrunLines read;
  for (const auto& line : lines) read.read(line);
  return read.end(code);
}

// srun itself says 137 or 143 where it has ended the others.
TEST(SrunLines, TheFirstFailureCounts) {
  EXPECT_EQ(end_of({"srun: error: n1: task 1: Exited with exit code 5",
                    "srun: error: n2: tasks 2-3: Terminated"},
                   143)
                .code,
            5);
  EXPECT_EQ(end_of({"srun: error: n1: tasks 0,2-3: Killed"}, 137).code, 76);
  EXPECT_EQ(end_of({"srun: error: n1: task 0: Exited with exit code 76",
                    "srun: error: n2: task 1: Exited with exit code 77"},
                   77)
                .code,
            77);
  EXPECT_EQ(end_of({"step 5: a line of a rank's: task 3: Exited with exit code 2"}, 1).code, 1);
  EXPECT_EQ(end_of({}, 75).code, 75);
  EXPECT_EQ(end_of({}, 137).code, 76);
  EXPECT_EQ(end_of({}, 205).code, 76);  // mpirun, of a node
  EXPECT_EQ(end_of({}, 130).code, 130);
  EXPECT_EQ(end_of({}, 0).code, 0);
}

// Before a rank or a launcher knows what to do with it.
TEST(SrunLines, ATaskThatTheRequestItselfHasEnded) {
  const Words in_slurm = {"srun: error: n3: task 2: User defined signal 1",
                          "srun: error: n1: tasks 0-1: Terminated"};
  const Words by_code = {"srun: error: n3: task 2: Exited with exit code 138",
                         "srun: error: n1: task 0: Exited with exit code 76"};
  const Words behind = {"srun: error: n1: task 0: Exited with exit code 76",
                        "srun: error: n3: task 2: User defined signal 1"};
  EXPECT_TRUE(end_of(in_slurm, 143).by_usr1);
  EXPECT_TRUE(end_of(by_code, 138).by_usr1);
  EXPECT_TRUE(end_of({}, 138).by_usr1);
  EXPECT_FALSE(end_of(behind, 138).by_usr1);
  EXPECT_FALSE(end_of({"srun: error: n1: tasks 0,2-3: Killed"}, 138).by_usr1);
}

// mpirun is ended where it waits for a node that is gone; a rank of another one has said why.
TEST(SrunLines, WhatRanksSayWhereMpirunSaysNothing) {
  const std::string begin = "switchyard: [communicator] rank 1 of 3 in dp (world rank 3 on n2): ";
  const std::string late = begin +
                           "all_gather of 4 f32: no end after 6000 ms (the timeout); nothing "
                           "from world rank 5 on n3, which does not answer";
  const std::string gone = begin + "all_gather of 4 f32: world rank 5 on n3 is gone";
  SrunLines lines;
  lines.read("[04:34:53] step 1/10: loss 5.5 (the timeout)");
  EXPECT_FALSE(lines.has_failed());
  lines.read(late);
  EXPECT_TRUE(lines.has_failed());
  lines.read(gone);
  EXPECT_EQ(lines.end(137).code, 77);
  EXPECT_EQ(lines.end(5).code, 5);
  EXPECT_EQ(end_of({gone}, 143).code, 76);
}

TEST(SrunLines, FaultsAndNodes) {
  EXPECT_TRUE(end_of({"srun: error: n2: task 3: Segmentation fault (core dumped)"}, 139).faulted);
  EXPECT_TRUE(end_of({}, 139).faulted);
  EXPECT_FALSE(end_of({"srun: error: n1: task 0: Killed"}, 137).faulted);
  const StepEnd end = end_of({"srun: error: Node failure on n3",
                              "srun: error: Task launch for StepId=7.1 failed on node n2: refused"},
                             1);
  EXPECT_EQ(end.lost_nodes, "n3,n2");
  EXPECT_EQ(end.code, 76);
}

TEST(UsableNodes, AsManyAsTheLayoutAllows) {
  const Words four = {"n1", "n2", "n4", "n5"};
  EXPECT_EQ(usable_nodes(four, 2, {.tp = 2, .pp = 1}), four);
  EXPECT_EQ(usable_nodes({"n1", "n2", "n4"}, 2, {.tp = 2, .pp = 2}), (Words{"n1", "n2"}));
  EXPECT_TRUE(usable_nodes({"n1"}, 2, {.tp = 2, .pp = 2}).empty());
  EXPECT_TRUE(usable_nodes({}, 2, {}).empty());
}

TEST(StepCommand, OfEachKind) {
  LaunchPlan plan{.ranks = 2, .srun_options = "--exact  -v --comment='a b'"};
  const auto text = [&] {
    return fmt::format("{}",
                       fmt::join(step_command(plan, {"train", "a b"}, {"n1", "n3"}, "/s"), "|"));
  };
  unsetenv("SLURM_JOB_CPUS_PER_NODE");
  EXPECT_EQ(text(),
            "srun|--kill-on-bad-exit=1|--mpi=none|--nodes=2|--ntasks=2|--ntasks-per-node=1|"
            "--nodelist=n1,n3|--exact|-v|--comment=a b|/s|launch|-np|2|--|train|a b");
  setenv("SLURM_JOB_CPUS_PER_NODE", "16(x2),8", 1);
  EXPECT_NE(text().find("|--cpus-per-task=8|"), std::string::npos);
  plan.mpi = "pmix";
  setenv("SLURM_CPUS_PER_TASK", "4", 1);
  unsetenv("SLURM_PMIX_FENCE");
  EXPECT_EQ(text(),
            "env|SLURM_PMIX_FENCE=ring|srun|--kill-on-bad-exit=1|--mpi=pmix|--nodes=2|--ntasks=4|"
            "--ntasks-per-node=2|--nodelist=n1,n3|--cpus-per-task=4|--exact|-v|--comment=a b|/s|"
            "train|a b");
  setenv("SLURM_PMIX_FENCE", "mixed", 1);
  EXPECT_TRUE(text().starts_with("srun|--kill-on-bad-exit=1|--mpi=pmix|")) << text();
  plan.mpi = "mpirun";
  EXPECT_TRUE(text().starts_with("mpirun|-np|4|--host|n1:2,n3:2|--mca|oob_tcp_keepalive_time|5|"))
      << text();
}

TEST(Requeue, WhereGoingOnMakesSense) {
  for (const int code : {75, 76, 77}) EXPECT_TRUE(decide_requeue({.code = code}).requeue) << code;
  for (const int code : {1, 2, 3, 4, 5, 130})
    EXPECT_FALSE(decide_requeue({.code = code}).requeue) << code;
  EXPECT_FALSE(decide_requeue({.code = 75, .cancelled = true}).requeue);
  EXPECT_TRUE(decide_requeue({.code = 76, .requeued = 9}).requeue);
  EXPECT_FALSE(decide_requeue({.code = 76, .requeued = 3, .progressed = false}).requeue);
  EXPECT_TRUE(decide_requeue({.code = 75, .requeued = 9, .progressed = false}).requeue);
}

TEST(LaunchedTraining, WordsOfAnotherStart) {
  const Words words = {"train", "runs/a",      "--tp", "2",    "--pipeline-model-parallel-size",
                       "3",     "--load-step", "40",   "--lr", "1"};
  const auto training = launched_training(words);
  ASSERT_TRUE(training);
  EXPECT_EQ(training->run, "runs/a");
  EXPECT_EQ(training->tp * training->pp, 6);
  EXPECT_FALSE(launched_training(Words{"eval", "runs/a"}));
  EXPECT_FALSE(launched_training(Words{"train", "runs/a", "--tp", "x"}));
  EXPECT_EQ(words_to_go_on(words, {.starts = 2}, {.starts = 2}), words);  // it has done no step
  const Words without = {"train", "runs/a", "--tp", "2", "--pipeline-model-parallel-size",
                         "3",     "--lr",   "1"};
  EXPECT_EQ(words_to_go_on(words, {.starts = 2}, {.starts = 3}), without);
  EXPECT_EQ(words_to_go_on({"train", "a", "--load-step=4"}, {.starts = 0}, {.starts = 1}),
            (Words{"train", "a"}));
  EXPECT_EQ(words_to_go_on({"train", "--load-step", "4", "a", "--load-step=5", "--load-step", "6"},
                           {.starts = 0}, {.starts = 1}),
            (Words{"train", "a"}));
}

TEST(LaunchedTraining, WhereAnotherStartGoesOn) {
  const Words words = {"train", "a"};
  const auto ended = [&](TrainedSoFar now) {
    return describe_going_on(now, words, LastRanks::ended);
  };
  EXPECT_EQ(ended({.saved = 40, .logged = 47}), "goes on from step 40; 7 steps are made again");
  EXPECT_EQ(ended({.saved = 0, .logged = 1}),
            "begins again, as nothing is saved; 1 step is made again");
  // A rank of a lost node completes the save of step 45 behind the launcher's look.
  const auto may_save = [&](TrainedSoFar now) {
    return describe_going_on(now, words, LastRanks::may_save);
  };
  EXPECT_EQ(may_save({.saved = 40, .logged = 47}),
            "goes on from step 40 or a later one; at most 7 steps are made again");
  EXPECT_EQ(may_save({.saved = 40, .logged = 40}),
            "goes on from step 40 or a later one; 0 steps are made again");
  EXPECT_EQ(may_save({.saved = 0, .logged = 1}),
            "begins again, as nothing is saved so far; at most 1 step is made again");
  // Kept, as the start that it was given to has done no step.
  EXPECT_EQ(describe_going_on({.saved = 40, .logged = 47}, Words{"train", "a", "--load-step=20"},
                              LastRanks::may_save),
            "goes on from step 20, as --load-step says");
}

}  // namespace
}  // namespace switchyard::test
