#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "parallel/checkpoint/checkpoint.h"

namespace switchyard {

// A checkpoint's tensors lie in groups. Most hold one for each of the model's weights,
// "/GROUP/layers.12.attention.q.weight"; others are a single tensor, "/GROUP".
namespace groups {
inline constexpr std::string_view model = "model";                // in the path's precision
inline constexpr std::string_view master = "optimizer/master";    // f32; may be the model's own
inline constexpr std::string_view exp_avg = "optimizer/exp_avg";  // f32, Adam's first moment
inline constexpr std::string_view exp_avg_sq = "optimizer/exp_avg_sq";  // f32, the second
inline constexpr std::string_view counters = "optimizer/counters";      // i64, ops::UpdateCounter
inline constexpr std::string_view loss_scale = "optimizer/loss_scale";  // f32 [1]
}  // namespace groups

// Tensors that can be taken out of a checkpoint lie in shards of their own: the part of a rank's
// state that this one belongs to, "moments"; empty: the rest.
inline constexpr std::string_view moments_part = "moments";
std::string shard_part(const std::string& tensor);

// A weight's tensor in a group; without a weight that of a group which is a single tensor.
std::string tensor_name(std::string_view group, std::string_view weight = {});

// The model's weights, without the group's name, ascending.
std::vector<std::string> weights_in(const CheckpointReader& reader);

struct StoredGroup {
  std::string name;
  DType dtype = DType::f32;  // of its first tensor
  int64_t tensors = 0;
  bool has_all_weights = false;  // one for each of the model's; not of f64, which are sums
};
// What a checkpoint has, by name; whether this program knows the group or not.
std::vector<StoredGroup> stored_groups(const CheckpointReader& reader);

bool has_group(const CheckpointReader& reader, std::string_view group);

}  // namespace switchyard
