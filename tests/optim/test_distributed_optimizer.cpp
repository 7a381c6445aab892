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
#include "tests/core/ops/op_test.h"
#include "tests/parallel/random_parameters.h"

namespace switchyard {
namespace {

using Options = DistributedOptimizer::Options;
using Outcome = DistributedOptimizer::Outcome;
using ops::test::assign;
using ops::test::devices;
using ops::test::values;
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

struct RankSetup {
  Layout layout = {};
  DType dtype = DType::f32;
  Options options = options_of(1.0);
  uint32_t seed = 4;
  Device device = Device::cpu;
};

std::string device_name(const testing::TestParamInfo<Device>& info) {
  return std::string(name_of(info.param));
}

float initial_weight(size_t parameter, int64_t element) {
  return std::sin(static_cast<float>(parameter) * 3.0f + static_cast<float>(element));
}

// What one rank of the mesh has at hand; weights are set and adopted.
struct Rank {
  Rank(const RankSetup& setup, Communicator& world)
      : Rank(setup, world,
             random_parameters({.tp = setup.layout.tp,
                                .tp_rank = coordinates_of(setup.layout, world.rank()).tp,
                                .seed = setup.seed})) {}
  Rank(const RankSetup& setup, Communicator& world, std::vector<Parameter> parameters)
      : mesh(make_mesh(setup.layout, world)),
        stream(setup.device),
        scratch(setup.device),
        list(on_stage(std::move(parameters), mesh)),
        buffers(list, {.dp = setup.layout.dp,
                       .dp_rank = mesh.place.dp,
                       .dtype = setup.dtype,
                       .bucket_elements = 150,
                       .device = setup.device}),
        sync(buffers, mesh, {stream, scratch}),
        optimizer(buffers, mesh, setup.options, {stream, scratch}),
        numbers("numbers", 2 * Arena::footprint({1}, DType::f64), setup.device),
        learning_rate(numbers.allocate({1}, DType::f64, "learning rate")),
        tokens(numbers.allocate({1}, DType::f64, "tokens")) {
    ops::test::stream_at_work = &stream;
    for (size_t i = 0; i < list.size(); ++i) {
      change(list[i].weight, list[i], [&](int64_t e, double) { return initial_weight(i, e); });
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

  // Every stored element of a parameter's tensor to new_value(element, its value).
  template <class NewValue>
  static void change(const Tensor& tensor, const Parameter& p, const NewValue& new_value) {
    auto all = values(tensor);
    for (int64_t e = 0; e < p.box.extent.elements(); ++e) {
      all[static_cast<size_t>(e)] = static_cast<double>(new_value(e, all[static_cast<size_t>(e)]));
    }
    assign(tensor, all);
  }

  // Gradients of whole numbers whose sum over the dp ranks is the same for 1, 2 and 3 of them.
  void compute_gradients(int step) {
    ops::test::stream_at_work = &stream;
    sync.begin_step();
    for (size_t i = list.size(); i-- > 0;) {
      change(list[i].gradient, list[i], [&](int64_t e, double) {
        double sum = 0;
        for (int m = mesh.place.dp; m < 6; m += mesh.layout.dp) {
          sum += static_cast<double>(
              (static_cast<int64_t>(i) * 5 + e * 7 + m * 11 + step * 13) % 19 - 9);
        }
        return sum;
      });
      sync.parameter_ready(static_cast<int>(i));
    }
    sync.finish();
  }

  // The update of a global batch of 1 / gradient_scale tokens.
  Outcome update(double step_rate, double gradient_scale, const Tensor& loss = {}) {
    ops::test::stream_at_work = &stream;
    assign(learning_rate, {step_rate});
    assign(tokens, {1.0 / gradient_scale});
    const Tensor mine = mesh.world->rank() == 0 ? tokens : Tensor();
    optimizer.step({.loss = loss, .tokens = mine, .remarks = {}}, learning_rate);
    return DistributedOptimizer::outcome_of(values(optimizer.outcome()));
  }

  Outcome step(int number, double gradient_scale = 0.125) {
    compute_gradients(number);
    const auto outcome = update(rate, gradient_scale);
    sync.gather_weights();
    stream.synchronize();
    return outcome;
  }

  State state();

  Mesh mesh;
  Stream stream;
  Scratch scratch;
  std::vector<Parameter> list;
  FlatBuffers buffers;
  GradientSync sync;
  DistributedOptimizer optimizer;
  Arena numbers;
  Tensor learning_rate, tokens;
};

// A piece's elements, from wherever it lies.
std::vector<double> elements_of(const ShardedTensor& tensor, const Piece& piece) {
  return values(Tensor(piece.data, tensor.dtype, {piece.box.extent.elements()}, tensor.device));
}

void collect(State& state, const std::vector<ShardedTensor>& tensors) {
  for (const ShardedTensor& t : tensors) {
    auto& global = state[t.name];
    global.resize(static_cast<size_t>(t.global.elements()),
                  std::numeric_limits<float>::quiet_NaN());
    const bool matrix = t.global.rank() == 2;
    const int64_t row_length = matrix ? t.global[1] : 1;
    for (const Piece& piece : t.pieces) {
      const auto numbers = elements_of(t, piece);
      const int64_t columns = matrix ? piece.box.extent[1] : 1;
      for (int64_t e = 0; e < piece.box.extent.elements(); ++e) {
        const int64_t row = piece.box.offset[0] + e / columns;
        const int64_t column = (matrix ? piece.box.offset[1] : 0) + e % columns;
        float& element = global.at(static_cast<size_t>(row * row_length + column));
        EXPECT_TRUE(std::isnan(element)) << t.name << " is stored twice";
        element = static_cast<float>(numbers[static_cast<size_t>(e)]);
      }
    }
  }
}

State Rank::state() {
  ops::test::stream_at_work = &stream;
  State all;
  collect(all, optimizer.state(StateUse::save));
  return all;
}

// One body for every device.
class DistributedOptimizerTest : public testing::TestWithParam<Device> {};
INSTANTIATE_TEST_SUITE_P(All, DistributedOptimizerTest, testing::ValuesIn(devices()), device_name);

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
    collect(state, rank.optimizer.state(StateUse::save));
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
      EXPECT_NEAR(result.clip_factor, 1.0 / (norm + 1e-6), 1e-12);
      for (size_t i = 0; i < w.size(); ++i) {
        const auto weights = values(rank.list[i].weight);
        for (size_t e = 0; e < w[i].size(); ++e) {
          const double g = gradients[i][e] / 8 * result.clip_factor;
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
      Rank rank({.layout = layout, .options = options_of(0), .seed = 9, .device = GetParam()},
                world);
      rank.sync.begin_step();
      for (const Parameter& p : rank.list) {
        Rank::change(p.gradient, p, [](int64_t, double) { return 1.0; });
      }
      const auto result = rank.update(rate, 0.5);
      EXPECT_DOUBLE_EQ(result.gradient_norm, 0.5 * std::sqrt(static_cast<double>(weights)));
      EXPECT_EQ(result.clip_factor, 1.0);
    });
  }
}

TEST_P(DistributedOptimizerTest, ClipsByScalingTheGradient) {
  run_thread_ranks(1, {}, [&](Communicator& world) {
    Rank clipped({.options = options_of(0.25), .device = GetParam()}, world);
    Rank scaled({.options = options_of(0), .device = GetParam()}, world);
    const auto result = clipped.step(1, 1.0);
    EXPECT_GT(result.gradient_norm, 0.25);
    EXPECT_DOUBLE_EQ(result.clip_factor, 0.25 / (result.gradient_norm + 1e-6));
    EXPECT_EQ(scaled.step(1, result.clip_factor).clip_factor, 1.0);
    EXPECT_EQ(clipped.state(), scaled.state());
    Rank generous({.options = options_of(1e6), .device = GetParam()}, world);
    EXPECT_EQ(generous.step(1).clip_factor, 1.0);
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
    const auto tensors = rank.optimizer.state(StateUse::save);
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
    for (const ShardedTensor& t : rank.optimizer.state(StateUse::load)) {
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

// Equal, NaN (of another rank's part) equal to itself.
void expect_same(const State& a, const State& b) {
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [name, numbers] : a) {
    for (size_t e = 0; e < numbers.size(); ++e) {
      const float x = numbers[e], y = b.at(name)[e];
      ASSERT_TRUE(x == y || (std::isnan(x) && std::isnan(y))) << name << " element " << e;
    }
  }
}

TEST_P(DistributedOptimizerTest, ANumberThatIsNotFiniteChangesNothingOnAnyRank) {
  for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    run_thread_ranks(4, delayed(8), [&](Communicator& world) {
      Rank rank({.layout = {.dp = 2, .pp = 2}, .device = GetParam()}, world);
      rank.step(1);
      State before = rank.state();
      rank.compute_gradients(2);
      const Parameter& p = rank.list[static_cast<size_t>(rank.buffers.owned()[0].parameter)];
      const int64_t at = rank.buffers.owned()[0].parameter_begin;
      if (world.rank() == 3) {
        Rank::change(p.gradient, p, [&](int64_t e, double g) { return e == at ? bad : g; });
      }
      const auto result = rank.update(rate, 1.0);
      EXPECT_TRUE(result.skipped);
      EXPECT_EQ(result.applied, 1);
      // Of the counters, which are the first rank's, that of skipped updates alone moves on.
      if (world.rank() == 0) before[DistributedOptimizer::counters_name][ops::skipped_updates] = 1;
      expect_same(before, rank.state());
      const auto next = rank.step(2);
      EXPECT_FALSE(next.skipped);
      EXPECT_EQ(next.applied, 2);
    });
  }
}

TEST_P(DistributedOptimizerTest, ALossThatIsNotFiniteSkipsTheUpdate) {
  run_thread_ranks(2, delayed(9), [&](Communicator& world) {
    Rank rank({.layout = {.dp = 2}, .device = GetParam()}, world);
    ops::test::Workbench bench(GetParam());
    ops::test::stream_at_work = &rank.stream;
    const Tensor loss = bench.zeros({1}, DType::f64);
    assign(loss, {world.rank() == 1 ? std::nan("") : 2.0});
    rank.compute_gradients(1);
    EXPECT_TRUE(rank.update(rate, 0.125, loss).skipped);
    assign(loss, {2.0});
    rank.compute_gradients(1);
    const auto good = rank.update(rate, 0.125, loss);
    EXPECT_FALSE(good.skipped);
    EXPECT_EQ(good.loss, 0.5);  // twice 2 over 8 tokens
    EXPECT_EQ(good.tokens, 8);
  });
}

// With a scale of 2^k the gradients of the backward pass are 2^k times too large, exactly.
TEST_P(DistributedOptimizerTest, DividesTheLossScaleOutAndAdjustsIt) {
  run_thread_ranks(1, {}, [&](Communicator& world) {
    Options scaled = options_of(1.0);
    scaled.multiplier = 0.25;
    scaled.scaling = {.dynamic = true, .initial = 256, .least = 1, .window = 2, .hysteresis = 2};
    Rank plain({.options = options_of(1.0), .device = GetParam()}, world);
    Rank rank({.options = scaled, .device = GetParam()}, world);
    const auto step = [&](int number, double scale) {
      rank.compute_gradients(number);
      for (const Parameter& p : rank.list) {
        Rank::change(p.gradient, p, [&](int64_t, double g) { return g * scale * 0.25; });
      }
      return rank.update(rate, 0.125);
    };
    const double infinity = std::numeric_limits<double>::infinity();
    const auto first = step(1, 256);
    EXPECT_EQ(first.loss_scale, 256);
    EXPECT_EQ(first.gradient_norm, plain.step(1).gradient_norm);
    EXPECT_TRUE(step(9, infinity).skipped);  // the first overflow is forgiven
    EXPECT_EQ(step(2, 256).loss_scale, 256);
    EXPECT_EQ(plain.step(2).applied, 2);
    EXPECT_TRUE(step(9, infinity).skipped);
    const auto halved = step(3, 128);
    EXPECT_EQ(halved.loss_scale, 128);
    EXPECT_EQ(halved.applied, 3);
    plain.step(3);
    step(4, 128);
    plain.step(4);
    EXPECT_EQ(step(5, 256).loss_scale, 256);  // two good ones in a row
    plain.step(5);
    State mine = rank.state(), others = plain.state();
    EXPECT_EQ(mine[DistributedOptimizer::counters_name], (std::vector<float>{5, 2, 1, 2}));
    for (const char* name :
         {DistributedOptimizer::counters_name, DistributedOptimizer::loss_scale_name}) {
      mine.erase(name);
      others.erase(name);
    }
    EXPECT_EQ(mine, others);
  });
}

TEST_P(DistributedOptimizerTest, SumsRemarksOverTheWorld) {
  run_thread_ranks(2, {}, [&](Communicator& world) {
    Rank rank({.layout = {.dp = 2}, .device = GetParam()}, world);
    ops::test::Workbench bench(GetParam());
    ops::test::stream_at_work = &rank.stream;
    const Tensor remarks = bench.zeros({DistributedOptimizer::remark_count}, DType::f64);
    assign(remarks, {static_cast<double>(world.rank()), 3.0});
    assign(rank.tokens, {4.0});
    assign(rank.learning_rate, {rate});
    rank.compute_gradients(1);
    rank.optimizer.step({.loss = {}, .tokens = rank.tokens, .remarks = remarks},
                        rank.learning_rate);
    const auto outcome = DistributedOptimizer::outcome_of(values(rank.optimizer.outcome()));
    EXPECT_EQ(outcome.tokens, 8);
    EXPECT_EQ(outcome.remarks[0], 1);
    EXPECT_EQ(outcome.remarks[1], 6);
  });
}

TEST_P(DistributedOptimizerTest, SavesEachElementOnceAndLoadsEveryCopy) {
  const Layout layout{.tp = 2, .pp = 2};
  run_thread_ranks(layout.ranks(), {}, [&](Communicator& world) {
    Rank rank({.layout = layout, .device = GetParam()}, world);
    const auto save = rank.optimizer.state(StateUse::save);
    const auto load = rank.optimizer.state(StateUse::load);
    const size_t of_parameters = 3 * rank.list.size();
    ASSERT_EQ(save.size(), of_parameters + 2);
    ASSERT_EQ(load.size(), save.size());
    for (size_t t = 0; t < of_parameters; ++t) {
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
    EXPECT_EQ(save[of_parameters].name, "/optimizer/counters");
    EXPECT_EQ(save[of_parameters + 1].name, "/optimizer/loss_scale");
    for (const size_t t : {of_parameters, of_parameters + 1}) {
      EXPECT_EQ(save[t].pieces.size(), world.rank() == 0 ? 1u : 0u);
      EXPECT_EQ(load[t].pieces.size(), 1u);
    }
  });
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
