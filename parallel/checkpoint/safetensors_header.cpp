#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include "core/error.h"
#include "parallel/checkpoint/safetensors.h"
#include "parallel/checkpoint/safetensors_events.h"

namespace switchyard {

namespace {

constexpr const char* where = "safetensors";
constexpr uint64_t longest_header = 100'000'000;  // as the format's own library has it
constexpr size_t length_bytes = 8;
static_assert(std::endian::native == std::endian::little);

// The header's text.
std::string_view text_of(std::span<const std::byte> file, const std::string& name) {
  check(file.size() >= length_bytes, where,
        "{} has {} bytes; a safetensors file begins with 8 of its header's length", name,
        file.size());
  const std::string_view content(reinterpret_cast<const char*>(file.data()), file.size());
  check(!content.starts_with("version https://git-lfs.github.com/spec/"), where,
        "{} is a Git LFS pointer in place of the file, which `git lfs pull` brings", name);
  uint64_t length = 0;
  std::memcpy(&length, file.data(), length_bytes);
  check(length <= longest_header, where,
        "{}: the header's length is {} bytes; at most {} are allowed (is it a safetensors file?)",
        name, length, longest_header);
  check(length <= file.size() - length_bytes, where,
        "{}: the header's length is {} bytes, but the file has {}; is it cut off?", name, length,
        file.size());
  return content.substr(length_bytes, length);
}

// Throws unless the tensors, by their offsets, are all of [0, data_bytes).
void check_tiling(const std::vector<SafetensorsEntry>& tensors, int64_t data_bytes,
                  const std::string& name) {
  int64_t end = 0;
  const SafetensorsEntry* before = nullptr;
  for (const SafetensorsEntry& tensor : tensors) {
    const int64_t begin = tensor.offset;
    if (tensor.bytes > data_bytes || begin > data_bytes - tensor.bytes) {
      fail(where, "{}: tensor {} ends at byte {} of the data, which are {} bytes; is it cut off?",
           name, in_quotes(tensor.name), begin + tensor.bytes, data_bytes);
    }
    if (begin < end) {
      fail(where, "{}: tensor {} begins at byte {} of the data, within tensor {}", name,
           in_quotes(tensor.name), begin, in_quotes(before->name));
    }
    if (begin > end) {
      fail(where, "{}: bytes {} to {} of the data, before tensor {}, belong to no tensor", name,
           end, begin, in_quotes(tensor.name));
    }
    end += tensor.bytes;
    before = &tensor;
  }
  check(end == data_bytes, where, "{}: the last {} bytes belong to no tensor", name,
        data_bytes - end);
}

}  // namespace

SafetensorsHeader parse_safetensors(std::span<const std::byte> file, const std::string& name) {
  const std::string_view text = text_of(file, name);
  SafetensorsEvents events(name);
  events.read(text, name + ": the header");
  check(text.starts_with('{'), where, "{}: the header must begin with '{{'", name);
  std::vector<SafetensorsEntry>& tensors = events.header.tensors;
  std::ranges::stable_sort(tensors, {}, [](const SafetensorsEntry& tensor) {
    return std::pair(tensor.offset, tensor.bytes);
  });
  const auto data = static_cast<int64_t>(length_bytes + text.size());
  check_tiling(tensors, static_cast<int64_t>(file.size()) - data, name);
  for (SafetensorsEntry& tensor : tensors) tensor.offset += data;
  return std::move(events.header);
}

}  // namespace switchyard
