#include <gtest/gtest.h>

#include <array>
#include <cstdlib>

#include "parallel/comm/communicators.h"
#include "parallel/comm/rank_places.h"
#include "parallel/comm/rendezvous/job_identity.h"

namespace switchyard {
namespace {

TEST(RankPlaces, name_ranks_by_their_hosts) {
  EXPECT_EQ(describe_ranks(std::array{2, 0}), "world ranks 0 2");
  run_thread_ranks(5, {}, [](Communicator& world) {
    const int rank = world.rank();
    exchange_rank_places(world.control(), {.host = rank < 2   ? "n1"
                                                   : rank < 4 ? "n2"
                                                              : "n3",
                                           .local_rank = rank % 2,
                                           .process = 100 + rank,
                                           .device = "cpu"});
    world.barrier({"all have read"});
  });
  ASSERT_EQ(rank_places().size(), 5U);
  EXPECT_EQ(rank_places()[3].process, 103);
  EXPECT_EQ(rank_places()[4].host, "n3");
  EXPECT_EQ(describe_ranks(std::array{3}), "world rank 3 on n2");
  EXPECT_EQ(describe_ranks(std::array{4, 3, 2, 0}), "world ranks 0 on n1, 2 3 on n2, 4 on n3");
}

TEST(JobIdentity, says_job_restart_and_nodes) {
  EXPECT_EQ(describe(JobIdentity{.host = "n1"}), "host n1");
  for (const char* name : {"SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"}) unsetenv(name);
  setenv("SLURM_JOB_ID", "1234", 1);
  setenv("SLURM_JOB_NODELIST", "n[1-3]", 1);
  setenv("SLURM_RESTART_COUNT", "2", 1);
  EXPECT_EQ(describe(job_identity()), "Slurm job 1234, restart 2, on n[1-3]");
  setenv("SLURM_ARRAY_JOB_ID", "1230", 1);
  setenv("SLURM_ARRAY_TASK_ID", "5", 1);
  unsetenv("SLURM_RESTART_COUNT");
  EXPECT_EQ(describe(job_identity()), "Slurm job 1230_5, on n[1-3]");
}

}  // namespace
}  // namespace switchyard
