#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "launch/metrics.h"
#include "launch/run_folder.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

std::vector<nlohmann::json> lines_of(const std::filesystem::path& file) {
  std::vector<nlohmann::json> all;
  if (!std::filesystem::exists(file)) return all;
  std::istringstream stream(read_file(file));
  for (std::string line; std::getline(stream, line);)
    all.push_back(nlohmann::json::parse(line, nullptr, false));
  return all;
}

void write_steps(const std::filesystem::path& run, int64_t from, int64_t to) {
  MetricsLog log(run, from - 1);
  for (int64_t step = from; step <= to; ++step) {
    StepMetrics m;
    m.step = step;
    m.loss = 1.0 / 3.0 / static_cast<double>(step);
    log.write(m);
  }
}

TEST(Metrics, NumbersReadBackToTheSameBits) {
  const test::TemporaryFolder run;
  write_steps(run.path(), 1, 3);
  const auto lines = lines_of(run.path() / "metrics.jsonl");
  ASSERT_EQ(lines.size(), 3u);
  for (int step = 1; step <= 3; ++step) {
    EXPECT_EQ(lines[static_cast<size_t>(step - 1)].at("loss").get<double>(), 1.0 / 3.0 / step);
  }
}

TEST(Metrics, ResumingMovesLaterLinesAside) {
  const test::TemporaryFolder run;
  write_steps(run.path(), 1, 5);
  write_steps(run.path(), 4, 6);
  const auto lines = lines_of(run.path() / "metrics.jsonl");
  ASSERT_EQ(lines.size(), 6u);
  for (size_t i = 0; i < 6; ++i) EXPECT_EQ(lines[i].at("step"), i + 1);
  EXPECT_EQ(lines_of(run.path() / "metrics.discarded.jsonl").size(), 2u);
}

TEST(Metrics, AnFp16StepSaysItsLossScale) {
  const test::TemporaryFolder run;
  StepMetrics m;
  m.step = 4;
  m.grad_norm = std::numeric_limits<double>::infinity();
  MetricsLog log(run.path(), 0);
  log.write(m);
  EXPECT_EQ(console_line(m, 0, 0).find("scale"), std::string::npos);
  m.loss_scale = {65536, true, 2};
  log.write(m);
  const auto lines = lines_of(run.path() / "metrics.jsonl");
  EXPECT_FALSE(lines[0].contains("loss_scale"));
  EXPECT_EQ(lines[1].at("loss_scale"), 65536);
  EXPECT_EQ(lines[1].at("skipped"), true);
  EXPECT_EQ(lines[1].at("skipped_steps"), 2);
  EXPECT_TRUE(lines[1].at("grad_norm").is_null());
  EXPECT_NE(console_line(m, 0, 0).find("grad norm not finite |"), std::string::npos);
  EXPECT_NE(console_line(m, 0, 0).find("loss scale 65536 overflowed | 2 skipped"),
            std::string::npos);
}

TEST(Metrics, ATornLastLineMovesAside) {
  const test::TemporaryFolder run;
  write_steps(run.path(), 1, 2);
  std::ofstream(run.path() / "metrics.jsonl", std::ios::app) << "{\"step\": 3, \"lo";
  write_steps(run.path(), 3, 3);
  const auto lines = lines_of(run.path() / "metrics.jsonl");
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[2].at("step"), 3);
}

TEST(Metrics, ALastLineWithoutItsNewlineIsKeptAndEnded) {
  const test::TemporaryFolder run;
  const auto file = run.path() / "metrics.jsonl";
  const auto aside = run.path() / "metrics.discarded.jsonl";
  write_steps(run.path(), 1, 2);
  std::filesystem::resize_file(file, std::filesystem::file_size(file) - 1);
  std::ofstream(aside) << "{\"step\": 9}";
  write_steps(run.path(), 3, 4);
  EXPECT_EQ(lines_of(aside).size(), 1u);
  write_steps(run.path(), 4, 4);  // gives up a step
  const auto lines = lines_of(file);
  ASSERT_EQ(lines.size(), 4u);
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(lines[i].at("step"), i + 1);
  const auto discarded = lines_of(aside);
  ASSERT_EQ(discarded.size(), 2u);
  EXPECT_EQ(discarded[0].at("step"), 9);
  EXPECT_EQ(discarded[1].at("step"), 4);
}

}  // namespace
}  // namespace switchyard
