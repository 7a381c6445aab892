#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "launch/path/options.h"
#include "parallel/comm/communicator.h"

namespace switchyard {

struct Evaluation {
  int64_t step = 0;
  std::string checkpoint;  // id
  double loss = 0;         // mean over tokens
  double perplexity = 0;
  double bits_per_byte = 0;  // 0 where the sets do not say how many bytes they hold
  int64_t tokens = 0;
  int64_t text_bytes = 0;
};

// Scores every token of the sets once with the weights of RUN[@STEP]. The settings are those of
// layout_options() and --weights, the group of weights. Collective.
Evaluation evaluate(const std::string& run, const std::vector<std::string>& data,
                    const Settings& settings, Communicator& world);

}  // namespace switchyard
