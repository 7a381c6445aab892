// What a shell makes of a batch script's words, and what its #SBATCH lines say.
#include <gtest/gtest.h>

#include <fstream>

#include "core/command.h"
#include "core/error.h"
#include "launch/slurm/batch_script.h"
#include "tests/support/temporary_folder.h"

namespace switchyard::test {
namespace {

// What bash runs, a word a line.
std::string run_by_bash(const BatchScript& script) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "job.sbatch";
  std::ofstream(file) << text_of(script);
  const auto said = run_command({"env", "SLURM_ARRAY_TASK_ID=7", "bash", file.string()},
                                std::chrono::seconds(20));
  return said ? said->output.substr(said->output.find('\n') + 1) : "nothing";
}

BatchScript printing(std::vector<std::string> words) {
  BatchScript script;
  script.command = {"printf", "%s\n"};
  script.command.insert(script.command.end(), words.begin(), words.end());
  return script;
}

TEST(BatchScript, WordsAreReadAsTheyWereGiven) {
  const std::vector<std::string> words = {"a b",   "$HOME", "`id`", "it's", "\"q\"", "",
                                          "x\\y",  "a;b",   "*",    "~",    "!x",    "a%ab",
                                          "--x=#", "{a,b}", "<>|&", "(1)"};
  std::string expected;
  for (const auto& word : words) expected += word + "\n";
  EXPECT_EQ(run_by_bash(printing(words)), expected);
}

TEST(BatchScript, AnArraysTaskPutsItsNumberIn) {
  BatchScript script = printing({"runs/seed-%a", "%a", "$x-%a-%a'", "100%"});
  script.is_array = true;
  EXPECT_EQ(run_by_bash(script), "runs/seed-7\n7\n$x-7-7'\n100%\n");
}

TEST(BatchScript, LongCommandsAreFolded) {
  const std::vector<std::string> words(60, "a-word-of-some-length");
  std::string expected;
  for (const auto& word : words) expected += word + "\n";
  const BatchScript script = printing(words);
  EXPECT_EQ(run_by_bash(script), expected);
  std::istringstream lines(text_of(script));
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 130U) << line;
}

TEST(BatchScript, Directives) {
  BatchScript script = printing({});
  script.directives = {{"nodes", "2"}, {"output", "/a b/\"x\".log"}, {"requeue", ""}};
  script.more = {"--exclusive"};
  const std::string text = text_of(script);
  EXPECT_TRUE(
      text.starts_with("#!/bin/bash\n#SBATCH --nodes=2\n"
                       "#SBATCH --output=\"/a b/\\\"x\\\".log\"\n"
                       "#SBATCH --requeue\n#SBATCH --exclusive\n"))
      << text;
  script.directives = {{"job-name", "a\nb"}};
  EXPECT_THROW(text_of(script), Error);
  EXPECT_EQ(log_pattern("/runs/50%/x"), "/runs/50%%/x");
}

}  // namespace
}  // namespace switchyard::test
