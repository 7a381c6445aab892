#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/json.h"
#include "launch/path/tensor_statistics.h"

namespace switchyard {

// The tensors of a saved step as a tree: '/' and '.' part the groups of a name. A group that has
// one member alone is that member.
struct TensorTree {
  std::string name;                      // whole; "/" of the root
  const StoredTensor* tensor = nullptr;  // of a leaf
  std::string same_as{};                 // of a leaf: the name that its elements are stored under
  int64_t tensors = 0;                   // of names
  int64_t bytes = 0;                     // stored ones: elements with several names count once
  TensorStatistics statistics{};         // the same
  std::vector<TensorTree> children{};    // by name, numbers by their value
};

// Of all, or what is named `under` or lies in it ("/model/layers.3"). Reads all of that. Throws
// Error where nothing does. It refers to the reader's tensors.
TensorTree tensor_tree(const CheckpointReader& reader, const std::string& under,
                       const std::function<void(int64_t bytes)>& progress = {});

Json to_json(const TensorTree& tree);
// A line each, indented, below a line of titles.
std::vector<std::string> to_lines(const TensorTree& tree);

}  // namespace switchyard
