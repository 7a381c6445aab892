#include <gmock/gmock.h>

#include "core/error.h"
#include "launch/bench/bench.h"
#include "launch/bench/checkpoint_bench.h"
#include "model/config.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

Settings settings(const fs::path& folder, const char* ranks) {
  Settings given;
  given.set_text("checkpoint", folder.string());
  given.set_text("checkpoint-ranks", ranks);
  given.set_text("preset", "gpt2-tiny");
  given.set_text("steps", "2");
  return with_fallbacks(bench_options(), given);
}

TEST(CheckpointBench, MeasuresEachWayInTurnsAndLeavesNothing) {
  const test::TemporaryFolder folder;
  for (const char* ranks : {"1", "2"}) {
    const CheckpointBench r = bench_checkpoint(settings(folder.path(), ranks));
    EXPECT_EQ(r.bytes, 12 * preset("gpt2-tiny").parameters());
    for (const auto& line : r.lines) {
      EXPECT_EQ(line.seconds.size(), 2u) << line.name;
      EXPECT_GT(r.bytes_per_second(line), 0) << line.name;
      if (!line.yardstick.empty()) {
        EXPECT_GT(r.share(line), 0) << line.name;
      }
    }
    EXPECT_TRUE(fs::is_empty(folder.path()));
  }
}

TEST(CheckpointBench, FoldersThatItMadeGo) {
  const test::TemporaryFolder folder;
  bench_checkpoint(settings(folder.path() / "none/below/", "1"));
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(CheckpointBench, RefusesWhatItCannotMeasure) {
  const test::TemporaryFolder folder;
  EXPECT_THROW(bench_checkpoint(settings(folder.path(), "0")), Error);
  fs::create_directory(folder.path() / "mine");
  EXPECT_THROW(bench_checkpoint(settings(folder.path(), "1")), Error);
  EXPECT_TRUE(fs::exists(folder.path() / "mine"));
}

}  // namespace
}  // namespace switchyard
