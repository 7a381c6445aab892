#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "core/error.h"
#include "parallel/comm/rendezvous/host_list.h"
#include "parallel/comm/rendezvous/job_environment.h"

namespace switchyard {

namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(SlurmNodeList, FirstHost) {
  const std::map<std::string, std::string> first{
      {"login", "login"},
      {"a,b", "a"},
      {"gpu-[07-09,12],login", "gpu-07"},
      {"node[001-128]", "node001"},
      {"n[3,1-2]", "n3"},
      {"rack[1-2]node[05-09,20]", "rack1node05"},
      {"rack[1-2]-gpu", "rack1-gpu"},
      {"dgx-a100-[1-2]", "dgx-a100-1"},
      {"host.domain.org,other", "host.domain.org"},
  };
  for (const auto& [list, host] : first) EXPECT_EQ(first_host(list), host) << list;
}

TEST(SlurmNodeList, AllHosts) {
  const std::map<std::string, std::vector<std::string>> all{
      {"login", {"login"}},
      {"gpu-[08-10,12],login", {"gpu-08", "gpu-09", "gpu-10", "gpu-12", "login"}},
      {"n[3,1-2]", {"n3", "n1", "n2"}},
      {"r[1-2]n[09-10]", {"r1n09", "r1n10", "r2n09", "r2n10"}},
      {"a[1-2]-gpu,b", {"a1-gpu", "a2-gpu", "b"}},
  };
  for (const auto& [list, hosts] : all) EXPECT_EQ(hosts_in(list), hosts) << list;
  EXPECT_THROW(hosts_in("n[2-1]"), Error);
  EXPECT_THROW(hosts_in("n[0-99999999]"), Error);
  EXPECT_THROW(hosts_in("a,"), Error);
}

TEST(SlurmNodeList, Counts) {
  EXPECT_EQ(counts_in("8(x3),4"), (std::vector<int64_t>{8, 8, 8, 4}));
  EXPECT_EQ(counts_in("2"), (std::vector<int64_t>{2}));
  for (const char* counts : {"", "2(x)", "2(x0)", "2x3", "a", "2,", "-1", "1(x99999999)"})
    EXPECT_THROW(counts_in(counts), Error) << counts;
}

TEST(SlurmNodeList, RefusesWhatIsNone) {
  for (const char* list : {"", ",a", "gpu-[", "gpu-[1-2", "gpu-[]", "gpu-[,1]", "gpu-]1", "g[a-b]"})
    EXPECT_THROW(first_host(list), Error) << list;
}

constexpr const char* names[] = {"RANK",
                                 "WORLD_SIZE",
                                 "LOCAL_RANK",
                                 "MASTER_ADDR",
                                 "MASTER_PORT",
                                 "TORCHELASTIC_USE_AGENT_STORE",
                                 "SWITCHYARD_STORE",
                                 "SLURM_PROCID",
                                 "SLURM_LOCALID",
                                 "SLURM_STEP_NUM_TASKS",
                                 "SLURM_JOB_ID",
                                 "SLURM_JOB_NODELIST",
                                 "SLURM_STEP_ID",
                                 "SLURM_STEP_NODELIST",
                                 "OMPI_COMM_WORLD_RANK",
                                 "OMPI_COMM_WORLD_SIZE",
                                 "OMPI_COMM_WORLD_LOCAL_RANK"};

// Of all variables that say something about ranks, these alone are set.
class Variables {
 public:
  explicit Variables(const std::map<std::string, std::string>& values) {
    clear();
    for (const auto& [name, value] : values) setenv(name.c_str(), value.c_str(), 1);
  }
  ~Variables() { clear(); }

 private:
  static void clear() {
    for (const char* name : names) unsetenv(name);
  }
};

TEST(JobEnvironment, IsNothingForAProcessStartedAlone) {
  const Variables variables({{"SLURM_PROCID", "0"}, {"SLURM_JOB_ID", "7"}});  // a batch script
  EXPECT_FALSE(job_environment());
  EXPECT_EQ(local_rank_of_process(), 0);
}

TEST(JobEnvironment, ReadsTorchrunsNames) {
  const Variables variables({{"RANK", "5"},
                             {"WORLD_SIZE", "16"},
                             {"LOCAL_RANK", "1"},
                             {"MASTER_ADDR", "gpu-3"},
                             {"MASTER_PORT", "29500"}});
  const auto job = job_environment();
  ASSERT_TRUE(job);
  EXPECT_EQ(job->rank, 5);
  EXPECT_EQ(job->size, 16);
  EXPECT_EQ(job->host, "gpu-3");
  EXPECT_EQ(job->port, 29500);
  EXPECT_EQ(local_rank_of_process(), 1);
}

// Some clusters set these alone.
TEST(JobEnvironment, ARankByItselfNeedsNoPlace) {
  const Variables variables({{"RANK", "0"}, {"WORLD_SIZE", "1"}});
  const auto job = job_environment();
  ASSERT_TRUE(job);
  EXPECT_EQ(job->size, 1);
}

TEST(JobEnvironment, RanksThatShareAFolderNeedNoPort) {
  const Variables variables({{"RANK", "1"},
                             {"WORLD_SIZE", "2"},
                             {"LOCAL_RANK", "0"},
                             {"SWITCHYARD_STORE", "/shared/store"}});
  const auto job = job_environment();
  ASSERT_TRUE(job);
  EXPECT_EQ(job->rank, 1);
  EXPECT_EQ(job->size, 2);
}

// Its agents listen on MASTER_PORT themselves unless they leave it to the workers.
TEST(JobEnvironment, LeavesTorchrunItsPort) {
  std::map<std::string, std::string> values{{"RANK", "0"},
                                            {"WORLD_SIZE", "2"},
                                            {"LOCAL_RANK", "0"},
                                            {"MASTER_ADDR", "gpu-3"},
                                            {"MASTER_PORT", "29500"}};
  for (const auto& [text, port] : std::map<std::string, int>{{"True", 29501}, {"False", 29500}}) {
    values["TORCHELASTIC_USE_AGENT_STORE"] = text;
    const Variables variables(values);
    EXPECT_EQ(job_environment()->port, port) << text;
  }
}

std::map<std::string, std::string> of_srun() {
  return {{"SLURM_PROCID", "9"},
          {"SLURM_STEP_NUM_TASKS", "16"},
          {"SLURM_LOCALID", "1"},
          {"SLURM_JOB_ID", "123456"},
          {"SLURM_STEP_ID", "2"},
          {"SLURM_JOB_NODELIST", "gpu-[03-04]"},
          {"SLURM_STEP_NODELIST", "gpu-04"}};
}

TEST(JobEnvironment, ReadsWhatSrunSets) {
  auto values = of_srun();
  int port = 0;
  {
    const Variables variables(values);
    const auto job = job_environment();
    ASSERT_TRUE(job);
    EXPECT_EQ(job->rank, 9);
    EXPECT_EQ(job->size, 16);
    EXPECT_EQ(local_rank_of_process(), 1);
    EXPECT_EQ(job->host, "gpu-04");  // a step may have some of the job's machines only
    EXPECT_GE(job->port, 20'000);
    EXPECT_LT(job->port, 30'000);
    port = job->port;
  }
  values["SLURM_STEP_ID"] = "3";
  const Variables variables(values);
  EXPECT_NE(job_environment()->port, port) << "steps that run at once share a machine";
}

// A script may put rank 0 elsewhere than on the first machine.
TEST(JobEnvironment, HonoursWhereAScriptPutsRank0UnderSlurm) {
  auto values = of_srun();
  values["MASTER_ADDR"] = "gpu-07";
  {
    const Variables variables(values);
    EXPECT_EQ(job_environment()->host, "gpu-07");
    EXPECT_GE(job_environment()->port, 20'000);
  }
  values["MASTER_PORT"] = "29511";
  values["SLURM_STEP_NODELIST"] = "";
  const Variables variables(values);
  EXPECT_EQ(job_environment()->host, "gpu-07");
  EXPECT_EQ(job_environment()->port, 29511);
}

// What salloc's shell has where it runs as a step of its own.
TEST(JobEnvironment, OfAnInteractiveStepIsThatOfOneRank) {
  auto values = of_srun();
  values["SLURM_PROCID"] = values["SLURM_LOCALID"] = "0";
  values["SLURM_STEP_NUM_TASKS"] = "1";
  values["SLURM_STEP_ID"] = "4294967290";
  const Variables variables(values);
  const auto job = job_environment();
  ASSERT_TRUE(job);
  EXPECT_EQ(job->size, 1);
  EXPECT_GE(job->port, 20'000);
  EXPECT_LT(job->port, 30'000);
}

TEST(JobEnvironment, MpirunInsideOfAStepComesFirst) {
  auto values = of_srun();
  values["OMPI_COMM_WORLD_SIZE"] = "4";
  values["OMPI_COMM_WORLD_LOCAL_RANK"] = "3";
  const Variables variables(values);
  EXPECT_FALSE(job_environment());
  EXPECT_EQ(local_rank_of_process(), 3);
}

TEST(JobEnvironment, TellsWhetherAProcessIsOneOfSeveral) {
  const auto rank_with = [](const std::map<std::string, std::string>& values) {
    const Variables variables(values);
    return rank_among_several();
  };
  EXPECT_EQ(rank_with({}), std::nullopt);
  EXPECT_EQ(rank_with({{"OMPI_COMM_WORLD_RANK", "3"}, {"OMPI_COMM_WORLD_SIZE", "4"}}), 3);
  EXPECT_EQ(rank_with({{"OMPI_COMM_WORLD_RANK", "0"}, {"OMPI_COMM_WORLD_SIZE", "1"}}),
            std::nullopt);
  EXPECT_EQ(rank_with(of_srun()), 9);
  EXPECT_EQ(rank_with({{"SLURM_PROCID", "0"}, {"SLURM_JOB_ID", "7"}}), std::nullopt);
  // A container may be told its place before there are ranks.
  EXPECT_EQ(rank_with({{"RANK", "1"}, {"WORLD_SIZE", "2"}}), std::nullopt);
  EXPECT_EQ(rank_with({{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"LOCAL_RANK", "0"}}), 1);
  EXPECT_EQ(rank_with({{"RANK", "x"}, {"WORLD_SIZE", "2"}, {"LOCAL_RANK", "0"}}), 0);
}

// nullptr: it is not set.
std::string error_with(const char* name, const char* value) {
  std::map<std::string, std::string> values{{"RANK", "0"},
                                            {"WORLD_SIZE", "2"},
                                            {"LOCAL_RANK", "0"},
                                            {"MASTER_ADDR", "a"},
                                            {"MASTER_PORT", "1234"}};
  if (value == nullptr) {
    values.erase(name);
  } else {
    values[name] = value;
  }
  const Variables variables(values);
  try {
    job_environment();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(JobEnvironment, RefusesWhatDoesNotFit) {
  EXPECT_THAT(error_with("RANK", "2"), AllOf(HasSubstr("rank 2 of 2"), HasSubstr("0 ... 1")));
  EXPECT_THAT(error_with("RANK", "x"), HasSubstr("RANK=x"));
  EXPECT_THAT(error_with("LOCAL_RANK", "-1"), HasSubstr("LOCAL_RANK=-1"));
  EXPECT_THAT(error_with("LOCAL_RANK", nullptr), HasSubstr("LOCAL_RANK is not set"));
  EXPECT_THAT(error_with("MASTER_PORT", nullptr), HasSubstr("MASTER_PORT is not set"));
  EXPECT_THAT(error_with("WORLD_SIZE", "4294967290"), HasSubstr("at most 2147483647"));
  EXPECT_THAT(error_with("MASTER_PORT", "0"), HasSubstr("port 0"));
  EXPECT_THAT(error_with("MASTER_ADDR", ""), HasSubstr("a host"));
}

}  // namespace

}  // namespace switchyard
