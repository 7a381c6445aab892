#pragma once

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "parallel/parameter.h"

namespace switchyard {

// Which of a list's parameters a rank of a mesh holds.
struct RandomModel {
  int layers = 3;
  int tp = 1;
  int tp_rank = 0;
  uint32_t seed = 0;
  int replicas = 1;  // of k and v
};

// A made-up stage, the same for every rank but for its part of the split parameters: matrices and
// vectors split by rows, some fused and in fewer parts than tp, replicated ones, and a tied matrix
// with rows that pad it.
inline std::vector<Parameter> random_parameters(const RandomModel& model) {
  std::mt19937 random(model.seed);
  const auto between = [&](int64_t low, int64_t high) {
    return low + static_cast<int64_t>(random() % static_cast<uint32_t>(high - low + 1));
  };
  std::vector<Parameter> list;
  const auto add = [&](int layer, const std::string& name, const Shape& global, int replicas) {
    Parameter p;
    p.name = name;
    p.global = global;
    p.box = Box::whole(global);
    const int parts = model.tp / replicas, part = model.tp_rank / replicas;
    p.box.offset[0] = global[0] * part / parts;
    p.box.extent[0] = global[0] * (part + 1) / parts - p.box.offset[0];
    p.local = p.box.extent;
    p.replicas = replicas;
    p.decay = global.rank() == 2;
    p.layer = layer;
    list.push_back(p);
  };
  const int64_t columns = between(1, 24);
  const int64_t rows = model.tp * between(1, 12) + 1;
  const int64_t padded = (rows + model.tp * 4 - 1) / (model.tp * 4) * 4;  // of each tp rank
  add(-1, "embedding.weight", {rows, columns}, 1);
  Parameter& tied = list.back();
  const int64_t begin = std::min(rows, padded * model.tp_rank);
  tied.box.offset[0] = begin;
  tied.box.extent[0] = std::min(rows, begin + padded) - begin;
  tied.local = {padded, columns};
  tied.tied = true;
  for (int layer = 0; layer < model.layers; ++layer) {
    const std::string prefix = "layers." + std::to_string(layer) + ".";
    add(layer, prefix + "norm.weight", {columns}, model.tp);
    for (const char* name : {"q", "k", "v"}) {
      add(layer, prefix + name + ".weight", {model.tp * between(1, 9), columns},
          *name == 'q' ? 1 : model.replicas);
      list.back().fused = true;
    }
    add(layer, prefix + "up.weight", {model.tp * between(1, 9), between(1, 30)}, 1);
    add(layer, prefix + "up.bias", {model.tp * between(1, 20)}, 1);
    add(layer, prefix + "down.bias", {between(1, 40)}, model.tp);
  }
  return list;
}

}  // namespace switchyard
