#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace switchyard::test {

// TensorBoard's event files, read by the documents of their formats alone.
struct Event {
  double wall_time = 0;
  int64_t step = 0;
  std::string file_version;
  bool starts_session = false;
  std::map<std::string, float> scalars;
};

uint32_t crc32c(const std::string& bytes);  // not masked
uint32_t masked(uint32_t crc);              // as a TFRecord has it

// Up to the file's end or a record that is cut; a checksum or field that is wrong fails the test.
std::vector<Event> events_in(const std::filesystem::path& file);
std::vector<std::filesystem::path> event_files(const std::filesystem::path& folder);  // in order

// What is shown of a folder: steps and values by tag, those dropped that a later start made again.
using Curves = std::map<std::string, std::vector<std::pair<int64_t, float>>>;
Curves curves_of(const std::filesystem::path& folder);

}  // namespace switchyard::test
