#include "tests/support/event_reader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>

namespace fs = std::filesystem;

namespace switchyard::test {

namespace {

template <class T>
T number_at(const std::string& bytes, size_t at) {
  T number{};
  std::memcpy(&number, bytes.data() + at, sizeof number);
  return number;
}

// A field of a message: the number of a varint, or the bytes of anything else.
struct Field {
  uint64_t number = 0;
  std::string bytes;
};

uint64_t take_varint(const std::string& bytes, size_t& at) {
  uint64_t value = 0;
  for (int shift = 0; at < bytes.size(); shift += 7) {
    const auto byte = static_cast<unsigned char>(bytes[at++]);
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  ADD_FAILURE() << "a varint is cut";
  return value;
}

// By the field's number and its wire type, as in "1:5".
std::multimap<std::string, Field> fields_of(const std::string& message) {
  std::multimap<std::string, Field> fields;
  for (size_t at = 0; at < message.size();) {
    const uint64_t key = take_varint(message, at), type = key % 8;
    Field field;
    if (type == 0 || type == 2) field.number = take_varint(message, at);
    const size_t size = type == 1 ? 8 : type == 5 ? 4 : type == 2 ? field.number : 0;
    EXPECT_LE(at + size, message.size());
    field.bytes = message.substr(at, size);
    at += size;
    fields.emplace(std::to_string(key / 8) + ":" + std::to_string(type), field);
  }
  return fields;
}

Event event_of(const std::string& message) {
  Event event;
  for (const auto& [name, field] : fields_of(message)) {
    if (name == "1:1") {
      event.wall_time = number_at<double>(field.bytes, 0);
    } else if (name == "2:0") {
      event.step = static_cast<int64_t>(field.number);
    } else if (name == "3:2") {
      event.file_version = field.bytes;
    } else if (name == "7:2") {
      event.starts_session = fields_of(field.bytes).find("1:0")->second.number == 1;
    } else if (name == "5:2") {
      for (const auto& value : fields_of(field.bytes)) {
        const auto parts = fields_of(value.second.bytes);
        const auto& tag = parts.find("1:2")->second.bytes;
        EXPECT_TRUE(
            event.scalars.emplace(tag, number_at<float>(parts.find("2:5")->second.bytes, 0)).second)
            << tag << " comes twice";
      }
    } else {
      ADD_FAILURE() << "field " << name;
    }
  }
  return event;
}

}  // namespace

uint32_t crc32c(const std::string& bytes) {
  uint32_t crc = ~0U;
  for (const char byte : bytes) {
    crc ^= static_cast<unsigned char>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc % 2 != 0 ? 0x82F63B78U : 0U);
  }
  return ~crc;
}

uint32_t masked(uint32_t crc) { return ((crc >> 15) | (crc << 17)) + 0xa282ead8U; }

std::vector<Event> events_in(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  const std::string all{std::istreambuf_iterator<char>(stream), {}};
  std::vector<Event> events;
  for (size_t at = 0; at + 16 <= all.size();) {
    const auto size = number_at<uint64_t>(all, at);
    EXPECT_EQ(number_at<uint32_t>(all, at + 8), masked(crc32c(all.substr(at, 8))));
    if (at + 16 + size > all.size()) break;
    const std::string data = all.substr(at + 12, size);
    EXPECT_EQ(number_at<uint32_t>(all, at + 12 + size), masked(crc32c(data)));
    events.push_back(event_of(data));
    at += 16 + size;
  }
  return events;
}

std::vector<fs::path> event_files(const fs::path& folder) {
  std::vector<fs::path> files;
  if (!fs::exists(folder)) return files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  std::ranges::sort(files);
  return files;
}

Curves curves_of(const fs::path& folder) {
  Curves curves;
  for (const auto& file : event_files(folder)) {
    for (const Event& event : events_in(file)) {
      if (event.starts_session) {
        for (auto& curve : curves) {
          std::erase_if(curve.second, [&](const auto& point) { return point.first >= event.step; });
        }
      }
      for (const auto& [tag, value] : event.scalars) curves[tag].emplace_back(event.step, value);
    }
  }
  return curves;
}

}  // namespace switchyard::test
