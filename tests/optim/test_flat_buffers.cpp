#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "core/error.h"
#include "optim/flat_buffers.h"
#include "tests/parallel/random_parameters.h"

namespace switchyard {
namespace {

using testing::ElementsAre;

FlatBuffers::Options options_of(int dp, int dp_rank, int64_t bucket_elements = 200) {
  return {.dp = dp, .dp_rank = dp_rank, .bucket_elements = bucket_elements};
}

int64_t offset_of(const Tensor& part, const Tensor& flat) {
  return part.as<float>() - flat.as<float>();
}

Parameter matrix(const std::string& name, int layer, int64_t rows, int64_t columns) {
  Parameter p;
  p.name = name;
  p.global = {rows, columns};
  p.box = Box::whole(p.global);
  p.local = p.global;
  p.layer = layer;
  return p;
}

TEST(FlatBuffers, LaysLayersOutInTheOrderOfBackward) {
  std::vector<Parameter> list = {matrix("first.a", 0, 3, 5), matrix("first.b", 0, 2, 7),
                                 matrix("last.a", 1, 4, 4)};
  const FlatBuffers buffers(list, options_of(1, 0));
  EXPECT_EQ(offset_of(list[2].weight, buffers.weights()), 0);
  EXPECT_EQ(offset_of(list[0].weight, buffers.weights()), 16);
  EXPECT_EQ(offset_of(list[1].weight, buffers.weights()), 32);  // other columns: aligned
  EXPECT_EQ(offset_of(list[1].gradient, buffers.gradients()), 32);
  EXPECT_THAT(buffers.buckets().front().parameters, ElementsAre(2, 0, 1));
}

TEST(FlatBuffers, PutsMatricesOfEqualColumnsTogetherWithoutGaps) {
  std::vector<Parameter> list = {matrix("o", 0, 1, 3), matrix("q", 0, 3, 5), matrix("k", 0, 2, 5),
                                 matrix("v", 0, 2, 5), matrix("other layer", 1, 2, 5)};
  const FlatBuffers buffers(list, options_of(1, 0));
  EXPECT_EQ(offset_of(list[1].weight, buffers.weights()) % 16, 0);
  EXPECT_EQ(list[2].weight.as<float>() - list[1].weight.as<float>(), 15);
  EXPECT_EQ(list[3].weight.as<float>() - list[2].weight.as<float>(), 10);
  EXPECT_EQ(list[3].gradient.as<float>() - list[1].gradient.as<float>(), 25);
}

TEST(FlatBuffers, ClosesABucketWhenItIsFullAndNeverInsideAFusedGroup) {
  std::vector<Parameter> list;
  for (int layer = 0; layer < 4; ++layer) list.push_back(matrix("m", layer, 10, 10));
  list.push_back(matrix("q", 9, 10, 10));
  list.push_back(matrix("k", 9, 10, 10));
  const FlatBuffers buffers(list, options_of(2, 0, 100));
  ASSERT_EQ(buffers.buckets().size(), 5u);
  EXPECT_THAT(buffers.buckets()[0].parameters, ElementsAre(4, 5));
  EXPECT_THAT(buffers.buckets()[1].parameters, ElementsAre(3));
  EXPECT_EQ(buffers.buckets()[0].end, 224);
  EXPECT_EQ(buffers.buckets()[1].begin, 224);
}

// Of the layers' mix of both, two stretches are left.
TEST(FlatBuffers, PutsWhatDecaysBeforeWhatDoesNot) {
  std::vector<Parameter> list;
  for (int layer = 0; layer < 3; ++layer) {
    for (const bool decay : {true, false, true}) {
      list.push_back(matrix("m", layer, 4, layer + 3));
      list.back().decay = decay;
    }
  }
  const FlatBuffers buffers(list, options_of(1, 0, 50));
  std::vector<bool> decays;
  std::vector<int> order;
  for (const Bucket& bucket : buffers.buckets()) {
    for (const int i : bucket.parameters) {
      order.push_back(i);
      decays.push_back(list[static_cast<size_t>(i)].decay);
    }
  }
  EXPECT_THAT(order, ElementsAre(6, 8, 3, 5, 0, 2, 7, 4, 1));
  EXPECT_TRUE(std::is_sorted(decays.rbegin(), decays.rend()));
}

TEST(FlatBuffers, KeepsTiedAndReplicatedParametersInBucketsOfTheirOwn) {
  auto list = random_parameters({.layers = 4, .tp = 2, .replicas = 2});
  const FlatBuffers buffers(list, options_of(3, 1, 64));
  std::vector<BucketKind> kinds;
  for (const Bucket& bucket : buffers.buckets()) {
    kinds.push_back(bucket.kind);
    for (const int i : bucket.parameters) {
      const Parameter& p = list[static_cast<size_t>(i)];
      EXPECT_EQ(p.tied, bucket.kind == BucketKind::tied);
      EXPECT_EQ(p.replicas == 2 && !p.fused, bucket.kind == BucketKind::replicated);
    }
  }
  EXPECT_EQ(kinds.back(), BucketKind::replicated);
  kinds.erase(std::unique(kinds.begin(), kinds.end()), kinds.end());
  EXPECT_THAT(kinds, ElementsAre(BucketKind::weights, BucketKind::tied, BucketKind::replicated));
}

// Numbers every element of every local storage, and finds each exactly once over all dp ranks.
TEST(FlatBuffers, ShardsPartitionEveryParameterExactlyOnce) {
  for (uint32_t seed = 0; seed < 60; ++seed) {
    const int dp = 1 + static_cast<int>(seed % 5);
    const int64_t bucket_elements = seed % 3 == 0 ? 1 << 22 : 50 * (seed % 7 + 1);
    auto list = random_parameters({.layers = static_cast<int>(seed % 4), .seed = seed});
    std::vector<std::vector<int>> times(list.size());
    for (size_t i = 0; i < list.size(); ++i) {
      times[i].assign(static_cast<size_t>(list[i].local.elements()), 0);
    }
    for (int r = 0; r < dp; ++r) {
      const FlatBuffers buffers(list, options_of(dp, r, bucket_elements));
      int64_t end = 0;
      for (const OwnedSegment& s : buffers.owned()) {
        EXPECT_GE(s.shard_begin, end);
        end = s.shard_begin + s.elements;
        const auto i = static_cast<size_t>(s.parameter);
        EXPECT_EQ(offset_of(list[i].weight, buffers.weights()) + s.parameter_begin, s.flat_begin);
        for (int64_t e = 0; e < s.elements; ++e) {
          ++times[i].at(static_cast<size_t>(s.parameter_begin + e));
        }
      }
      EXPECT_LE(end, buffers.shard_elements());
      EXPECT_EQ(buffers.shard_elements() * dp, buffers.weights().elements());
    }
    for (const auto& parameter : times) EXPECT_THAT(parameter, testing::Each(1));
  }
}

TEST(FlatBuffers, BucketsCoverTheBuffersInEqualAlignedParts) {
  for (int dp = 1; dp <= 4; ++dp) {
    auto list = random_parameters({.seed = 5});
    const FlatBuffers buffers(list, options_of(dp, dp - 1));
    int64_t end = 0;
    for (const Bucket& bucket : buffers.buckets()) {
      EXPECT_EQ(bucket.begin, end);
      EXPECT_EQ((bucket.end - bucket.begin) % (16 * dp), 0);
      const Tensor own = buffers.own_part(buffers.weights(), bucket);
      EXPECT_EQ(own.elements(), bucket.shard_elements(dp));
      EXPECT_EQ(offset_of(own, buffers.weights()),
                bucket.begin + (dp - 1) * bucket.shard_elements(dp));
      end = bucket.end;
    }
    EXPECT_EQ(end, buffers.weights().elements());
    EXPECT_EQ(FlatBuffers::bytes_needed(list, buffers.options()), 2 * 4 * end);
  }
}

// Writes each piece into a global tensor, as a checkpoint does.
void write_pieces(std::vector<float>& global, const Shape& shape,
                  const std::vector<Piece>& pieces) {
  const int64_t row_length = shape.rank() == 2 ? shape[1] : 1;
  for (const Piece& piece : pieces) {
    const auto* from = static_cast<const float*>(piece.data);
    const int64_t columns = shape.rank() == 2 ? piece.box.extent[1] : 1;
    const int64_t first_column = shape.rank() == 2 ? piece.box.offset[1] : 0;
    for (int64_t r = 0; r < piece.box.extent[0]; ++r) {
      for (int64_t c = 0; c < columns; ++c) {
        float& element = global.at(
            static_cast<size_t>((piece.box.offset[0] + r) * row_length + first_column + c));
        EXPECT_EQ(element, 0.0f) << "stored twice";
        element = *from++;
      }
    }
  }
}

// Every tp and dp rank's pieces together make up the whole tensor, without rows that pad it.
TEST(FlatBuffers, PiecesReassembleTheGlobalTensor) {
  for (uint32_t seed = 0; seed < 24; ++seed) {
    const int tp = 1 + static_cast<int>(seed % 3);
    const int dp = 1 + static_cast<int>(seed / 3 % 4);
    std::vector<std::vector<float>> from_flat, from_shard;
    const int replicas = seed % 2 == 0 ? 1 : tp;
    const auto names = random_parameters({.tp = tp, .seed = seed, .replicas = replicas});
    for (const Parameter& p : names) {
      from_flat.emplace_back(static_cast<size_t>(p.global.elements()), 0.0f);
    }
    from_shard = from_flat;
    for (int rank = 0; rank < tp * dp; ++rank) {
      auto list =
          random_parameters({.tp = tp, .tp_rank = rank % tp, .seed = seed, .replicas = replicas});
      const FlatBuffers buffers(list, options_of(dp, rank / tp));
      Arena arena("shard", Arena::footprint({buffers.shard_elements()}, DType::f32));
      const Tensor shard = arena.allocate({buffers.shard_elements()}, DType::f32, "shard");
      for (size_t i = 0; i < list.size(); ++i) {
        const Parameter& p = list[i];
        // The element's global number, from 1; -1 in rows that pad.
        const int64_t columns = p.local.rank() == 2 ? p.local[1] : 1;
        for (int64_t e = 0; e < p.local.elements(); ++e) {
          p.weight.as<float>()[e] = e < p.box.extent.elements()
                                        ? static_cast<float>(p.box.offset[0] * columns + e + 1)
                                        : -1.0f;
        }
      }
      for (const OwnedSegment& s : buffers.owned()) {
        std::copy_n(buffers.weights().as<float>() + s.flat_begin, s.elements,
                    shard.as<float>() + s.shard_begin);
      }
      for (size_t i = 0; i < list.size(); ++i) {
        if (rank % tp % list[i].replicas != 0) continue;
        const int index = static_cast<int>(i);
        write_pieces(from_flat[i], list[i].global, buffers.flat_pieces(index, buffers.weights()));
        write_pieces(from_shard[i], list[i].global, buffers.shard_pieces(index, shard));
      }
    }
    for (size_t i = 0; i < names.size(); ++i) {
      for (size_t e = 0; e < from_flat[i].size(); ++e) {
        ASSERT_EQ(from_flat[i][e], static_cast<float>(e + 1)) << names[i].name;
        ASSERT_EQ(from_shard[i][e], static_cast<float>(e + 1)) << names[i].name;
      }
    }
  }
}

TEST(FlatBuffers, ARankWithPaddingAloneStoresNothing) {
  std::vector<Parameter> list = {matrix("embedding", 0, 8, 4)};
  list[0].box = {.offset = {8, 0}, .extent = {0, 4}};
  const FlatBuffers buffers(list, options_of(1, 0));
  EXPECT_EQ(list[0].weight.elements(), 32);
  EXPECT_TRUE(buffers.flat_pieces(0, buffers.weights()).empty());
}

TEST(FlatBuffers, HoldsBf16WeightsAndNoGradientsForEvaluation) {
  std::vector<Parameter> list = {matrix("m", 0, 3, 5)};
  const FlatBuffers buffers(list, {.dtype = DType::bf16, .gradients = false});
  EXPECT_EQ(list[0].weight.dtype, DType::bf16);
  EXPECT_FALSE(list[0].gradient);
  EXPECT_FALSE(buffers.gradients());
  EXPECT_EQ(FlatBuffers::bytes_needed(list, buffers.options()), 64);
}

TEST(FlatBuffers, RefusesWhatDoesNotFit) {
  const auto fails_with = [](Parameter p) {
    std::vector<Parameter> list = {std::move(p)};
    EXPECT_THROW(FlatBuffers(list, options_of(1, 0)), Error);
  };
  Parameter p = matrix("m", 0, 3, 5);
  p.local = {2, 5};
  fails_with(p);
  p.local = {3, 6};
  fails_with(p);
  p = matrix("m", 0, 3, 5);
  p.tied = true;
  p.replicas = 2;
  fails_with(p);
  p = matrix("m", 0, 3, 5);
  p.local = {3, 5, 1};
  fails_with(p);
  std::vector<Parameter> list = {matrix("m", 0, 3, 5)};
  EXPECT_THROW(FlatBuffers(list, options_of(2, 2)), Error);
}

}  // namespace
}  // namespace switchyard
