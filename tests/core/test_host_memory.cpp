#include "core/host_memory.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <fstream>

#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

class HostMemory : public testing::Test {
 protected:
  void write(const char* name, const std::string& text) const {
    fs::create_directories((folder_.path() / name).parent_path());
    std::ofstream(folder_.path() / name) << text;
  }
  int64_t free_bytes() const { return free_host_bytes(folder_.path()); }
  void SetUp() override {
    write("proc/meminfo", "MemTotal:  4000 kB\nMemFree:  1000 kB\nMemAvailable:  2000 kB\n");
  }

 private:
  test::TemporaryFolder folder_;
};

TEST_F(HostMemory, IsWhatTheMachineHasAvailable) { EXPECT_EQ(free_bytes(), 2000 * 1024); }

TEST_F(HostMemory, OfThisMachineIsSomething) { EXPECT_GT(free_host_bytes(), 1 << 20); }

TEST_F(HostMemory, AGroupOrOneAboveItMayLeaveLess) {
  write("proc/self/cgroup", "0::/job_7/step_0\n");
  write("sys/fs/cgroup/job_7/step_0/memory.max", "max\n");
  write("sys/fs/cgroup/job_7/step_0/memory.current", "5000\n");
  EXPECT_EQ(free_bytes(), 2000 * 1024);
  write("sys/fs/cgroup/job_7/memory.max", "900000\n");
  write("sys/fs/cgroup/job_7/memory.current", "700000\n");
  EXPECT_EQ(free_bytes(), 200000);
  write("sys/fs/cgroup/job_7/memory.stat", "anon 1\ninactive_file 300000\n");
  EXPECT_EQ(free_bytes(), 500000);
}

TEST_F(HostMemory, GroupsOfTheFirstVersionCount) {
  write("proc/self/cgroup", "5:cpu,cpuacct:/a\n4:memory:/a/b\n0::/\n");
  write("sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "900000\n");
  write("sys/fs/cgroup/memory/a/b/memory.usage_in_bytes", "1000000\n");
  EXPECT_EQ(free_bytes(), 0);
  write("sys/fs/cgroup/memory/a/b/memory.stat", "total_inactive_file 400000\n");
  EXPECT_EQ(free_bytes(), 300000);
}

TEST_F(HostMemory, LimitsOfTheProcessCount) {
  write("proc/self/status", "Name:\tx\nVmSize:\t 1000000 kB\nVmData:\t 4000 kB\n");
  EXPECT_EQ(free_bytes(), 2000 * 1024);
  rlimit usual{};
  ASSERT_EQ(getrlimit(RLIMIT_AS, &usual), 0);
  const rlimit less{(int64_t{1001000} + 512 * 1024) * 1024, usual.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_AS, &less), 0);
  EXPECT_EQ(free_bytes(), 1000 * 1024);
  write("proc/self/status", "VmSize:\t 2000000 kB\n");
  EXPECT_EQ(free_bytes(), 0);
  ASSERT_EQ(setrlimit(RLIMIT_AS, &usual), 0);
}

}  // namespace
}  // namespace switchyard
