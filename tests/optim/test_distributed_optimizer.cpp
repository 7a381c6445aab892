#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <mutex>

#include "core/error.h"
#include "optim/distributed_optimizer.h"
#include "parallel/communicators.h"
#include "parallel/gradient_sync.h"
#include "tests/parallel/random_parameters.h"

namespace switchyard {
namespace {

using Options = DistributedOptimizer::Options;
// What a checkpoint would hold: the elements of each tensor by name.
using State = std::map<std::string, std::vector<float>>;

constexpr double rate = 1e-2;

ThreadRanksOptions delayed(uint64_t seed) {
  ThreadRanksOptions options;
  options.delay_and_poison = true;
  options.seed = seed;
  return options;
}

Options options_of(double clip_norm, float weight_decay = 0.1f) {
  return {.adamw = {.beta1 = 0.9f, .beta2 = 0.95f, .weight_decay = weight_decay},
          .clip_norm = clip_norm};
}

struct Setup {
  Layout layout = {};
  DType dtype = DType::f32;
  Options options = options_of(1.0);
  uint32_t seed = 4;
};

float initial_weight(size_t parameter, int64_t element) {
  return std::sin(static_cast<float>(parameter) * 3.0f + static_cast<float>(element));
}

// What one rank of the mesh has at hand; weights are set and adopted.
struct Rank {
  Rank(const Setup& setup, Communicator& world)
      : Rank(setup, world,
             random_parameters({.tp = setup.layout.tp,
                                .tp_rank = coordinates_of(setup.layout, world.rank()).tp,
                                .seed = setup.seed})) {}
  Rank(const Setup& setup, Communicator& world, std::vector<Parameter> parameters)
      : mesh(make_mesh(setup.layout, world)),
        list(on_stage(std::move(parameters), mesh)),
        buffers(list, {.dp = setup.layout.dp,
                       .dp_rank = mesh.place.dp,
                       .dtype = setup.dtype,
                       .bucket_elements = 150}),
        sync(buffers, mesh, {stream, scratch}),
        optimizer(buffers, mesh, setup.options, {stream, scratch}) {
    for (size_t i = 0; i < list.size(); ++i) {
      for (int64_t e = 0; e < list[i].box.extent.elements(); ++e) {
        set(list[i].weight, e, initial_weight(i, e));
      }
    }
    optimizer.adopt_weights();
  }

  static std::vector<Parameter> on_stage(std::vector<Parameter> parameters, const Mesh& mesh) {
    std::erase_if(parameters, [&](const Parameter& p) {
      return p.tied && !mesh.first_stage() && !mesh.last_stage();
    });
    for (Parameter& p : parameters) {
      if (p.tied && !mesh.first_stage()) p.stored = false;
    }
    return parameters;
  }

  static void set(const Tensor& tensor, int64_t element, float value) {
    if (tensor.dtype == DType::f32) {
      tensor.as<float>()[element] = value;
    } else {
      tensor.as<bf16>()[element] = bf16(value);
    }
  }

  // Gradients of whole numbers whose sum over the dp ranks is the same for 1, 2 and 3 of them.
  void compute_gradients(int step) {
    sync.begin_step();
    for (size_t i = list.size(); i-- > 0;) {
      for (int64_t e = 0; e < list[i].box.extent.elements(); ++e) {
        for (int m = mesh.place.dp; m < 6; m += mesh.layout.dp) {
          list[i].gradient.as<float>()[e] += static_cast<float>(
              (static_cast<int64_t>(i) * 5 + e * 7 + m * 11 + step * 13) % 19 - 9);
        }
      }
      sync.parameter_ready(static_cast<int>(i));
    }
    sync.finish();
  }

  DistributedOptimizer::Result step(int number, double gradient_scale = 0.125) {
    compute_gradients(number);
    const auto result = optimizer.step(number, rate, gradient_scale);
    sync.gather_weights();
    return result;
  }

  Mesh mesh;
  Stream stream;
  Scratch scratch;
  std::vector<Parameter> list;
  FlatBuffers buffers;
  GradientSync sync;
  DistributedOptimizer optimizer;
};

float element_of(const Piece& piece, DType dtype, int64_t e) {
  return dtype == DType::f32 ? static_cast<const float*>(piece.data)[e]
                             : static_cast<float>(static_cast<const bf16*>(piece.data)[e]);
}

void collect(State& state, const std::vector<ShardedTensor>& tensors) {
  for (const ShardedTensor& t : tensors) {
    auto& global = state[t.name];
    global.resize(static_cast<size_t>(t.global.elements()),
                  std::numeric_limits<float>::quiet_NaN());
    const bool matrix = t.global.rank() == 2;
    const int64_t row_length = matrix ? t.global[1] : 1;
    for (const Piece& piece : t.pieces) {
      const int64_t columns = matrix ? piece.box.extent[1] : 1;
      for (int64_t e = 0; e < piece.box.extent.elements(); ++e) {
        const int64_t row = piece.box.offset[0] + e / columns;
        const int64_t column = (matrix ? piece.box.offset[1] : 0) + e % columns;
        float& element = global.at(static_cast<size_t>(row * row_length + column));
        EXPECT_TRUE(std::isnan(element)) << t.name << " is stored twice";
        element = element_of(piece, t.dtype, e);
      }
    }
  }
}

State train(const Setup& setup, int steps, std::vector<double>* norms = nullptr) {
  State state;
  std::mutex mutex;
  run_thread_ranks(setup.layout.ranks(), delayed(setup.seed), [&](Communicator& world) {
    Rank rank(setup, world);
    for (int step = 1; step <= steps; ++step) {
      const auto result = rank.step(step);
      EXPECT_TRUE(result.finite);
      if (norms && world.rank() == 0) norms->push_back(result.gradient_norm);
    }
    // Every rank has gathered the same weights, which are the ones stored.
    const std::lock_guard lock(mutex);
    collect(state, rank.optimizer.state(StateUse::save));
  });
  return state;
}

TEST(DistributedOptimizer, AnyNumberOfDataParallelRanksGivesTheSameBits) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    std::vector<double> norms, other_norms;
    const State one = train({.layout = {.dp = 1}, .dtype = dtype}, 4, &norms);
    EXPECT_FALSE(one.empty());
    for (const auto& [name, values] : one) {
      EXPECT_THAT(values, testing::Each(testing::Truly([](float v) { return std::isfinite(v); })))
          << name;
    }
    for (const int dp : {2, 3}) {
      other_norms.clear();
      EXPECT_EQ(train({.layout = {.dp = dp}, .dtype = dtype}, 4, &other_norms), one) << "dp " << dp;
      EXPECT_EQ(norms, other_norms);
    }
  }
}

// AdamW written plainly in float64, with clipping of the whole gradient.
TEST(DistributedOptimizer, FollowsAPlainAdamW) {
  const Options options = options_of(1.0);
  run_thread_ranks(1, {}, [&](Communicator& world) {
    Rank rank({.options = options}, world);
    std::vector<std::vector<double>> w, m, v;
    for (size_t i = 0; i < rank.list.size(); ++i) {
      const auto n = static_cast<size_t>(rank.list[i].box.extent.elements());
      w.emplace_back(n);
      m.emplace_back(n, 0.0);
      v.emplace_back(n, 0.0);
      for (size_t e = 0; e < n; ++e) {
        w[i][e] = static_cast<double>(initial_weight(i, static_cast<int64_t>(e)));
      }
    }
    const double beta1 = options.adamw.beta1, beta2 = options.adamw.beta2;
    const double epsilon = options.adamw.epsilon, decay = options.adamw.weight_decay;
    for (int t = 1; t <= 5; ++t) {
      rank.compute_gradients(t);
      double squares = 0;
      for (size_t i = 0; i < w.size(); ++i) {
        for (size_t e = 0; e < w[i].size(); ++e) {
          squares += std::pow(static_cast<double>(rank.list[i].gradient.as<float>()[e]) / 8, 2);
        }
      }
      const auto result = rank.optimizer.step(t, rate, 0.125);
      const double norm = std::sqrt(squares);
      EXPECT_NEAR(result.gradient_norm, norm, 1e-9 * norm);
      EXPECT_NEAR(result.clip_factor, 1.0 / (norm + 1e-6), 1e-12);
      for (size_t i = 0; i < w.size(); ++i) {
        for (size_t e = 0; e < w[i].size(); ++e) {
          const double g =
              static_cast<double>(rank.list[i].gradient.as<float>()[e]) / 8 * result.clip_factor;
          m[i][e] = beta1 * m[i][e] + (1 - beta1) * g;
          v[i][e] = beta2 * v[i][e] + (1 - beta2) * g * g;
          const double step = (m[i][e] / (1 - std::pow(beta1, t))) /
                              (std::sqrt(v[i][e] / (1 - std::pow(beta2, t))) + epsilon);
          w[i][e] -= rate * (step + (rank.list[i].decay ? decay * w[i][e] : 0.0));
          ASSERT_NEAR(rank.list[i].weight.as<float>()[e], w[i][e], 2e-6) << rank.list[i].name;
        }
      }
    }
  });
}

// Gradients of one everywhere: the norm is the root of the number of the model's weights.
TEST(DistributedOptimizer, TheNormCountsEachWeightOnce) {
  for (const Layout layout : {Layout{}, Layout{.tp = 2}, Layout{.dp = 3}, Layout{.pp = 3},
                              Layout{.tp = 2, .dp = 2, .pp = 2}}) {
    SCOPED_TRACE(layout.to_string());
    int64_t weights = 0;
    for (int stage = 0; stage < layout.pp; ++stage) {
      for (const Parameter& p : random_parameters({.tp = layout.tp, .seed = 9})) {
        if (!p.tied || stage == 0) weights += p.global.elements();
      }
    }
    run_thread_ranks(layout.ranks(), delayed(2), [&](Communicator& world) {
      Rank rank({.layout = layout, .options = options_of(0), .seed = 9}, world);
      rank.sync.begin_step();
      for (const Parameter& p : rank.list) {
        std::fill_n(p.gradient.as<float>(), p.box.extent.elements(), 1.0f);
      }
      const auto result = rank.optimizer.step(1, rate, 0.5);
      EXPECT_DOUBLE_EQ(result.gradient_norm, 0.5 * std::sqrt(static_cast<double>(weights)));
      EXPECT_EQ(result.clip_factor, 1.0);
    });
  }
}

TEST(DistributedOptimizer, ClipsByScalingTheGradient) {
  run_thread_ranks(1, {}, [](Communicator& world) {
    Rank clipped({.options = options_of(0.25)}, world);
    Rank scaled({.options = options_of(0)}, world);
    const auto result = clipped.step(1, 1.0);
    EXPECT_GT(result.gradient_norm, 0.25);
    EXPECT_DOUBLE_EQ(result.clip_factor, 0.25 / (result.gradient_norm + 1e-6));
    EXPECT_EQ(scaled.step(1, result.clip_factor).clip_factor, 1.0);
    State a, b;
    collect(a, clipped.optimizer.state(StateUse::save));
    collect(b, scaled.optimizer.state(StateUse::save));
    EXPECT_EQ(a, b);
    Rank generous({.options = options_of(1e6)}, world);
    EXPECT_EQ(generous.step(1).clip_factor, 1.0);
  });
}

// Without gradients decay alone moves weights, and only those of parameters that decay. Small ones
// that lie without gaps between others would show a run that reaches too far.
TEST(DistributedOptimizer, DecaysOnlyWhatDecays) {
  std::vector<Parameter> list;
  for (int i = 0; i < 24; ++i) {
    Parameter p;
    p.name = "vector" + std::to_string(i);
    p.global = p.local = {i % 5 + 1};
    p.box = Box::whole(p.global);
    p.decay = i % 3 != 1;
    p.layer = i / 12;
    list.push_back(p);
  }
  for (int dp = 1; dp <= 3; ++dp) {
    run_thread_ranks(dp, delayed(1), [&](Communicator& world) {
      Rank rank({.layout = {.dp = dp}, .options = options_of(1.0, 0.5f)}, world, list);
      rank.sync.begin_step();
      rank.optimizer.step(1, rate, 1.0);
      rank.sync.gather_weights();
      for (size_t i = 0; i < list.size(); ++i) {
        for (int64_t e = 0; e < list[i].local.elements(); ++e) {
          const float before = initial_weight(i, e);
          const float factor = list[i].decay ? 1.0f - 0.5f * static_cast<float>(rate) : 1.0f;
          EXPECT_FLOAT_EQ(rank.list[i].weight.as<float>()[e], before * factor) << list[i].name;
        }
      }
    });
  }
}

TEST(DistributedOptimizer, Bf16WeightsFollowAnFp32Master) {
  run_thread_ranks(2, delayed(5), [](Communicator& world) {
    Rank rank({.layout = {.dp = 2}, .dtype = DType::bf16}, world);
    // A rate so small that no step alone moves a bf16 weight of this size.
    bool moved = false;
    for (int step = 1; step <= 40; ++step) {
      rank.compute_gradients(1);
      rank.optimizer.step(step, 1e-4, 0.125);
      rank.sync.gather_weights();
    }
    State state;
    const auto tensors = rank.optimizer.state(StateUse::save);
    for (size_t t = 0; t + 1 < tensors.size(); ++t) {
      if (!tensors[t].name.starts_with("/model/")) continue;
      ASSERT_EQ(tensors[t].dtype, DType::bf16);
      ASSERT_EQ(tensors[t + 1].dtype, DType::f32);
      ASSERT_TRUE(tensors[t + 1].name.starts_with("/optimizer/master/"));
      ASSERT_EQ(tensors[t].pieces.size(), tensors[t + 1].pieces.size());
      for (size_t p = 0; p < tensors[t].pieces.size(); ++p) {
        for (int64_t e = 0; e < tensors[t].pieces[p].box.extent.elements(); ++e) {
          const float weight = element_of(tensors[t].pieces[p], DType::bf16, e);
          const float master = element_of(tensors[t + 1].pieces[p], DType::f32, e);
          ASSERT_EQ(weight, static_cast<float>(bf16(master)));
          moved = moved || weight != master;
        }
      }
    }
    EXPECT_TRUE(moved);
    // All weights have been gathered, and have moved by about 40 steps of 1e-4.
    double distance = 0;
    int64_t count = 0;
    for (size_t i = 0; i < rank.list.size(); ++i) {
      for (int64_t e = 0; e < rank.list[i].box.extent.elements(); ++e, ++count) {
        const float before = static_cast<float>(bf16(initial_weight(i, e)));
        distance += std::abs(static_cast<float>(rank.list[i].weight.as<bf16>()[e]) - before);
      }
    }
    EXPECT_NEAR(distance / static_cast<double>(count), 4e-3, 1e-3);
  });
}

TEST(DistributedOptimizer, LoadingAMasterRoundsItIntoTheWeights) {
  run_thread_ranks(2, delayed(6), [](Communicator& world) {
    Rank rank({.layout = {.dp = 2}, .dtype = DType::bf16}, world);
    for (const ShardedTensor& t : rank.optimizer.state(StateUse::load)) {
      if (!t.name.starts_with("/optimizer/master/")) continue;
      for (const Piece& piece : t.pieces) {
        std::fill_n(static_cast<float*>(piece.data), piece.box.extent.elements(), 1.0f / 3);
      }
    }
    rank.optimizer.weights_from_master();
    rank.sync.gather_weights();
    for (const Parameter& p : rank.list) {
      for (int64_t e = 0; e < p.box.extent.elements(); ++e) {
        ASSERT_EQ(p.weight.as<bf16>()[e], bf16(1.0f / 3));
      }
    }
  });
}

TEST(DistributedOptimizer, ANumberThatIsNotFiniteChangesNothingOnAnyRank) {
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    run_thread_ranks(4, delayed(8), [&](Communicator& world) {
      Rank rank({.layout = {.dp = 2, .pp = 2}}, world);
      rank.step(1);
      State before, after;
      collect(before, rank.optimizer.state(StateUse::save));
      rank.compute_gradients(2);
      if (world.rank() == 3)
        rank.buffers.gradients().as<float>()[rank.buffers.owned()[0].flat_begin] = bad;
      const auto result = rank.optimizer.step(2, rate, 1.0);
      EXPECT_FALSE(result.finite);
      collect(after, rank.optimizer.state(StateUse::save));
      for (const auto& [name, values] : before) {
        for (size_t e = 0; e < values.size(); ++e) {
          EXPECT_TRUE(values[e] == after[name][e] || std::isnan(values[e]));
        }
      }
      EXPECT_TRUE(rank.step(2).finite);
    });
  }
}

TEST(DistributedOptimizer, SavesEachElementOnceAndLoadsEveryCopy) {
  const Layout layout{.tp = 2, .pp = 2};
  run_thread_ranks(layout.ranks(), {}, [&](Communicator& world) {
    Rank rank({.layout = layout}, world);
    const auto save = rank.optimizer.state(StateUse::save);
    const auto load = rank.optimizer.state(StateUse::load);
    ASSERT_EQ(save.size(), 3 * rank.list.size());
    ASSERT_EQ(load.size(), save.size());
    for (size_t t = 0; t < save.size(); ++t) {
      const Parameter& p = rank.list[t / 3];
      const bool stores =
          (!p.replicated || rank.mesh.place.tp == 0) && (!p.tied || rank.mesh.first_stage());
      EXPECT_EQ(save[t].name, load[t].name);
      EXPECT_EQ(save[t].pieces.empty(), !stores || p.box.empty()) << save[t].name;
      EXPECT_EQ(load[t].pieces.empty(), p.box.empty()) << load[t].name;
    }
    EXPECT_EQ(save[0].name, "/model/" + rank.list[0].name);
    EXPECT_THAT(save[0].aliases, testing::ElementsAre("/optimizer/master/" + rank.list[0].name));
    EXPECT_EQ(save[1].name, "/optimizer/exp_avg/" + rank.list[0].name);
    EXPECT_EQ(save[2].name, "/optimizer/exp_avg_sq/" + rank.list[0].name);
  });
}

TEST(DistributedOptimizer, RefusesWhatCannotBe) {
  run_thread_ranks(1, {}, [](Communicator& world) {
    EXPECT_THROW(Rank({.options = options_of(-1.0)}, world), Error);
    Rank rank({}, world);
    EXPECT_THROW(rank.optimizer.step(0, rate, 1.0), Error);
  });
}

}  // namespace
}  // namespace switchyard
