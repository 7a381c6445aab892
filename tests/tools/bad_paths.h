#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/tools/refusal.h"

namespace switchyard::test {

// A path "main" of four steps, saved every second, that commands must leave as it was.
class BadPaths : public testing::Test {
 protected:
  using Parts = std::vector<std::string>;

  BadPaths() { folder.make_path("main", 4); }
  std::string main() const { return folder.at("main"); }
  std::string shard(int step) const {
    return main() + "/checkpoints/step-0000000" + std::to_string(step) + "/shards/rank-00000.h5";
  }
  std::string master(int step) const {
    return main() + "/checkpoints/step-0000000" + std::to_string(step) + "/checkpoint.h5";
  }
  // A command that names no new folder, and leaves the path as it was.
  void refuse(const std::string& line, const Parts& parts, int code = 2) {
    const auto before = folder.contents("main");
    expect_refused(line, parts, 1, code);
    EXPECT_TRUE(folder.contents("main") == before) << line;
  }
  void refuse_resume(const std::string& more, const Parts& parts, int code = 2) {
    refuse("train " + main() + " " + more, parts, code);
  }
  void refuse_fork(const std::string& from, const std::string& more, const Parts& parts,
                   int code = 2) {
    refuse("fork " + folder.at(from) + " " + folder.at("branch") + " " + more, parts, code);
    EXPECT_FALSE(std::filesystem::exists(folder.at("branch"))) << from << " " << more;
  }

  RefusalFolder folder;
};

}  // namespace switchyard::test
