#include "data/json_text.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/error.h"

namespace switchyard {

namespace {

using nlohmann::json;

// Keeps one field of the outermost object; everything else is only checked, never built.
class FieldReader : public nlohmann::json_sax<json> {
 public:
  explicit FieldReader(const std::string& key) : key_(key) {}

  bool null() override { return other(); }
  bool boolean(bool) override { return other(); }
  bool number_integer(number_integer_t) override { return other(); }
  bool number_unsigned(number_unsigned_t) override { return other(); }
  bool number_float(number_float_t, const string_t&) override { return other(); }
  bool binary(binary_t&) override { return other(); }
  bool string(string_t& value) override {
    if (!std::exchange(wanted_, false)) return other();
    text = std::move(value);
    return true;
  }
  bool start_object(size_t) override { return open(true); }
  bool start_array(size_t) override { return open(false); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t& name) override {
    wanted_ = depth_ == 1 && name == key_;
    if (wanted_) ++found;
    return true;
  }
  bool parse_error(size_t, const std::string&, const json::exception& problem) override {
    error = problem.what();
    return false;
  }

  std::string text;
  int found = 0;
  bool is_string = true;
  bool is_object = true;
  std::string error;

 private:
  bool open(bool object) {
    other();
    if (depth_++ == 0) is_object = object;
    return true;
  }
  bool close() {
    --depth_;
    return true;
  }
  bool other() {
    if (std::exchange(wanted_, false)) is_string = false;
    if (depth_ == 0) is_object = false;
    return true;
  }

  const std::string& key_;
  int depth_ = 0;
  bool wanted_ = false;  // the next value is the field's
};

// The library's message without its name, its own count of lines, and the text read so far.
std::string shortened(const std::string& message) {
  const size_t column = message.find("column");
  const size_t begin = column == std::string::npos ? 0 : column;
  const size_t end = std::min(message.find("; last read", begin), begin + 200);
  return message.substr(begin, end - begin);
}

}  // namespace

std::string json_text(std::string_view line, const std::string& key, const std::string& file,
                      int64_t line_number) {
  FieldReader reader(key);
  const bool valid = json::sax_parse(line.data(), line.data() + line.size(), &reader);
  check(valid, "tokenize", "{} line {} is not valid JSON: {}", file, line_number,
        shortened(reader.error));
  check(reader.is_object, "tokenize", "{} line {} is not a JSON object", file, line_number);
  check(reader.found > 0, "tokenize", "{} line {} has no field '{}'", file, line_number, key);
  check(reader.found == 1, "tokenize", "{} line {} has the field '{}' {} times", file, line_number,
        key, reader.found);
  check(reader.is_string, "tokenize", "{} line {}: the field '{}' is not a string", file,
        line_number, key);
  return std::move(reader.text);
}

}  // namespace switchyard
