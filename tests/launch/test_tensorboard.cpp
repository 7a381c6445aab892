// Event files, read back by another reader: their records, their numbers, where they lie.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cmath>
#include <csignal>
#include <fstream>
#include <limits>

#include "core/error.h"
#include "launch/tensorboard.h"
#include "tests/support/event_reader.h"
#include "tests/support/temporary_folder.h"

namespace fs = std::filesystem;

namespace switchyard {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::SizeIs;

StepMetrics step_with(int64_t step, double loss) {
  StepMetrics m;
  m.step = step;
  m.ended = WallTime(std::chrono::milliseconds(1'500'000'000'250 + step));
  m.loss = loss;
  m.samples = 4 * step;
  return m;
}

void write_steps(const fs::path& folder, int64_t from, int64_t to, double loss) {
  TensorBoardLog log(folder, from - 1);
  for (int64_t step = from; step <= to; ++step) log.write(step_with(step, loss));
}

// Values that the formats' authors give (RFC 3720, B.4), so that reader and writer do not err
// alike.
TEST(EventFile, ChecksumsAreThoseOfTFRecord) {
  EXPECT_EQ(test::crc32c("123456789"), 0xE3069283U);
  EXPECT_EQ(test::crc32c(std::string(32, '\0')), 0x8A9136AAU);
  for (const std::string& bytes : {std::string("123456789"), std::string(32, '\xff')})
    EXPECT_EQ(masked_crc32c(bytes), test::masked(test::crc32c(bytes)));
  // As TensorBoard's own writer has it.
  EXPECT_EQ(tfrecord("x"),
            std::string("\1\0\0\0\0\0\0\0\x01\x75\xde\x41", 12) + "x" + "\x50\x3d\xaa\x61");
}

// The version, a session's start and one number, with the bytes of the protobuf library.
TEST(EventFile, EventsAreProtocolBuffers) {
  const WallTime time(std::chrono::seconds(2));  // 2.0 is 0x4000000000000000
  const std::string head("\x09\0\0\0\0\0\0\0\x40", 9);
  EXPECT_EQ(version_event(time), head + std::string("\x10\0\x1a\x0d", 4) + "brain.Event:2");
  EXPECT_EQ(start_event(time, 300), head + "\x10\xac\x02\x3a\x02\x08\x01");
  const std::vector<Scalar> one = {{"a", 0.5}};  // 0.5f is 0x3f000000
  EXPECT_EQ(scalars_event(time, 1, one),
            head + std::string("\x10\1\x2a\x0a\x0a\x08\x0a\1a\x15\0\0\0\x3f", 14));
}

TEST(TensorBoard, AFileHasItsVersionTheSessionsStartAndTheSteps) {
  const test::TemporaryFolder folder;
  write_steps(folder.path(), 8, 9, 1.0 / 3);
  const auto files = test::event_files(folder.path());
  ASSERT_THAT(files, SizeIs(1));
  EXPECT_THAT(files[0].filename().string(),
              testing::MatchesRegex("events\\.out\\.tfevents\\.[0-9]+\\..+\\.[0-9]+\\.0"));
  const auto events = test::events_in(files[0]);
  ASSERT_THAT(events, SizeIs(4));
  EXPECT_EQ(events[0].file_version, "brain.Event:2");
  EXPECT_TRUE(events[1].starts_session);
  EXPECT_EQ(events[1].step, 8);
  EXPECT_EQ(events[2].step, 8);
  EXPECT_EQ(events[2].wall_time, 1'500'000'000.258);
  EXPECT_EQ(events[3].scalars.at("loss/train"), static_cast<float>(1.0 / 3));
  EXPECT_EQ(events[3].scalars.at("samples"), 36);
}

TEST(TensorBoard, NumbersHaveTheirTags) {
  StepMetrics m = step_with(7, 2);
  m.learning_rate = 0.25;
  m.grad_norm = std::numeric_limits<double>::infinity();
  m.tokens = 128;
  m.tokens_per_second = 1000;
  m.gflops = 500;
  m.memory_bytes = 4096;
  std::map<std::string, double> usual = {
      {"loss/train", 2},      {"learning-rate", 0.25},   {"grad-norm", INFINITY},
      {"samples", 28},        {"tokens", 128},           {"throughput/tokens-per-second", 1000},
      {"memory/bytes", 4096}, {"throughput/gflops", 500}};
  const auto tags_of = [](const StepMetrics& metrics) {
    std::map<std::string, double> all;
    for (const Scalar& scalar : scalars_of(metrics)) all[scalar.tag] = scalar.value;
    EXPECT_EQ(all.size(), scalars_of(metrics).size());
    return all;
  };
  EXPECT_EQ(tags_of(m), usual);
  m.peak = {1e12, false};
  m.loss_scale = {65536, true, 2};
  m.validation_loss = 3;
  m.validation_losses = {{"new", 3, 2.5}, {"average/ema", 1, 3.5}};
  m.validation_averages = {{"ema", 1.5, {{"new", 3, 1.25}}}};
  usual.merge(std::map<std::string, double>{{"throughput/mfu", 0.5},
                                            {"loss-scale", 65536},
                                            {"loss/validation", 3},
                                            {"loss/validation/new", 2.5},
                                            {"loss/validation/average/ema", 3.5},
                                            {"loss/validation-average/ema", 1.5},
                                            {"loss/validation-average/ema/new", 1.25}});
  EXPECT_EQ(tags_of(m), usual);
}

// A clock that was set back, or a start within the same second, must not put a file in front.
TEST(TensorBoard, ALaterStartTakesThePlaceOfWhatWasGivenUp) {
  const test::TemporaryFolder folder;
  std::ofstream(folder.path() / "events.out.tfevents.9000000000.elsewhere.1.0") << "";
  write_steps(folder.path(), 1, 5, 1);
  write_steps(folder.path(), 4, 6, 2);
  const auto files = test::event_files(folder.path());
  ASSERT_THAT(files, SizeIs(3));
  EXPECT_THAT(files[1].string(), HasSubstr("tfevents.9000000001."));
  fs::resize_file(files[2], fs::file_size(files[2]) - 3);  // killed while step 6 was written
  write_steps(folder.path(), 6, 7, 3);
  EXPECT_THAT(test::curves_of(folder.path()).at("loss/train"),
              ElementsAre(Pair(1, 1), Pair(2, 1), Pair(3, 1), Pair(4, 2), Pair(5, 2), Pair(6, 3),
                          Pair(7, 3)));
}

TEST(TensorBoard, AFullDiskIsAnError) {
  const test::TemporaryFolder folder;
  rlimit usual{};
  getrlimit(RLIMIT_FSIZE, &usual);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  TensorBoardLog log(folder.path(), 0);
  const rlimit little{.rlim_cur = 400, .rlim_max = usual.rlim_max};
  setrlimit(RLIMIT_FSIZE, &little);
  std::string problem;
  ExitCode code = ExitCode::reached;
  try {
    for (int64_t step = 1; step < 10; ++step) log.write(step_with(step, 1));
  } catch (const Error& error) {
    problem = error.what();
    code = error.code();
  }
  setrlimit(RLIMIT_FSIZE, &usual);
  std::signal(SIGXFSZ, handler);
  EXPECT_THAT(problem, AllOf(HasSubstr("tfevents"), HasSubstr("File too large")));
  EXPECT_EQ(code, ExitCode::storage);
  EXPECT_THAT(test::curves_of(folder.path()).at("loss/train"), testing::Not(IsEmpty()));
}

class EventFolder : public testing::Test {
 protected:
  fs::path at(const std::string& name) const { return fs::canonical(folder_.path()) / name; }
  static Settings to(const std::string& dir) {
    Settings settings;
    settings.set_text("tensorboard", dir);
    return settings;
  }
  fs::path of(const std::string& run, const std::string& dir) const {
    return event_folder(at(run), to(at(dir))).value();
  }
  std::string error_of(const std::string& dir, const Settings& given) const {
    try {
      check_event_folder(at("run"), given, to(dir));
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }
  test::TemporaryFolder folder_;
};

TEST_F(EventFolder, EachPathHasItsOwn) {
  EXPECT_FALSE(event_folder(at("main"), to("none")).has_value());
  EXPECT_EQ(of("main", "tb"), at("tb/main"));
  EXPECT_EQ(of("a/main", "tb"), at("tb/a/main"));
  EXPECT_EQ(of("b/main", "tb"), at("tb/b/main"));
  EXPECT_EQ(of("main", "logs/tb"), at("logs/tb") / at("main").relative_path());
  EXPECT_EQ(of("main", "main/tb").lexically_normal(), at("main/tb/"));
  fs::create_directory(at("real"));
  fs::create_directory_symlink(at("real"), at("link"));
  EXPECT_EQ(of("link/main", "tb"), at("tb/real/main"));
  EXPECT_EQ(of("main/", "tb/").lexically_normal(), at("tb/main"));
}

TEST_F(EventFolder, OneThatCannotBeWrittenIsRefused) {
  std::ofstream(at("file")) << "text";
  EXPECT_EQ(error_of(at("not/yet/there"), {}), "no error");
  EXPECT_FALSE(fs::exists(at("not")));
  EXPECT_EQ(error_of("none", {}), "no error");
  const std::string file = at("file");
  EXPECT_THAT(error_of(file, to(file)),
              AllOf(HasSubstr("--tensorboard " + file),
                    HasSubstr("is not a folder; another folder or none")));
  EXPECT_THAT(error_of(file + "/below", {}),
              AllOf(HasSubstr("as at the last start"), HasSubstr("--tensorboard none")));
  EXPECT_THAT(error_of("", to("")), HasSubstr("--tensorboard ''"));
  EXPECT_THAT(error_of("\xff", to("\xff")), HasSubstr("not UTF-8"));
}

}  // namespace
}  // namespace switchyard
