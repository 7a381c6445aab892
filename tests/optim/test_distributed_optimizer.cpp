#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <mutex>

#include "core/error.h"
#include "tests/optim/optimizer_rank.h"

namespace switchyard {
namespace {

using ops::test::assign;
using ops::test::devices;
using ops::test::values;
using test::delayed, test::Options, test::options_of, test::Rank, test::RankSetup, test::rate,
    test::State, test::collect, test::elements_of, test::initial_weight;

// One body for every device.
class DistributedOptimizerTest : public testing::TestWithParam<Device> {};
INSTANTIATE_TEST_SUITE_P(All, DistributedOptimizerTest, testing::ValuesIn(devices()),
                         test::device_name);

State train(const RankSetup& setup, int steps, std::vector<double>* norms = nullptr) {
  State state;
  std::mutex mutex;
  run_thread_ranks(setup.layout.ranks(), delayed(setup.seed), [&](Communicator& world) {
    Rank rank(setup, world);
    for (int step = 1; step <= steps; ++step) {
      const auto result = rank.step(step);
      EXPECT_FALSE(result.skipped);
      if (norms && world.rank() == 0) norms->push_back(result.gradient_norm);
    }
    // Every rank has gathered the same weights, which are the ones stored.
    const std::lock_guard lock(mutex);
    collect(state, rank.optimizer.state().tensors(StateUse::save));
  });
  return state;
}

TEST_P(DistributedOptimizerTest, AnyNumberOfDataParallelRanksGivesTheSameBits) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    std::vector<double> norms, other_norms;
    const State one = train({.layout = {.dp = 1}, .dtype = dtype, .device = GetParam()}, 4, &norms);
    EXPECT_FALSE(one.empty());
    for (const auto& [name, values] : one) {
      EXPECT_THAT(values, testing::Each(testing::Truly([](float v) { return std::isfinite(v); })))
          << name;
    }
    for (const int dp : {2, 3}) {
      other_norms.clear();
      const RankSetup setup{.layout = {.dp = dp}, .dtype = dtype, .device = GetParam()};
      EXPECT_EQ(train(setup, 4, &other_norms), one) << "dp " << dp;
      EXPECT_EQ(norms, other_norms);
    }
  }
}

// AdamW written plainly in float64, with clipping of the whole gradient.
TEST_P(DistributedOptimizerTest, FollowsAPlainAdamW) {
  const Options options = options_of(1.0);
  run_thread_ranks(1, {}, [&](Communicator& world) {
    Rank rank({.options = options, .device = GetParam()}, world);
    std::vector<std::vector<double>> w, m, v, gradients(rank.list.size());
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
        gradients[i] = values(rank.list[i].gradient);
        for (size_t e = 0; e < w[i].size(); ++e) squares += std::pow(gradients[i][e] / 8, 2);
      }
      const auto result = rank.update(rate, 0.125);
      const double norm = std::sqrt(squares);
      EXPECT_NEAR(result.gradient_norm, norm, 1e-9 * norm);
      for (size_t i = 0; i < w.size(); ++i) {
        const auto weights = values(rank.list[i].weight);
        for (size_t e = 0; e < w[i].size(); ++e) {
          const double g = gradients[i][e] / 8 / (norm + 1e-6);
          m[i][e] = beta1 * m[i][e] + (1 - beta1) * g;
          v[i][e] = beta2 * v[i][e] + (1 - beta2) * g * g;
          const double step = (m[i][e] / (1 - std::pow(beta1, t))) /
                              (std::sqrt(v[i][e] / (1 - std::pow(beta2, t))) + epsilon);
          w[i][e] -= rate * (step + (rank.list[i].decay ? decay * w[i][e] : 0.0));
          ASSERT_NEAR(weights[e], w[i][e], 2e-6) << rank.list[i].name;
        }
      }
    }
  });
}

// Gradients of one everywhere: the norm is the root of the number of the model's weights.
TEST_P(DistributedOptimizerTest, TheNormCountsEachWeightOnce) {
  const std::pair<Layout, int> cases[] = {
      {{}, 1},        {{.tp = 2}, 1}, {{.tp = 2, .dp = 2}, 2},         {{.tp = 4}, 2},
      {{.dp = 3}, 1}, {{.pp = 3}, 1}, {{.tp = 2, .dp = 2, .pp = 2}, 1}};
  for (const auto& [layout, replicas] : cases) {
    SCOPED_TRACE(layout.to_string());
    int64_t weights = 0;
    for (int stage = 0; stage < layout.pp; ++stage) {
      for (const Parameter& p : random_parameters({.tp = layout.tp, .seed = 9})) {
        if (!p.tied || stage == 0) weights += p.global.elements();
      }
    }
    run_thread_ranks(layout.ranks(), delayed(2), [&](Communicator& world) {
      Rank rank({.layout = layout,
                 .options = options_of(0),
                 .seed = 9,
                 .device = GetParam(),
                 .replicas = replicas},
                world);
      rank.sync.begin_step();
      for (const Parameter& p : rank.list) {
        Rank::change(p.gradient, p, [](int64_t, double) { return 1.0; });
      }
      const auto result = rank.update(rate, 0.5);
      EXPECT_DOUBLE_EQ(result.gradient_norm, 0.5 * std::sqrt(static_cast<double>(weights)));
    });
  }
}

TEST_P(DistributedOptimizerTest, ClipsByScalingTheGradient) {
  run_thread_ranks(1, {}, [&](Communicator& world) {
    Rank clipped({.options = options_of(0.25), .device = GetParam()}, world);
    Rank scaled({.options = options_of(0), .device = GetParam()}, world);
    const auto result = clipped.step(1, 1.0);
    EXPECT_GT(result.gradient_norm, 0.25);
    scaled.step(1, 0.25 / (result.gradient_norm + 1e-6));
    EXPECT_EQ(clipped.state(), scaled.state());
    Rank generous({.options = options_of(1e6), .device = GetParam()}, world);
    Rank without({.options = options_of(0), .device = GetParam()}, world);
    generous.step(1);
    without.step(1);
    EXPECT_EQ(generous.state(), without.state());
  });
}

// Without gradients decay alone moves weights, and only those of parameters that decay. Small ones
// that lie without gaps between others would show a run that reaches too far.
TEST_P(DistributedOptimizerTest, DecaysOnlyWhatDecays) {
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
      const RankSetup setup{
          .layout = {.dp = dp}, .options = options_of(1.0, 0.5f), .device = GetParam()};
      Rank rank(setup, world, list);
      rank.sync.begin_step();
      rank.update(rate, 1.0);
      rank.sync.gather_weights();
      for (size_t i = 0; i < list.size(); ++i) {
        const auto weights = values(rank.list[i].weight);
        for (int64_t e = 0; e < list[i].local.elements(); ++e) {
          const float before = initial_weight(i, e);
          const float factor = list[i].decay ? 1.0f - 0.5f * static_cast<float>(rate) : 1.0f;
          EXPECT_FLOAT_EQ(static_cast<float>(weights[static_cast<size_t>(e)]), before * factor)
              << list[i].name;
        }
      }
    });
  }
}

TEST_P(DistributedOptimizerTest, Bf16WeightsFollowAnFp32Master) {
  run_thread_ranks(2, delayed(5), [&](Communicator& world) {
    Rank rank({.layout = {.dp = 2}, .dtype = DType::bf16, .device = GetParam()}, world);
    // A rate so small that no step alone moves a bf16 weight of this size.
    bool moved = false;
    for (int step = 1; step <= 40; ++step) {
      rank.compute_gradients(1);
      rank.update(1e-4, 0.125);
      rank.sync.gather_weights();
    }
    State state;
    const auto tensors = rank.optimizer.state().tensors(StateUse::save);
    for (size_t t = 0; t + 1 < tensors.size(); ++t) {
      if (!tensors[t].name.starts_with("/model/")) continue;
      ASSERT_EQ(tensors[t].dtype, DType::bf16);
      ASSERT_EQ(tensors[t + 1].dtype, DType::f32);
      ASSERT_TRUE(tensors[t + 1].name.starts_with("/optimizer/master/"));
      ASSERT_EQ(tensors[t].pieces.size(), tensors[t + 1].pieces.size());
      for (size_t p = 0; p < tensors[t].pieces.size(); ++p) {
        const auto weights = elements_of(tensors[t], tensors[t].pieces[p]);
        const auto masters = elements_of(tensors[t + 1], tensors[t + 1].pieces[p]);
        for (size_t e = 0; e < weights.size(); ++e) {
          const auto master = static_cast<float>(masters[e]);
          ASSERT_EQ(static_cast<float>(weights[e]), static_cast<float>(bf16(master)));
          moved = moved || weights[e] != masters[e];
        }
      }
    }
    EXPECT_TRUE(moved);
    // All weights have been gathered, and have moved by about 40 steps of 1e-4.
    double distance = 0;
    int64_t count = 0;
    for (size_t i = 0; i < rank.list.size(); ++i) {
      const auto weights = values(rank.list[i].weight);
      for (int64_t e = 0; e < rank.list[i].box.extent.elements(); ++e, ++count) {
        const double before = static_cast<float>(bf16(initial_weight(i, e)));
        distance += std::abs(weights[static_cast<size_t>(e)] - before);
      }
    }
    EXPECT_NEAR(distance / static_cast<double>(count), 4e-3, 1e-3);
  });
}

TEST_P(DistributedOptimizerTest, LoadingAMasterRoundsItIntoTheWeights) {
  run_thread_ranks(2, delayed(6), [&](Communicator& world) {
    Rank rank({.layout = {.dp = 2}, .dtype = DType::bf16, .device = GetParam()}, world);
    for (const ShardedTensor& t : rank.optimizer.state().tensors(StateUse::load)) {
      if (!t.name.starts_with("/optimizer/master/")) continue;
      for (const Piece& piece : t.pieces) {
        const int64_t n = piece.box.extent.elements();
        assign(Tensor(piece.data, t.dtype, {n}, t.device),
               std::vector<double>(static_cast<size_t>(n), 1.0 / 3));
      }
    }
    rank.optimizer.weights_from_master();
    rank.sync.gather_weights();
    for (const Parameter& p : rank.list) {
      const auto weights = values(p.weight);
      for (int64_t e = 0; e < p.box.extent.elements(); ++e) {
        ASSERT_EQ(static_cast<float>(weights[static_cast<size_t>(e)]),
                  static_cast<float>(bf16(1.0f / 3)));
      }
    }
  });
}

TEST_P(DistributedOptimizerTest, SavesEachElementOnceAndLoadsEveryCopy) {
  const Layout layout{.tp = 2, .pp = 2};
  std::map<std::array<size_t, 3>, int> savers;  // of (tensor, stage, ranks that hold it alike)
  std::mutex mutex;
  run_thread_ranks(layout.ranks(), {}, [&](Communicator& world) {
    Rank rank({.layout = layout, .device = GetParam(), .replicas = 2}, world);
    const auto save = rank.optimizer.state().tensors(StateUse::save);
    const auto load = rank.optimizer.state().tensors(StateUse::load);
    const size_t of_parameters = 3 * rank.list.size();
    ASSERT_EQ(save.size(), of_parameters + 2);
    ASSERT_EQ(load.size(), save.size());
    for (size_t t = 0; t < of_parameters; ++t) {
      const Parameter& p = rank.list[t / 3];
      const bool is_saved = !p.box.empty() && (!p.tied || rank.mesh.first_stage());
      EXPECT_EQ(save[t].name, load[t].name);
      if (is_saved) {
        const std::lock_guard lock(mutex);
        savers[{t, static_cast<size_t>(rank.mesh.place.pp),
                static_cast<size_t>(rank.mesh.place.tp / p.replicas)}] +=
            save[t].pieces.empty() ? 0 : 1;
      } else {
        EXPECT_TRUE(save[t].pieces.empty()) << save[t].name;
      }
      EXPECT_EQ(load[t].pieces.empty(), p.box.empty()) << load[t].name;
    }
    EXPECT_EQ(save[0].name, "/model/" + rank.list[0].name);
    EXPECT_THAT(save[0].aliases, testing::ElementsAre("/optimizer/master/" + rank.list[0].name));
    EXPECT_EQ(save[1].name, "/optimizer/exp_avg/" + rank.list[0].name);
    EXPECT_EQ(save[2].name, "/optimizer/exp_avg_sq/" + rank.list[0].name);
    EXPECT_EQ(save[of_parameters].name, "/optimizer/counters");
    EXPECT_EQ(save[of_parameters + 1].name, "/optimizer/loss_scale");
    for (const size_t t : {of_parameters, of_parameters + 1}) {
      EXPECT_EQ(save[t].pieces.size(), world.rank() == 0 ? 1u : 0u);
      EXPECT_EQ(load[t].pieces.size(), 1u);
    }
  });
  for (const auto& [what, times] : savers) EXPECT_EQ(times, 1) << what[0];
}

TEST_P(DistributedOptimizerTest, RefusesWhatCannotBe) {
  run_thread_ranks(1, {}, [&](Communicator& world) {
    const Device device = GetParam();
    EXPECT_THROW(Rank({.options = options_of(-1.0), .device = device}, world), Error);
    Rank rank({.device = device}, world);
    const DistributedOptimizer::Contribution two{.loss = {}, .tokens = {}, .remarks = rank.tokens};
    EXPECT_THROW(rank.optimizer.step(two, rank.learning_rate), Error);
  });
}

}  // namespace
}  // namespace switchyard
