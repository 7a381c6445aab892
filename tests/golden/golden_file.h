#pragma once

#include <map>
#include <string>
#include <vector>

namespace switchyard::test {

// A training run of PyTorch, as make.py writes it.
struct GoldenFile {
  std::string config;                                 // JSON of GptConfig
  std::map<std::string, double> optimizer;            // learning_rate, warmup, clip_norm, ...
  int64_t steps = 0, batch = 0, length = 0;           // length without the last target
  std::vector<int32_t> tokens;                        // [steps, batch, length + 1]
  std::vector<double> losses;                         // [steps], mean of each step's batch
  std::map<std::string, std::vector<float>> weights;  // whole tensors before the first step
};

GoldenFile read_golden(const std::string& path);

}  // namespace switchyard::test
