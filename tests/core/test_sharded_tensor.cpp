#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/sharded_tensor.h"

namespace switchyard {
namespace {

Box box(int64_t row, int64_t column, int64_t rows, int64_t columns) {
  return {.offset = {row, column}, .extent = {rows, columns}};
}

TEST(Box, WholeBeginsAtZero) {
  EXPECT_EQ(Box::whole({3, 5}), box(0, 0, 3, 5));
  EXPECT_EQ(Box::whole({7}), (Box{.offset = {0}, .extent = {7}}));
  EXPECT_FALSE(Box::whole({3, 5}).empty());
  EXPECT_TRUE(Box::whole({0, 5}).empty());
}

TEST(BoxesOfFlatRange, CutsAMatrixIntoAtMostThree) {
  const Box part = box(10, 20, 4, 5);
  using testing::ElementsAre;
  EXPECT_THAT(boxes_of_flat_range(part, 0, 20), ElementsAre(part));
  EXPECT_THAT(boxes_of_flat_range(part, 3, 17),
              ElementsAre(box(10, 23, 1, 2), box(11, 20, 2, 5), box(13, 20, 1, 2)));
  EXPECT_THAT(boxes_of_flat_range(part, 6, 9), ElementsAre(box(11, 21, 1, 3)));
  EXPECT_THAT(boxes_of_flat_range(part, 3, 7), ElementsAre(box(10, 23, 1, 2), box(11, 20, 1, 2)));
  EXPECT_THAT(boxes_of_flat_range(part, 7, 7), ElementsAre());
}

TEST(BoxesOfFlatRange, CutsAVectorIntoOne) {
  const Box part{.offset = {4}, .extent = {6}};
  EXPECT_THAT(boxes_of_flat_range(part, 1, 5),
              testing::ElementsAre(Box{.offset = {5}, .extent = {4}}));
}

// Counted row-major through the boxes, the elements are exactly those of the range, in order.
TEST(BoxesOfFlatRange, CoversEveryRangeInOrder) {
  for (const Box& part : {box(2, 3, 4, 3), box(0, 0, 1, 6), box(5, 1, 6, 1), box(1, 1, 3, 4)}) {
    const int64_t columns = part.extent[1];
    for (int64_t begin = 0; begin <= part.extent.elements(); ++begin) {
      for (int64_t end = begin; end <= part.extent.elements(); ++end) {
        const auto boxes = boxes_of_flat_range(part, begin, end);
        EXPECT_LE(boxes.size(), 3u);
        int64_t expected = begin;
        for (const Box& b : boxes) {
          EXPECT_FALSE(b.empty());
          for (int64_t r = 0; r < b.extent[0]; ++r) {
            for (int64_t c = 0; c < b.extent[1]; ++c) {
              const int64_t row = b.offset[0] + r - part.offset[0];
              const int64_t column = b.offset[1] + c - part.offset[1];
              ASSERT_EQ(row * columns + column, expected++);
            }
          }
        }
        ASSERT_EQ(expected, end);
      }
    }
  }
}

TEST(BoxesOfFlatRange, RefusesRangesOutside) {
  EXPECT_THROW(boxes_of_flat_range(box(0, 0, 2, 2), -1, 2), Error);
  EXPECT_THROW(boxes_of_flat_range(box(0, 0, 2, 2), 3, 2), Error);
  EXPECT_THROW(boxes_of_flat_range(box(0, 0, 2, 2), 0, 5), Error);
  EXPECT_THROW(boxes_of_flat_range(Box::whole({2, 2, 2}), 0, 1), Error);
}

}  // namespace
}  // namespace switchyard
