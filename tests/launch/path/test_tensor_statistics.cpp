// Norms, extremes and what is not finite of stored tensors, read part by part.
#include "launch/path/tensor_statistics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <omp.h>

#include <bit>
#include <cmath>
#include <cstring>

#include "parallel/checkpoint/index.h"
#include "tests/parallel/checkpoint/checkpoint_cases.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

using test::Cut;
using test::TensorCase;

constexpr float nan = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();

// In the widest numbers of the compiler, element by element.
struct Reference {
  int64_t nans = 0, infinities = 0;
  long double squares = 0;
  double min = infinity, max = -infinity;
};

template <class T>
Reference reference_as(const std::vector<std::byte>& bytes) {
  Reference all;
  for (size_t at = 0; at < bytes.size(); at += sizeof(T)) {
    T value;
    std::memcpy(&value, &bytes[at], sizeof(T));
    double x;
    if constexpr (std::is_arithmetic_v<T>) {
      x = static_cast<double>(value);
    } else {
      x = static_cast<float>(value);
    }
    if (std::isnan(x)) {
      ++all.nans;
    } else if (std::isinf(x)) {
      ++all.infinities;
    } else {
      all.squares += static_cast<long double>(x) * x;
      all.min = std::min(all.min, x);
      all.max = std::max(all.max, x);
    }
  }
  return all;
}

Reference reference(DType dtype, const std::vector<std::byte>& bytes) {
  switch (dtype) {
    case DType::f32:
      return reference_as<float>(bytes);
    case DType::bf16:
      return reference_as<bf16>(bytes);
    case DType::f16:
      return reference_as<f16>(bytes);
    case DType::f64:
      return reference_as<double>(bytes);
    case DType::i32:
      return reference_as<int32_t>(bytes);
    case DType::i64:
      return reference_as<int64_t>(bytes);
    case DType::u8:
      return reference_as<uint8_t>(bytes);
    case DType::u16:
      return reference_as<uint16_t>(bytes);
  }
  return {};
}

TEST(TensorParts, CoverEachElementOnceInOrder) {
  for (const Shape& shape : {Shape{7}, Shape{5, 3}, Shape{2, 3, 4}, Shape{2, 1, 3, 5}}) {
    for (int64_t part_bytes = 1; part_bytes <= 4 * shape.elements() + 8; ++part_bytes) {
      int64_t next = 0;
      for_parts({"/w", shape, DType::f32}, part_bytes,
                [&](const Box& part, int64_t begin, int64_t bytes) {
                  EXPECT_LE(bytes, std::max<int64_t>(4, part_bytes));
                  EXPECT_EQ(begin, next);
                  EXPECT_EQ(bytes, 4 * part.extent.elements());
                  int64_t flat = 0;
                  for (int i = 0; i < shape.rank(); ++i) flat = flat * shape[i] + part.offset[i];
                  EXPECT_EQ(flat, begin);
                  next += part.extent.elements();
                });
      ASSERT_EQ(next, shape.elements()) << shape.to_string() << " by " << part_bytes;
    }
  }
}

TEST(TensorStatistics, CountsWhatIsNotFinite) {
  std::vector<float> values(37, 2);
  values[3] = nan;
  values[19] = -nan;
  values[36] = infinity;
  values[0] = -infinity;
  values[8] = -5;
  values[35] = 7;
  const auto found = statistics_of(DType::f32, values.data(), 37);
  EXPECT_EQ(found.nans, 2);
  EXPECT_EQ(found.infinities, 2);
  EXPECT_EQ(found.min, -5);
  EXPECT_EQ(found.max, 7);
  EXPECT_EQ(found.squares, 31 * 4 + 25 + 49);
  EXPECT_EQ(found.norm(), std::sqrt(198.0));
  EXPECT_TRUE(found.has_finite());
  EXPECT_FALSE(statistics_of(DType::f32, &values[3], 1).has_finite());
  EXPECT_FALSE(statistics_of(DType::f32, values.data(), 0).has_finite());
}

class Measure : public testing::Test {
 protected:
  void save() {
    test::save(folder_.path(), 3, cases_, 3);
    for (const TensorCase& tensor : cases_) names_.push_back(tensor.name);
  }
  std::filesystem::path step() const { return checkpoint_folder(folder_.path(), 3); }

  const test::TemporaryFolder folder_;
  std::vector<TensorCase> cases_ = {
      {"/model/rows", {300, 70}, DType::f32, Cut::rows, {"/model/again"}},
      {"/model/columns", {130, 60}, DType::bf16, Cut::columns, {}},
      {"/model/flat", {77, 50}, DType::f16, Cut::flat, {}},
      {"/model/line", {5000}, DType::f32, Cut::flat, {}},
      {"/model/long", {3, 4000}, DType::f32, Cut::columns_then_flat, {}},
      {"/average/sum", {40, 30}, DType::f64, Cut::columns, {}},
      {"/a/i32", {500}, DType::i32, Cut::rows, {}},
      {"/a/i64", {500}, DType::i64, Cut::first_rank, {}},
      {"/a/u8", {500}, DType::u8, Cut::rows, {}},
      {"/a/u16", {500}, DType::u16, Cut::rows, {}}};
  std::vector<std::string> names_;
};

TEST_F(Measure, AgreesWithTheElements) {
  save();
  const CheckpointReader reader(step());
  for (const int64_t part_bytes : {int64_t{52}, int64_t{1000}, usual_part_bytes}) {
    int64_t bytes = 0;
    const auto found = measure(
        reader, names_, [&](int64_t part) { bytes += part; }, part_bytes);
    int64_t nans = 0, all_bytes = 0;
    for (size_t i = 0; i < cases_.size(); ++i) {
      const TensorCase& tensor = cases_[i];
      const auto elements = test::expected_bytes(tensor, Box::whole(tensor.shape), 3);
      const Reference expected = reference(tensor.dtype, elements);
      EXPECT_EQ(found[i].elements, tensor.shape.elements());
      EXPECT_EQ(found[i].nans, expected.nans) << tensor.name;
      EXPECT_EQ(found[i].infinities, expected.infinities) << tensor.name;
      EXPECT_EQ(found[i].min, expected.min) << tensor.name;
      EXPECT_EQ(found[i].max, expected.max) << tensor.name;
      if (tensor.dtype != DType::f64) {  // arbitrary bits have squares above any f64
        const auto squares = static_cast<double>(expected.squares);
        EXPECT_NEAR(found[i].squares, squares, 1e-12 * squares) << tensor.name;
      }
      nans += expected.nans;
      all_bytes += static_cast<int64_t>(elements.size());
    }
    EXPECT_GT(nans, 0);
    EXPECT_EQ(bytes, all_bytes);
  }
}

TEST_F(Measure, HasTheSameBitsOnAnyNumberOfThreads) {
  save();
  const CheckpointReader reader(step());
  const int threads = omp_get_max_threads();
  std::vector<std::vector<TensorStatistics>> found;
  for (const int count : {1, 2, 5}) {
    omp_set_num_threads(count);
    found.push_back(measure(reader, names_, {}, 4096));
  }
  omp_set_num_threads(threads);
  for (size_t i = 0; i < names_.size(); ++i) {
    for (const auto& other : found) {
      EXPECT_EQ(std::bit_cast<uint64_t>(other[i].squares),
                std::bit_cast<uint64_t>(found[0][i].squares));
    }
  }
}

TEST_F(Measure, NamesADamagedFile) {
  save();
  for (const std::string name : {"/model/columns", "/model/long"}) {
    const CheckpointReader reader(step());
    for (const IndexedTensor& entry : reader.index().tensors) {
      if (entry.tensor.name != name) continue;
      const StoredPiece& piece = entry.pieces.back();
      const auto rank = reader.index().shards[static_cast<size_t>(piece.shard)].rank;
      const auto file = fmt::format("rank-{:05}.h5", rank);
      const auto path = step() / "shards" / file;
      test::flip_byte(path, piece.address + 3);
      for (const int64_t part_bytes : {int64_t{52}, usual_part_bytes}) {
        EXPECT_THAT(test::error_of([&] { measure(reader, names_, {}, part_bytes); }),
                    testing::AllOf(testing::HasSubstr(file), testing::HasSubstr(piece.dataset),
                                   testing::HasSubstr("damaged")));
      }
      test::flip_byte(path, piece.address + 3);
    }
    EXPECT_NO_THROW(measure(reader, names_));
  }
}

TEST_F(Measure, RefusesUnknownNames) {
  save();
  EXPECT_THAT(test::error_of([&] { measure(CheckpointReader(step()), {"/model/none"}); }),
              testing::HasSubstr("/model/none is not in"));
}

}  // namespace
}  // namespace switchyard
