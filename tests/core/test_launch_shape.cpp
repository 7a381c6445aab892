#include "core/cuda/launch_shape.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/cuda/row_walk.h"
#include "core/error.h"

namespace switchyard::cuda {
namespace {

using testing::HasSubstr;

constexpr int64_t beyond_32_bits = (int64_t{1} << 33) + 5;

std::string refusal_of(const LaunchShape& shape) {
  try {
    check_launch(shape, "kernel");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(CheckLaunch, TakesWhatTheHardwareTakes) {
  EXPECT_EQ(refusal_of({}), "");
  EXPECT_EQ(refusal_of({.x = most_blocks_x,
                        .y = 65535,
                        .z = 65535,
                        .threads = 1024,
                        .shared_bytes = 227 * 1024}),
            "");
}

TEST(CheckLaunch, RefusesWhatIsBeyond) {
  EXPECT_THAT(refusal_of({.threads = 1025}), HasSubstr("[kernel] a launch with 1025 threads"));
  EXPECT_THAT(refusal_of({.threads = 0}), HasSubstr("1 to 1024 are allowed"));
  EXPECT_THAT(refusal_of({.x = int64_t{1} << 31}), HasSubstr("2147483648 blocks along x"));
  EXPECT_THAT(refusal_of({.x = 0}), HasSubstr("0 blocks along x"));
  EXPECT_THAT(refusal_of({.y = 65536}), HasSubstr("65536 blocks along y; 1 to 65535"));
  EXPECT_THAT(refusal_of({.z = 65536}), HasSubstr("65536 blocks along z; 1 to 65535"));
  EXPECT_THAT(refusal_of({.shared_bytes = 227 * 1024 + 1}), HasSubstr("bytes of shared memory"));
  EXPECT_THAT(refusal_of({.shared_bytes = -1}), HasSubstr("0 to 232448"));
}

TEST(FlatLaunch, HasBlocksForAllElements) {
  EXPECT_EQ(flat_launch(0, 4).x, 1);
  EXPECT_EQ(flat_launch(1, 4).x, 1);
  EXPECT_EQ(flat_launch(1024, 4).x, 1);
  EXPECT_EQ(flat_launch(1025, 4).x, 2);
  EXPECT_EQ(flat_launch(1025, 4, 1024).threads, 1024);
}

TEST(FlatLaunch, StopsAtItsMostBlocks) {
  EXPECT_EQ(flat_launch(beyond_32_bits, 1).x, 1 << 16);
  EXPECT_EQ(flat_launch(beyond_32_bits, 1, 256, most_blocks_x).x, beyond_32_bits / 256 + 1);
  const LaunchShape most = flat_launch(INT64_MAX, 1, 32, INT64_MAX);
  EXPECT_EQ(most.x, most_blocks_x);
  EXPECT_EQ(refusal_of(most), "");
}

TEST(RowLaunch, HasABlockForEachRow) {
  EXPECT_EQ(row_launch(0, 128).x, 1);
  EXPECT_EQ(row_launch(77, 128).x, 77);
  EXPECT_EQ(row_launch(most_blocks_x, 128).x, most_blocks_x);
  EXPECT_EQ(row_launch(beyond_32_bits, 128).x, most_blocks_x);
  EXPECT_EQ(row_launch(beyond_32_bits, 128, 1000).x, 1000);
  EXPECT_EQ(refusal_of(row_launch(INT64_MAX, 1024)), "");
}

int lanes_of(const RowWalk& walk) { return 1 << walk.lanes_log2; }

TEST(RowWalkShape, LanesFollowTheColumns) {
  EXPECT_EQ(lanes_of(row_walk(4096, 768, 8)), 32);    // 96 accesses: three of each lane
  EXPECT_EQ(lanes_of(row_walk(4096, 2048, 8)), 256);  // 256 accesses
  EXPECT_EQ(lanes_of(row_walk(4096, 64, 8)), 8);
  EXPECT_EQ(lanes_of(row_walk(4096, 1, 1)), 1);
  EXPECT_EQ(lanes_of(row_walk(1, 1, 1)), 256);  // no other rows that threads could have
  EXPECT_EQ(lanes_of(row_walk(3, 8, 8)), 128);
}

TEST(RowWalkShape, IsAllowedAtAnySize) {
  for (const int64_t rows : {int64_t{0}, int64_t{1}, int64_t{3}, int64_t{65536}, beyond_32_bits}) {
    for (const int64_t columns :
         {int64_t{0}, int64_t{1}, int64_t{7}, int64_t{768}, int64_t{50257}, beyond_32_bits}) {
      for (const int width : {1, 4, 8}) {
        const RowWalk walk = row_walk(rows, columns, width);
        EXPECT_EQ(refusal_of(walk.shape), "") << rows << " x " << columns << " by " << width;
        EXPECT_EQ(walk.shape.threads, row_walk_threads);
        EXPECT_LE(lanes_of(walk), row_walk_threads);
        EXPECT_LE(walk.shape.blocks(), 1 << 17);
      }
    }
  }
}

TEST(RowWalkShape, HasBlocksForAllElements) {
  const RowWalk walk = flat_walk(beyond_32_bits, 8);
  EXPECT_EQ(walk.shape.x, 1);
  EXPECT_EQ(walk.shape.y, 65535);  // the kernel goes on from there
  const RowWalk rows = row_walk(1000, 100000, 8);
  const int64_t at_once = row_walk_threads / lanes_of(rows);
  EXPECT_GE(rows.shape.x * at_once, 1000);
  EXPECT_GE(rows.shape.y * lanes_of(rows) * row_walk_unroll * 8, 100000);
}

}  // namespace
}  // namespace switchyard::cuda
