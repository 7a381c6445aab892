#include "tests/fuzz/targets.h"

#include <cstring>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/error.h"
#include "parallel/checkpoint/safetensors.h"
#include "parallel/checkpoint/safetensors_index.h"

namespace switchyard::test {

namespace {

void require(bool ok, const char* what) {
  if (!ok) throw std::logic_error(what);
}

// Runs `body`; false where it refuses, which takes one line of a bounded length.
template <class Body>
bool accepts(const Body& body) {
  try {
    body();
    return true;
  } catch (const Error& error) {
    const std::string line = error.what();
    require(line.find('\n') == std::string::npos, "an error has several lines");
    require(line.size() < 3000, "an error's line is too long");
    return false;
  }
}

// The tensors are all of the file behind its header, one after the other.
void check_header(const SafetensorsHeader& header, std::span<const std::byte> file) {
  uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof(length));
  auto end = static_cast<int64_t>(sizeof(length) + length);
  std::set<std::string> names;
  for (const SafetensorsEntry& tensor : header.tensors) {
    require(tensor.offset == end && tensor.bytes >= 0, "tensors leave a hole or overlap");
    require(!tensor.name.empty() && names.insert(tensor.name).second, "a name twice or empty");
    int64_t elements = 1;
    for (const int64_t axis : tensor.shape) elements *= axis;
    const auto dtype = weight_dtype(tensor);
    require(!dtype || elements * size_of(*dtype) == tensor.bytes, "a shape of other bytes");
    end += tensor.bytes;
  }
  require(end == static_cast<int64_t>(file.size()), "the file ends elsewhere");
}

void parse(std::span<const std::byte> file) {
  SafetensorsHeader header;
  if (accepts([&] { header = parse_safetensors(file, "f"); })) check_header(header, file);
}

std::vector<SafetensorsEntry> tensors_of(const SafetensorsIndex& index) {
  std::vector<SafetensorsEntry> tensors;
  for (const auto& [name, file] : index.file_of) {
    SafetensorsEntry& entry = tensors.emplace_back();
    entry.name = name;
    entry.file = file;
  }
  return tensors;
}

}  // namespace

void fuzz_safetensors_header(std::span<const std::byte> input) {
  parse(input);
  constexpr size_t data_bytes = 64;
  const auto length = static_cast<uint64_t>(input.size());
  std::vector<std::byte> file(sizeof(length) + input.size() + data_bytes);
  std::memcpy(file.data(), &length, sizeof(length));
  if (!input.empty()) std::memcpy(file.data() + sizeof(length), input.data(), input.size());
  parse(file);
}

void fuzz_safetensors_index(std::span<const std::byte> input) {
  const std::string_view text(reinterpret_cast<const char*>(input.data()), input.size());
  SafetensorsIndex index;
  if (!accepts([&] { index = parse_safetensors_index(text, "i"); })) return;
  for (const std::string& file : index.files) {
    const bool plain = !file.empty() && file != ".." && file.find('/') == std::string::npos;
    require(plain, "a file elsewhere than in the folder");
  }
  std::vector<SafetensorsEntry> tensors = tensors_of(index);
  const auto check_all = [&] { check_against_index(index, tensors, "i"); };
  require(accepts(check_all), "the index refuses its own tensors");
  tensors.back().name += '+';
  require(!accepts(check_all), "the index takes a tensor that it does not have");
}

}  // namespace switchyard::test
