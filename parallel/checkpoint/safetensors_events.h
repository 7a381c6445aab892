#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "parallel/checkpoint/safetensors.h"
#include "parallel/checkpoint/strict_json.h"

namespace switchyard {

// Reads a header's JSON. Its tensors have the bytes that their dtypes and shapes say; their offsets
// count from the end of the header, in no order, and may be anything that is not negative.
class SafetensorsEvents : public StrictEvents {
 public:
  explicit SafetensorsEvents(std::string file) : file_(std::move(file)) {}
  SafetensorsHeader header;

  bool number_unsigned(number_unsigned_t value) override;
  bool string(string_t& value) override;
  bool start_object(size_t) override;
  bool start_array(size_t) override;
  bool key(string_t& name) override;
  bool end_object() override;
  bool end_array() override;

 protected:
  bool unexpected(const std::string& what) override;

 private:
  // What the next event is about.
  enum class Place : uint8_t {
    header,
    name,
    metadata,
    metadata_key,
    metadata_text,
    tensor,
    field,
    dtype,
    shape,
    axis,
    offsets,
    offset,
  };
  std::string place_text() const;  // "the shape of tensor "a""
  void begin_name(const std::string& name);
  void begin_field(const std::string& field);
  void end_tensor();

  std::string file_;
  Place place_ = Place::header;
  std::unordered_set<std::string> names_;
  std::string metadata_key_;
  SafetensorsEntry tensor_;       // that is read
  std::vector<int64_t> offsets_;  // of it
  unsigned fields_ = 0;           // of it that were read: a bit each
};

}  // namespace switchyard
