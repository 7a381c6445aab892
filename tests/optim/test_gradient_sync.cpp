#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"
#include "optim/gradient_sync.h"
#include "parallel/comm/communicators.h"
#include "tests/parallel/comm/recording_communicator.h"
#include "tests/parallel/random_parameters.h"

namespace switchyard {
namespace {

ThreadRanksOptions delayed(uint64_t seed) {
  ThreadRanksOptions options;
  options.delay_and_poison = true;
  options.seed = seed;
  return options;
}

// What one rank of the mesh has at hand.
struct Rank {
  Rank(const Layout& layout, Communicator& world, uint32_t seed, int replicas = 1)
      : mesh(make_mesh(layout, world)),
        list(parameters_of(mesh, seed, replicas)),
        buffers(list, {.dp = layout.dp, .dp_rank = mesh.place.dp, .bucket_elements = 150}),
        sync(buffers, mesh, {stream, scratch}) {}

  // The tied matrix is on the first and on the last stage alone.
  static std::vector<Parameter> parameters_of(const Mesh& mesh, uint32_t seed, int replicas) {
    auto parameters = random_parameters(
        {.tp = mesh.layout.tp, .tp_rank = mesh.place.tp, .seed = seed, .replicas = replicas});
    if (!mesh.first_stage() && !mesh.last_stage()) parameters.erase(parameters.begin());
    return parameters;
  }

  Mesh mesh;
  Stream stream;
  Scratch scratch;
  std::vector<Parameter> list;
  FlatBuffers buffers;
  GradientSync sync;
};

// The gradient that a rank computes for an element of a parameter: small whole numbers, whose sums
// are exact. Different on every rank.
float gradient_of(const Coordinates& place, const Parameter& p, int64_t element, int step) {
  const int64_t row_length = p.local.rank() == 2 ? p.local[1] : 1;
  const int64_t global = p.box.offset[0] * row_length + element;
  const int64_t rank = place.tp + 3 * place.dp + 17 * place.pp + 5 * step;
  return static_cast<float>((global * 7 + rank * 31 + static_cast<int64_t>(p.name.size())) % 1009);
}

float expected_sum(const Layout& layout, const Coordinates& place, const Parameter& p,
                   int64_t element, int step) {
  float sum = 0;
  for (int dp = 0; dp < layout.dp; ++dp) {
    for (int tp = 0; tp < layout.tp; ++tp) {
      for (int pp = 0; pp < layout.pp; ++pp) {
        const bool here = tp / p.replicas == place.tp / p.replicas &&
                          (pp == place.pp || (p.tied && (pp == 0 || pp == layout.pp - 1)));
        if (here) sum += gradient_of({.tp = tp, .dp = dp, .pp = pp}, p, element, step);
      }
    }
  }
  return sum;
}

void fill_gradients(Rank& rank, int step) {
  // Backward's order, with the tied matrix first on the last stage.
  std::vector<int> order(rank.list.size());
  std::iota(order.begin(), order.end(), 0);
  std::reverse(order.begin(), order.end());
  if (rank.mesh.last_stage()) std::rotate(order.begin(), order.end() - 1, order.end());
  for (const int i : order) {
    Parameter& p = rank.list[static_cast<size_t>(i)];
    for (int64_t e = 0; e < p.local.elements(); ++e) {
      p.gradient.as<float>()[e] += gradient_of(rank.mesh.place, p, e, step);
    }
    rank.sync.parameter_ready(i);
  }
}

void expect_sums(const Rank& rank, int step) {
  for (const OwnedSegment& s : rank.buffers.owned()) {
    const Parameter& p = rank.list[static_cast<size_t>(s.parameter)];
    for (int64_t e = 0; e < s.elements; ++e) {
      ASSERT_EQ(rank.buffers.gradients().as<float>()[s.flat_begin + e],
                expected_sum(rank.mesh.layout, rank.mesh.place, p, s.parameter_begin + e, step))
          << p.name << " element " << s.parameter_begin + e;
    }
  }
}

void expect_sums_of_two_steps(const Layout& layout, int replicas) {
  SCOPED_TRACE(layout.to_string() + ", replicas " + std::to_string(replicas));
  const auto seed = static_cast<uint32_t>(layout.dp * 100 + layout.tp * 10 + layout.pp);
  run_thread_ranks(layout.ranks(), delayed(seed), [&](Communicator& world) {
    Rank rank(layout, world, seed, replicas);
    for (int step = 1; step <= 2; ++step) {
      rank.sync.begin_step();
      fill_gradients(rank, step);
      rank.sync.finish();
      expect_sums(rank, step);
    }
  });
}

TEST(GradientSync, SumsOverEveryRankThatSharesAParameter) {
  for (int dp = 1; dp <= 4; ++dp) {
    for (int tp = 1; tp <= 2; ++tp) {
      for (int pp = 1; pp <= 3; ++pp) {
        expect_sums_of_two_steps({.tp = tp, .dp = dp, .pp = pp}, 1);
      }
    }
  }
}

TEST(GradientSync, SumsOverReplicasWithinTp) {
  for (int dp = 1; dp <= 3; ++dp) {
    expect_sums_of_two_steps({.tp = 2, .dp = dp, .pp = 2}, 2);
    expect_sums_of_two_steps({.tp = 4, .dp = dp}, 2);
    expect_sums_of_two_steps({.tp = 4, .dp = dp}, 4);
  }
}

// With gradients whose sums do round, ranks still hold the same bits of what they share.
TEST(GradientSync, ReplicasHoldTheSameBits) {
  const Layout layout{.tp = 4, .dp = 2};
  std::vector<std::vector<float>> sums(static_cast<size_t>(layout.ranks()));
  run_thread_ranks(layout.ranks(), delayed(3), [&](Communicator& world) {
    Rank rank(layout, world, 3, 2);
    rank.sync.begin_step();
    for (size_t i = rank.list.size(); i-- > 0;) {
      for (float& g : rank.list[i].gradient.span<float>()) {
        g = std::sin(static_cast<float>(&g - rank.list[i].gradient.as<float>()) +
                     1.7f * static_cast<float>(world.rank()));
      }
      rank.sync.parameter_ready(static_cast<int>(i));
    }
    rank.sync.finish();
    auto& own = sums[static_cast<size_t>(world.rank())];
    for (const OwnedSegment& s : rank.buffers.owned()) {
      const Parameter& p = rank.list[static_cast<size_t>(s.parameter)];
      if (!p.fused || p.replicas == 1) continue;
      const float* first = rank.buffers.gradients().as<float>() + s.flat_begin;
      own.insert(own.end(), first, first + s.elements);
    }
  });
  EXPECT_FALSE(sums[0].empty());
  for (size_t rank = 0; rank < sums.size(); rank += 2) EXPECT_EQ(sums[rank], sums[rank + 1]);
  EXPECT_NE(sums[0], sums[2]);
}

TEST(GradientSync, TiedCopiesHoldTheSameBits) {
  const Layout layout{.tp = 2, .dp = 2, .pp = 3};
  std::vector<std::vector<float>> sums(static_cast<size_t>(layout.ranks()));
  run_thread_ranks(layout.ranks(), delayed(3), [&](Communicator& world) {
    Rank rank(layout, world, 3);
    rank.sync.begin_step();
    for (size_t i = rank.list.size(); i-- > 0;) {
      for (float& g : rank.list[i].gradient.span<float>()) {
        g = std::sin(static_cast<float>(&g - rank.list[i].gradient.as<float>()) +
                     1.7f * static_cast<float>(world.rank()));
      }
      rank.sync.parameter_ready(static_cast<int>(i));
    }
    rank.sync.finish();
    for (const Bucket& bucket : rank.buffers.buckets()) {
      if (bucket.kind != BucketKind::tied) continue;
      const Tensor own = rank.buffers.own_part(rank.buffers.gradients(), bucket);
      sums[static_cast<size_t>(world.rank())].assign(own.as<float>(),
                                                     own.as<float>() + own.elements());
    }
  });
  for (int rank = 0; rank < layout.tp * layout.dp; ++rank) {
    const auto first = static_cast<size_t>(rank);
    const auto last = first + static_cast<size_t>(layout.tp * layout.dp * (layout.pp - 1));
    EXPECT_FALSE(sums[first].empty());
    EXPECT_EQ(sums[first], sums[last]);
  }
}

TEST(GradientSync, GathersEveryOwnersWeights) {
  for (int dp = 1; dp <= 4; ++dp) {
    const Layout layout{.dp = dp};
    run_thread_ranks(dp, delayed(static_cast<uint64_t>(dp)), [&](Communicator& world) {
      Rank rank(layout, world, 11);
      const auto weights = rank.buffers.weights().span<float>();
      std::fill(weights.begin(), weights.end(), -1.0f);
      for (const Bucket& bucket : rank.buffers.buckets()) {
        for (float& w : rank.buffers.own_part(rank.buffers.weights(), bucket).span<float>()) {
          w = static_cast<float>(&w - weights.data());
        }
      }
      rank.sync.gather_weights();
      for (size_t e = 0; e < weights.size(); ++e) ASSERT_EQ(weights[e], static_cast<float>(e));
    });
  }
}

// Weights arrive parameter by parameter, in forward's order; what was not asked for is not there
// yet.
TEST(GradientSync, WeightsMayBeGatheredBesideForward) {
  for (const int dp : {1, 2, 3}) {
    run_thread_ranks(dp, delayed(5), [&](Communicator& world) {
      Rank rank({.dp = dp}, world, 6);
      const auto weights = rank.buffers.weights().span<float>();
      for (int step = 1; step <= 2; ++step) {
        const auto value = [&](size_t e) {
          return static_cast<float>(e * 3) + static_cast<float>(step);
        };
        for (const Bucket& bucket : rank.buffers.buckets()) {
          for (float& w : rank.buffers.own_part(rank.buffers.weights(), bucket).span<float>()) {
            w = value(static_cast<size_t>(&w - weights.data()));
          }
        }
        rank.sync.start_gathering_weights();
        EXPECT_THROW(rank.sync.start_gathering_weights(), Error);
        int absent = 0;
        for (size_t i = 0; i < rank.list.size(); ++i) {
          const Tensor& weight = rank.list[i].weight;
          const auto* begin = weight.as<float>();
          absent += std::isnan(std::accumulate(begin, begin + weight.elements(), 0.0f)) ? 1 : 0;
          rank.sync.weights_needed(static_cast<int>(i));
          for (int64_t e = 0; e < weight.elements(); ++e) {
            ASSERT_EQ(begin[e], value(static_cast<size_t>(begin + e - weights.data())))
                << rank.list[i].name;
          }
        }
        EXPECT_GE(absent, dp > 1 ? 2 : 0);
        rank.sync.wait_for_weights();
        for (size_t e = 0; e < weights.size(); ++e) ASSERT_EQ(weights[e], value(e));
      }
      EXPECT_THROW(rank.sync.weights_needed(static_cast<int>(rank.list.size())), Error);
    });
  }
}

// Replicated buckets, which tp sums first, alone wait for finish().
TEST(GradientSync, StartsABucketAsSoonAsItsLastParameterIsReady) {
  run_thread_ranks(2, {}, [](Communicator& world) {
    Rank rank({.tp = 2}, world, 2);
    RecordingCommunicator::Counts counts;
    rank.mesh.dp = std::make_unique<RecordingCommunicator>(std::move(rank.mesh.dp), counts);
    rank.sync.begin_step();
    int complete = 0;
    int replicated = 0;
    for (const Bucket& bucket : rank.buffers.buckets()) {
      for (const int i : bucket.parameters) {
        EXPECT_EQ(counts.reduce_scatters, complete - replicated);
        rank.sync.parameter_ready(i);
      }
      ++complete;
      replicated += bucket.kind == BucketKind::replicated ? 1 : 0;
      EXPECT_EQ(counts.reduce_scatters, complete - replicated);
    }
    EXPECT_GT(complete, 3);
    EXPECT_GT(replicated, 0);
    rank.sync.finish();
    EXPECT_EQ(counts.reduce_scatters, complete);
  });
}

TEST(GradientSync, BeginsEachStepWithZeros) {
  run_thread_ranks(1, {}, [](Communicator& world) {
    Rank rank({}, world, 1);
    rank.list[0].gradient.as<float>()[0] = 5.0f;
    rank.sync.begin_step();
    EXPECT_THAT(rank.buffers.gradients().span<float>(), testing::Each(0.0f));
  });
}

TEST(GradientSync, RefusesAParameterThatIsMissingOrReadyTwice) {
  run_thread_ranks(1, {}, [](Communicator& world) {
    Rank rank({}, world, 1);
    EXPECT_THROW(rank.sync.parameter_ready(0), Error);  // before begin_step
    rank.sync.begin_step();
    rank.sync.parameter_ready(1);
    EXPECT_THROW(rank.sync.parameter_ready(1), Error);
    EXPECT_THROW(rank.sync.parameter_ready(static_cast<int>(rank.list.size())), Error);
    try {
      rank.sync.finish();
      FAIL() << "the embedding was not ready";
    } catch (const Error& e) {
      EXPECT_THAT(e.what(), testing::HasSubstr("embedding.weight"));
    }
  });
}

// Backward's first microbatch writes the others; between parameters there is nothing but zeros.
TEST(GradientSync, AStepBeginsWithZerosWhereBackwardAdds) {
  const auto world = make_self_communicator();
  Rank rank({}, *world, 3);
  for (size_t i = 0; i < rank.list.size(); ++i) rank.list[i].gradient_overwritten = i % 3 == 1;
  GradientSync sync(rank.buffers, rank.mesh, {rank.stream, rank.scratch});
  for (const Parameter& p : rank.list) std::ranges::fill(p.gradient.span<float>(), 5.0f);
  sync.begin_step();
  for (const Parameter& p : rank.list) {
    const float expected = p.gradient_overwritten ? 5.0f : 0.0f;
    EXPECT_THAT(p.gradient.span<float>(), testing::Each(expected)) << p.name;
  }
}

TEST(GradientSync, RefusesATiedParameterOnAStageBetween) {
  const Layout layout{.pp = 3};
  EXPECT_THROW(run_thread_ranks(3, {},
                                [&](Communicator& world) {
                                  const Mesh mesh = make_mesh(layout, world);
                                  auto list = random_parameters({});
                                  FlatBuffers buffers(list, {});
                                  Stream stream;
                                  Scratch scratch;
                                  GradientSync(buffers, mesh, {stream, scratch});
                                }),
               Error);
}

}  // namespace
}  // namespace switchyard
