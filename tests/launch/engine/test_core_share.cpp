#include "launch/engine/core_share.h"

#include <gtest/gtest.h>

#include <map>

#include "core/error.h"

namespace switchyard {

namespace {

using Variables = std::map<std::string, std::string>;

int threads_with(const Variables& variables, const CoresHere& cores) {
  const auto variable = [&](const char* name) {
    const auto found = variables.find(name);
    return found == variables.end() ? std::string() : found->second;
  };
  return threads_of_rank(variable, cores);
}

constexpr CoresHere whole{.of_process = 64, .of_job = 64};
constexpr CoresHere bound{.of_process = 4, .of_job = 64};

TEST(CoreShare, OfAProcessAloneIsAll) {
  EXPECT_EQ(threads_with({}, whole), 64);
  EXPECT_EQ(threads_with({}, bound), 4);
}

TEST(CoreShare, OpenMpsOwnVariableComesFirst) {
  EXPECT_EQ(threads_with({{"OMP_NUM_THREADS", "3"}, {"SLURM_CPUS_PER_TASK", "8"}}, whole), 0);
}

TEST(CoreShare, ThenWhatSlurmGaveATask) {
  const Variables variables{{"SLURM_CPUS_PER_TASK", "8"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"}};
  EXPECT_EQ(threads_with(variables, whole), 8);
  EXPECT_EQ(threads_with(variables, bound), 4);
}

TEST(CoreShare, ThenTheRanksOfTheMachineAsTheirLauncherCounts) {
  EXPECT_EQ(threads_with({{"OMPI_COMM_WORLD_LOCAL_SIZE", "4"},
                          {"SLURM_STEP_NUM_TASKS", "2"},
                          {"SLURM_STEP_TASKS_PER_NODE", "1(x2)"}},
                         whole),
            16);
  EXPECT_EQ(threads_with({{"LOCAL_WORLD_SIZE", "8"}}, whole), 8);
  EXPECT_EQ(threads_with({{"OMPI_COMM_WORLD_LOCAL_SIZE", "100"}}, whole), 1);
}

TEST(CoreShare, ThenTheTasksOfThisNode) {
  Variables variables{{"SLURM_STEP_NUM_TASKS", "5"},
                      {"SLURM_STEP_TASKS_PER_NODE", "2(x2),1"},
                      {"SLURM_NTASKS_PER_NODE", "64"},
                      {"SLURM_NODEID", "1"}};
  EXPECT_EQ(threads_with(variables, whole), 32);
  variables["SLURM_NODEID"] = "2";
  EXPECT_EQ(threads_with(variables, whole), 64);
  variables.erase("SLURM_STEP_TASKS_PER_NODE");
  EXPECT_EQ(threads_with(variables, whole), 1);
}

TEST(CoreShare, ABatchScriptsOwnProcessIsNoTask) {
  EXPECT_EQ(threads_with({{"SLURM_NTASKS_PER_NODE", "4"}, {"SLURM_PROCID", "0"}}, whole), 64);
}

// mpirun binds to a core, or to a socket that several ranks share; srun to a task's cores.
TEST(CoreShare, WhatARankIsBoundToIsNotDividedAgain) {
  for (const Variables& variables :
       {Variables{{"OMPI_COMM_WORLD_LOCAL_SIZE", "16"}},
        Variables{{"SLURM_STEP_NUM_TASKS", "16"}, {"SLURM_STEP_TASKS_PER_NODE", "16"}},
        Variables{{"SLURM_STEP_NUM_TASKS", "16"}, {"SLURM_NTASKS_PER_NODE", "16"}}}) {
    EXPECT_EQ(threads_with(variables, bound), 4);
    EXPECT_EQ(threads_with(variables, {.of_process = 32, .of_job = 64}), 4);
    EXPECT_EQ(threads_with(variables, {.of_process = 1, .of_job = 64}), 1);
  }
  // Ranks of a launcher that binds nothing share what it was given.
  EXPECT_EQ(threads_with({{"LOCAL_WORLD_SIZE", "2"}}, bound), 2);
}

TEST(TasksOnNode, ReadsSlurmsShortForm) {
  EXPECT_EQ(tasks_on_node("2(x3)", 0), 2);
  EXPECT_EQ(tasks_on_node("2(x3)", 2), 2);
  EXPECT_EQ(tasks_on_node("2(x2),1", 1), 2);
  EXPECT_EQ(tasks_on_node("2(x2),1", 2), 1);
  EXPECT_EQ(tasks_on_node("4,3(x2),1", 2), 3);
  EXPECT_EQ(tasks_on_node("7", 0), 7);
  for (const char* list : {"", "x", "2(x", "2(x0)", "2(3)", "0", "2,"})
    EXPECT_THROW(tasks_on_node(list, 5), Error) << list;
  EXPECT_THROW(tasks_on_node("2(x3)", 3), Error);
}

TEST(CoresHere, AreThoseOfThisProcessAtLeast) {
  const CoresHere cores = cores_here();
  EXPECT_GE(cores.of_process, 1);
  EXPECT_GE(cores.of_job, cores.of_process);
}

}  // namespace

}  // namespace switchyard
