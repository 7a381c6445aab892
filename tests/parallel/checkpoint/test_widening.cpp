// Tensors of f32 that are read from bf16 and f16.
#include <gmock/gmock.h>

#include <algorithm>
#include <limits>

#include "core/half.h"
#include "parallel/checkpoint/widening.h"
#include "tests/parallel/checkpoint/checkpoint_cases.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

using namespace test;
using testing::HasSubstr;

constexpr int64_t rows = 37, columns = 11;

// Subnormal numbers and infinities of both among them.
float value_at(int64_t i) {
  if (i == 5) return std::numeric_limits<float>::infinity();
  if (i == 6) return 0x1p-24F;
  return static_cast<float>(i - 200) / 32;
}

template <class T>
std::vector<T> stored_values() {
  std::vector<T> values;
  values.reserve(rows * columns);
  for (int64_t i = 0; i < rows * columns; ++i) values.push_back(T(value_at(i)));
  return values;
}

class Widening : public testing::Test {
 protected:
  Widening() {
    CheckpointStreamWriter writer(folder_.path(), info_of_step(1));
    writer.add({"/a", {rows, columns}, DType::bf16}, stored_values<bf16>().data());
    writer.add({"/b", {rows, columns}, DType::f16}, stored_values<f16>().data());
    writer.add({"/c", {rows, columns}, DType::f32}, stored_values<float>().data());
    writer.add({"/d", {rows, columns}, DType::f64}, stored_values<double>().data());
    writer.finish();
  }
  // Reads a box of the tensors, each as f32.
  std::vector<int32_t> read(const std::vector<std::string>& names, const Box& box, ReadAs as) {
    out_.assign(names.size(), std::vector<float>(static_cast<size_t>(box.extent.elements())));
    std::vector<ShardedTensor> tensors;
    for (size_t i = 0; i < names.size(); ++i) {
      tensors.push_back(
          {names[i], {rows, columns}, DType::f32, {{box, out_[i].data()}}, {}, Device::cpu});
    }
    return CheckpointReader(checkpoint_folder(folder_.path(), 1)).read_and_check(tensors, {}, as);
  }

  TemporaryFolder folder_;
  std::vector<std::vector<float>> out_;
};

TEST_F(Widening, EveryValueIsTheStoredOneAndWasChecked) {
  const auto checked = read({"/a", "/b", "/c"}, Box::whole({rows, columns}), ReadAs::f32);
  for (int64_t i = 0; i < rows * columns; ++i) {
    const auto at = static_cast<size_t>(i);
    ASSERT_EQ(out_[0][at], static_cast<float>(bf16(value_at(i)))) << i;
    ASSERT_EQ(out_[1][at], static_cast<float>(f16(value_at(i)))) << i;
    ASSERT_EQ(out_[2][at], value_at(i)) << i;
  }
  EXPECT_THAT(checked, testing::ElementsAre(1, 1, 1, 0));
}

TEST_F(Widening, ABoxIsReadInParts) {
  const auto all = stored_values<bf16>();
  const Box box{{3, 2}, {20, 7}};
  int parts = 0;
  std::vector<float> out(20 * 7);
  WideningReads(3 * 7 * 2).read(box, DType::bf16, out.data(), [&](const Box& part, void* to) {
    ++parts;
    EXPECT_LE(part.extent[0], 3);
    auto* next = static_cast<bf16*>(to);
    for (int64_t r = 0; r < part.extent[0]; ++r) {
      for (int64_t c = 0; c < part.extent[1]; ++c) {
        *next++ = all[static_cast<size_t>((part.offset[0] + r) * columns + part.offset[1] + c)];
      }
    }
  });
  EXPECT_EQ(parts, 7);
  read({"/a"}, box, ReadAs::f32);
  EXPECT_EQ(out, out_[0]);
}

TEST_F(Widening, OthersAreRefused) {
  const Box whole = Box::whole({rows, columns});
  EXPECT_THAT(error_of([&] { read({"/a"}, whole, ReadAs::stored); }),
              HasSubstr("stored as [37, 11] of bf16"));
  EXPECT_THAT(error_of([&] { read({"/d"}, whole, ReadAs::f32); }), HasSubstr("of f64"));
}

TEST_F(Widening, DamageIsSeenOnTheWay) {
  const auto shard = checkpoint_folder(folder_.path(), 1) / "shards" / "rank-00000.h5";
  const auto values = stored_values<bf16>();
  const auto* bytes = reinterpret_cast<const std::byte*>(values.data());
  const int64_t at = find_bytes(shard, {bytes + 40, bytes + 120});
  ASSERT_GE(at, 0);
  flip_byte(shard, at);
  EXPECT_THAT(error_of([&] {
                read({"/a"}, Box::whole({rows, columns}), ReadAs::f32);
              }),
              HasSubstr("/a is damaged"));
}

}  // namespace
}  // namespace switchyard
