#include "parallel/checkpoint/state_groups.h"

#include <algorithm>
#include <map>
#include <set>

namespace switchyard {

namespace {

// The part of a tensor's name in front of a weight's; the whole where there is none.
std::string group_of(const std::string& name, const std::set<std::string, std::less<>>& weights) {
  const std::string_view path = std::string_view(name).substr(1);
  for (size_t at = path.find('/'); at != std::string::npos; at = path.find('/', at + 1)) {
    if (weights.contains(path.substr(at + 1))) return std::string(path.substr(0, at));
  }
  return std::string(path);
}

}  // namespace

std::string tensor_name(std::string_view group, std::string_view weight) {
  std::string name = "/";
  name += group;
  if (!weight.empty()) (name += '/') += weight;
  return name;
}

std::string shard_part(const std::string& tensor) {
  for (const std::string_view group : {groups::exp_avg, groups::exp_avg_sq}) {
    if (tensor.starts_with(tensor_name(group) + "/")) return std::string(moments_part);
  }
  return {};
}

std::vector<std::string> weights_in(const CheckpointReader& reader) {
  const std::string begin = tensor_name(groups::model) + "/";
  std::vector<std::string> names;
  for (const StoredTensor& tensor : reader.tensors()) {
    if (tensor.name.starts_with(begin)) names.push_back(tensor.name.substr(begin.size()));
  }
  return names;
}

std::vector<StoredGroup> stored_groups(const CheckpointReader& reader) {
  const auto names = weights_in(reader);
  const std::set<std::string, std::less<>> weights(names.begin(), names.end());
  std::map<std::string, StoredGroup> found;
  for (const StoredTensor& tensor : reader.tensors()) {
    const std::string name = group_of(tensor.name, weights);
    StoredGroup& group = found.try_emplace(name, StoredGroup{name, tensor.dtype}).first->second;
    ++group.tensors;
    group.has_all_weights = group.tensors == std::ssize(names) &&
                            tensor.name.size() > name.size() + 1 && group.dtype != DType::f64;
  }
  std::vector<StoredGroup> all;
  all.reserve(found.size());
  for (auto& [name, group] : found) all.push_back(std::move(group));
  return all;
}

bool has_group(const CheckpointReader& reader, std::string_view group) {
  const std::string name = tensor_name(group);
  return reader.find(name) != nullptr ||
         std::ranges::any_of(reader.tensors(), [begin = name + "/"](const StoredTensor& tensor) {
           return tensor.name.starts_with(begin);
         });
}

}  // namespace switchyard
