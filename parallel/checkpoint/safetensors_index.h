#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "parallel/checkpoint/safetensors.h"

// model.safetensors.index.json: {"metadata": {...}, "weight_map": {tensor: file of the folder}}.
namespace switchyard {

inline constexpr const char* single_file_name = "model.safetensors";
inline constexpr const char* index_name = "model.safetensors.index.json";

struct SafetensorsIndex {
  std::vector<std::string> files;         // by name
  std::map<std::string, size_t> file_of;  // each tensor's, of `files`
};

// Throws Error, naming the index, for what is no index, has a name twice or names a file that is
// not in the index's own folder. What "metadata" says is not looked at.
SafetensorsIndex parse_safetensors_index(std::string_view text, const std::string& name);

// Throws Error, naming the folder, unless the headers of all `files` have the index's tensors and
// no others, each in the file that the index says.
void check_against_index(const SafetensorsIndex& index,
                         const std::vector<SafetensorsEntry>& tensors, const std::string& folder);

}  // namespace switchyard
