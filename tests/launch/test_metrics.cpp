#include <gtest/gtest.h>

#include <fstream>

#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/files.h"
#include "launch/metrics.h"
#include "launch/path/run_folder.h"
#include "launch/path/starts.h"
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

TEST(Metrics, StepsThatAreMadeAgainAreCounted) {
  const test::TemporaryFolder run;
  write_steps(run.path(), 1, 5);
  EXPECT_EQ(MetricsLog(run.path(), 5).redone(), "");
  const std::string file = (run.path() / "metrics.jsonl").string();
  EXPECT_EQ(
      MetricsLog(run.path(), 4).redone(),
      file + " has lines up to step 5, and this start goes on from step 4: 1 step is made again");
  EXPECT_EQ(MetricsLog(run.path(), 4).redone(), "");
}

std::string lost_lines(const std::filesystem::path& run, int64_t step, int64_t before = 0) {
  return MetricsLog(run, step, before).loss();
}

TEST(Metrics, LinesThatWereLostBesideASavedStepAreNamedOnce) {
  const test::TemporaryFolder run;
  const auto file = run.path() / "metrics.jsonl";
  write_steps(run.path(), 1, 9);
  EXPECT_EQ(lost_lines(run.path(), 9), "");
  EXPECT_EQ(lost_lines(run.path(), 7), "");
  const std::string whole = read_file(file);
  const auto cut_to = [&](size_t lines, size_t bytes) {
    size_t at = 0;
    for (size_t i = 0; i < lines; ++i) at = whole.find('\n', at) + 1;
    std::ofstream(file) << whole.substr(0, at + bytes);
  };
  cut_to(4, 0);
  EXPECT_EQ(lost_lines(run.path(), 7), file.string() +
                                           " has no whole lines of the steps 5, 6, 7, "
                                           "though step 7 is saved: lines were lost");
  cut_to(6, 20);  // within a line
  EXPECT_EQ(lost_lines(run.path(), 7), file.string() +
                                           " has no whole line of step 7, though step "
                                           "7 is saved: lines were lost");
  EXPECT_EQ(lines_of(run.path() / "metrics.discarded.jsonl").size(), 3u);  // with 8 and 9
  cut_to(6, 20);  // of a step that is made again
  EXPECT_EQ(lost_lines(run.path(), 6), "");
  cut_to(4, 0);
  write_steps(run.path(), 8, 9);  // behind a gap that was said
  EXPECT_EQ(lost_lines(run.path(), 9), "");
  std::ofstream(file) << "{\"step\":1}\n{\"ste\n{\"step\":3}\n";
  EXPECT_EQ(lost_lines(run.path(), 3), file.string() +
                                           " has no whole line of step 2, though step "
                                           "3 is saved: lines were lost");
  std::filesystem::remove(file);
  EXPECT_EQ(lost_lines(run.path(), 12, 10), file.string() +
                                                " has no whole lines of the steps 11, "
                                                "12, though step 12 is saved: lines were lost");
  EXPECT_EQ(lost_lines(run.path(), 10, 10), "");
}

TEST(Metrics, AValidationSaysTheLossOfEachSet) {
  const test::TemporaryFolder run;
  StepMetrics m;
  m.step = 7;
  MetricsLog log(run.path(), 0);
  log.write(m);
  m.validation_loss = 2.5;
  m.validation_losses = {{"new", 3, 2.25}};
  EXPECT_EQ(validation_line(m), "step 7: validation loss 2.50000");
  m.validation_losses.push_back({"old", 1, 3.25});
  EXPECT_EQ(validation_line(m),
            "step 7: validation loss 2.50000: new 2.25000 (3 samples), old 3.25000 (1 samples)");
  log.write(m);
  const auto lines = lines_of(run.path() / "metrics.jsonl");
  EXPECT_FALSE(lines[0].contains("validation_losses"));
  EXPECT_EQ(lines[1].at("validation_loss"), 2.5);
  EXPECT_EQ(lines[1].at("validation_losses"), nlohmann::json({{"new", 2.25}, {"old", 3.25}}));
}

TEST(Metrics, AnFp16StepSaysItsLossScale) {
  const test::TemporaryFolder run;
  StepMetrics m;
  m.step = 4;
  m.grad_norm = std::numeric_limits<double>::infinity();
  MetricsLog log(run.path(), 0);
  log.write(m);
  EXPECT_EQ(loss_scale_line(m), "");
  m.loss_scale = {65536, true, 2};
  log.write(m);
  const auto lines = lines_of(run.path() / "metrics.jsonl");
  EXPECT_FALSE(lines[0].contains("loss_scale"));
  EXPECT_EQ(lines[1].at("loss_scale"), 65536);
  EXPECT_EQ(lines[1].at("skipped"), true);
  EXPECT_EQ(lines[1].at("skipped_steps"), 2);
  EXPECT_TRUE(lines[1].at("grad_norm").is_null());
  EXPECT_NE(console_line(m, 0, 0).find("norm not finite,"), std::string::npos);
  EXPECT_EQ(loss_scale_line(m),
            "step 4: overflow at loss scale 65536, nothing changed; 2 steps skipped");
}

StepMetrics usual_step() {
  StepMetrics m;
  m.step = 1300;
  m.loss = 2.123456;
  m.learning_rate = 0.00297;
  m.grad_norm = 0.1234;
  m.tokens_per_second = 3842;
  m.gflops = 83.14;
  return m;
}

TEST(Metrics, TheConsoleLineFitsAHundredColumns) {
  StepMetrics m = usual_step();
  EXPECT_EQ(console_line(m, 1400, 754),
            "step 1300/1400: loss 2.1235, lr 0.00297, norm 0.123, 3842 tok/s, 83.1 GFLOP/s, "
            "12:34 left");
  EXPECT_EQ(console_line(m, 0, 754).find("left"), std::string::npos);
  m.step = 123456;
  m.loss = 10.98765;
  m.learning_rate = 1.2345e-5;
  m.grad_norm = 123456;
  m.tokens_per_second = 12345678;
  m.gflops = 1234567;
  const std::string widest = console_line(m, 1500000, 1e7);
  EXPECT_LE(std::string("[12:34:56] ").size() + widest.size(), console_columns) << widest;
  m.grad_norm = 0.5;
  m.peak = {2e15, true};
  EXPECT_NE(console_line(m, 1500000, 1e7).find(", mfu 61.7%, 115 d 17 h left"), std::string::npos);
}

TEST(Metrics, OnlyAJobWithAPeakHasAnMfu) {
  const test::TemporaryFolder run;
  MetricsLog log(run.path(), 0);
  StepMetrics m = usual_step();
  log.write(m);
  m.peak = {166.28e9, false};
  log.write(m);
  const auto lines = lines_of(run.path() / "metrics.jsonl");
  EXPECT_EQ(lines[0].at("gflops"), 83.14);
  for (const char* name : {"mfu", "mfu_formula", "peak", "peak_gflops"}) {
    EXPECT_FALSE(lines[0].contains(name)) << name;
    EXPECT_TRUE(lines[1].contains(name)) << name;
  }
  EXPECT_DOUBLE_EQ(lines[1].at("mfu"), 0.5);
  EXPECT_EQ(lines[1].at("peak"), "measured");
}

TEST(Metrics, ADensePeakIsThatOfTheDataSheet) {
  EXPECT_EQ(dense_peak("NVIDIA H200", DType::bf16), 989e12);
  EXPECT_EQ(dense_peak("NVIDIA A100-SXM4-80GB", DType::f16), 312e12);
  EXPECT_EQ(dense_peak("NVIDIA H200", DType::f32), 0);
  EXPECT_EQ(dense_peak("NVIDIA H100 PCIe", DType::bf16), 0);
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

Settings run_settings(std::initializer_list<std::pair<const char*, std::string>> given) {
  Settings s;
  for (const auto& spec : run_options()) {
    for (const auto& [name, value] : given) {
      if (spec.long_name() == name) s.set(spec, {value});
    }
  }
  return s;
}

StartRecord start_with(int64_t number, const Settings& given) {
  StartRecord start;
  start.number = number;
  start.step = 10 * number;
  start.layout = {.tp = 2, .dp = 3};
  start.run = with_fallbacks(run_options(), given);
  return start;
}

TEST(Starts, WhatTheLastOneHadIsTheNextOnesDefaultButForTheLayout) {
  const test::TemporaryFolder run;
  append_start(run.path(), start_with(1, run_settings({{"save-interval", "7"},
                                                       {"eval-interval", "5"},
                                                       {"valid-data-path", "held-out"},
                                                       {"micro-batch-size", "4"},
                                                       {"device", "cpu"},
                                                       {"tensorboard", "events"},
                                                       {"train-iters", "30"},
                                                       {"load-step", "3"}})));
  const LastStart last = parse_start(last_start_line(run.path()));
  EXPECT_EQ(last.number, 1);
  const auto given = run_settings({{"keep-checkpoints", "2"}, {"eval-iters", "3"}});
  const Settings next = with_remembered(given, last.remembered);
  EXPECT_EQ(next.integer("save-interval"), 7);
  EXPECT_EQ(next.integer("keep-checkpoints"), 2);
  EXPECT_EQ(next.text("valid-data-path"), std::filesystem::absolute("held-out"));
  for (const char* name :
       {"micro-batch-size", "device", "train-iters", "load-step", "tensor-model-parallel-size"}) {
    EXPECT_FALSE(next.has(name)) << name;
  }
  EXPECT_EQ(show_remembered(given, last.remembered),
            "--save-interval 7 --eval-interval 5 --tensorboard " +
                std::filesystem::absolute("events").string() + " --valid-data-path " +
                std::filesystem::absolute("held-out").string());
  append_start(run.path(), start_with(2, run_settings({{"tensorboard", "none"}})));
  EXPECT_EQ(parse_start(last_start_line(run.path())).remembered.text("tensorboard"), "none");
  EXPECT_FALSE(with_remembered(run_settings({{"eval-interval", "0"}}), last.remembered)
                   .has("valid-data-path"));
}

TEST(Starts, ValidationDataAloneAreScoredEachThousandSteps) {
  const auto given = run_settings({{"valid-data-path", "held out"}});
  EXPECT_EQ(with_remembered(given, {}).integer("eval-interval"), 1000);
  const auto off = run_settings({{"eval-interval", "0"}}),
             often = run_settings({{"eval-interval", "7"}});
  EXPECT_EQ(with_remembered({}, {}, true).integer("eval-interval"), 1000);
  EXPECT_EQ(with_remembered({}, off, true).integer("eval-interval"), 0);
  EXPECT_EQ(with_remembered(given, off).integer("eval-interval"), 1000);
  EXPECT_EQ(show_remembered(given, off), "");
  EXPECT_EQ(with_remembered(given, often).integer("eval-interval"), 7);
  EXPECT_EQ(show_remembered(often, given), "--valid-data-path 'held out'");
}

TEST(Starts, NumbersGoOnBehindTheLargestThatEitherFileKnows) {
  const test::TemporaryFolder run;
  EXPECT_EQ(largest_start(run.path()), 0);
  append_start(run.path(), start_with(2, {}));
  EXPECT_EQ(largest_start(run.path()), 2);
  StepMetrics m;
  for (const int64_t start : {5, 1}) {
    m.step++;
    m.start = start;
    MetricsLog(run.path(), 9).write(m);
  }
  EXPECT_EQ(largest_start(run.path()), 5);
}

TEST(Starts, ALineSaysHowItRan) {
  const test::TemporaryFolder run;
  append_start(run.path(), start_with(4, {}));
  const auto line = lines_of(run.path() / "starts.jsonl").at(0);
  EXPECT_EQ(line.at("start"), 4);
  EXPECT_EQ(line.at("step"), 40);
  EXPECT_EQ(line.at("ranks"), 6);
  EXPECT_EQ(line.at("layout").at("tp"), 2);
  EXPECT_EQ(line.at("micro_batch_size"), 1);
  EXPECT_GE(line.at("threads"), 1);
  EXPECT_EQ(line.at("device"), "cpu");
  EXPECT_NE(line.at("instruction_set").get<std::string>().find("AVX"), std::string::npos);
  EXPECT_TRUE(line.at("versions").contains("onednn"));
  EXPECT_EQ(line.at("options").at("save-interval"), 1000);
}

TEST(Starts, ATornLineAndAFolderWithoutStartsAreNoObstacle) {
  const test::TemporaryFolder run;
  EXPECT_EQ(parse_start(last_start_line(run.path())).number, 0);
  append_start(run.path(), start_with(1, run_settings({{"save-interval", "7"}})));
  std::ofstream(run.path() / "starts.jsonl", std::ios::app) << "{\"start\": 2, \"opt";
  EXPECT_EQ(parse_start(last_start_line(run.path())).number, 1);
  append_start(run.path(), start_with(2, run_settings({{"save-interval", "9"}})));
  EXPECT_EQ(lines_of(run.path() / "starts.jsonl").size(), 3u);
  EXPECT_EQ(parse_start(last_start_line(run.path())).remembered.integer("save-interval"), 9);
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
