#pragma once

#include <string>
#include <utility>
#include <vector>

#include "model/exchange/weight_map.h"

// Private to model/exchange: how the maps of an architecture are written down.
namespace switchyard {

std::vector<WeightMap> gpt2_maps(const GptConfig& config);
std::vector<WeightMap> gpt_neox_maps(const GptConfig& config);
std::vector<WeightMap> llama_maps(const GptConfig& config);  // mistral's and qwen2's, too

// Maps one behind the other. Names get the prefixes that are set, and ".weight" or ".bias".
class MapList {
 public:
  void prefix(std::string ours, std::string theirs) {
    ours_ = std::move(ours);
    theirs_ = std::move(theirs);
  }
  // A tensor that is the same in both.
  void same(const std::string& ours, const std::string& theirs, const Shape& shape) {
    list_.push_back({ours_ + ours, shape, theirs_ + theirs, shape, false, 0, shape[0], shape[0]});
  }
  // ".weight" [outputs, inputs] and perhaps ".bias" [outputs].
  void linear(const std::string& ours, const std::string& theirs, const Shape& weight, bool bias) {
    same(ours + ".weight", theirs + ".weight", weight);
    if (bias) same(ours + ".bias", theirs + ".bias", {weight[0]});
  }
  void norm(const std::string& ours, const std::string& theirs, int64_t channels, bool bias) {
    same(ours + ".weight", theirs + ".weight", {channels});
    if (bias) same(ours + ".bias", theirs + ".bias", {channels});
  }
  void add(WeightMap map) {
    map.ours.insert(0, ours_);
    map.theirs.insert(0, theirs_);
    list_.push_back(std::move(map));
  }
  std::vector<WeightMap> take() { return std::move(list_); }

 private:
  std::string ours_, theirs_;
  std::vector<WeightMap> list_;
};

}  // namespace switchyard
