#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "parallel/checkpoint/safetensors.h"

namespace switchyard::test {

// A file's bytes: the length of the header, the header, the data.
std::string file_of(std::string_view header, size_t data_bytes);
std::string file_with_length(uint64_t length, std::string_view rest);
// One that has a tensor of "U8" of 4 bytes for each name.
std::string file_of_tensors(const std::vector<std::string>& names);
// Of model.safetensors.index.json.
std::string index_of(std::string_view weight_map);
void write(const std::filesystem::path& file, std::string_view bytes);

// The text of the Error that body throws; "no error" when it throws none.
std::string refusal(const std::function<void()>& body);

// Weights with arbitrary bits, written and compared.
struct Weights {
  std::vector<SafetensorsWriter::Tensor> tensors;
  std::vector<std::string> contents;  // bytes of each

  void add(const std::string& name, DType dtype, const Shape& shape);
  void write(const std::filesystem::path& folder, int64_t max_shard_bytes,
             int64_t part_bytes) const;
  // Adds the tensors [0, count) to a writer.
  void add_to(SafetensorsWriter& writer, size_t count) const;
  // Nothing where the folder has these and no others, else what differs.
  std::string difference(const std::filesystem::path& folder) const;
};
// The names of what is in a folder, in order.
std::vector<std::string> names_in(const std::filesystem::path& folder);

}  // namespace switchyard::test
