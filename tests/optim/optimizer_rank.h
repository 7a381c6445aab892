#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "optim/distributed_optimizer.h"
#include "optim/gradient_sync.h"
#include "parallel/comm/communicators.h"
#include "tests/core/ops/op_test.h"
#include "tests/parallel/random_parameters.h"

// Ranks of threads that hold parameters, gradients and an optimizer, but no model.
namespace switchyard::test {

using Options = DistributedOptimizer::Options;
using Outcome = DistributedOptimizer::Outcome;

// What a checkpoint would hold: the elements of each tensor by name.
using State = std::map<std::string, std::vector<float>>;

inline constexpr double rate = 1e-2;

ThreadRanksOptions delayed(uint64_t seed);  // threads that wait here and there

inline Options options_of(double clip_norm, double weight_decay = 0.1) {
  return {.adamw = {.beta1 = 0.9, .beta2 = 0.95, .weight_decay = weight_decay},
          .clip_norm = clip_norm};
}

struct RankSetup {
  Layout layout = {};
  DType dtype = DType::f32;
  Options options = options_of(1.0);
  uint32_t seed = 4;
  Device device = Device::cpu;
  int replicas = 1;  // of keys and values
};

float initial_weight(size_t parameter, int64_t element);

// What one rank of the mesh has at hand; weights are set and adopted.
struct Rank {
  Rank(const RankSetup& setup, Communicator& world)
      : Rank(setup, world,
             random_parameters({.tp = setup.layout.tp,
                                .tp_rank = coordinates_of(setup.layout, world.rank()).tp,
                                .seed = setup.seed,
                                .replicas = setup.replicas})) {}
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
    auto all = ops::test::values(tensor);
    for (int64_t e = 0; e < p.box.extent.elements(); ++e) {
      all[static_cast<size_t>(e)] = static_cast<double>(new_value(e, all[static_cast<size_t>(e)]));
    }
    ops::test::assign(tensor, all);
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
    ops::test::assign(learning_rate, {step_rate});
    ops::test::assign(tokens, {1.0 / gradient_scale});
    const Tensor mine = mesh.world->rank() == 0 ? tokens : Tensor();
    optimizer.step({.loss = loss, .tokens = mine, .remarks = {}}, learning_rate);
    return DistributedOptimizer::outcome_of(ops::test::values(optimizer.outcome()));
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
std::vector<double> elements_of(const ShardedTensor& tensor, const Piece& piece);

// Adds what the tensors hold to `state`; every element may come once.
void collect(State& state, const std::vector<ShardedTensor>& tensors);

// One body for every device.
std::string device_name(const testing::TestParamInfo<Device>& info);

}  // namespace switchyard::test
