#pragma once

#include <string>
#include <string_view>

#include "core/json.h"

// Texts of JSON that others wrote, read event by event: a reader overrides what it takes, and all
// else is refused.
namespace switchyard {

class StrictEvents : public JsonEvents {
 public:
  // `text` is what the text is to a user, "m.safetensors: the header". Throws Error where it is no
  // JSON.
  void read(std::string_view json, const std::string& text);

  bool null() override { return unexpected("null"); }
  bool boolean(bool value) override { return unexpected(value ? "true" : "false"); }
  bool number_integer(number_integer_t value) override { return unexpected(std::to_string(value)); }
  bool number_unsigned(number_unsigned_t value) override {
    return unexpected(std::to_string(value));
  }
  bool number_float(number_float_t, const string_t& digits) override;
  bool string(string_t&) override { return unexpected("a string"); }
  bool binary(binary_t&) override { return unexpected("bytes"); }
  bool start_object(size_t) override { return unexpected("an object"); }
  bool start_array(size_t) override { return unexpected("a list"); }
  bool key(string_t&) override { return unexpected("a name"); }
  bool end_object() override { return unexpected("an end"); }
  bool end_array() override { return unexpected("an end"); }
  bool parse_error(size_t position, const std::string&, const Json::exception&) override;

 protected:
  virtual bool unexpected(const std::string& what) = 0;  // throws Error

 private:
  std::string text_;
  size_t bytes_ = 0;
};

// A name of a tensor or file for an error's line: in quotes, control characters escaped, no longer
// than 100 bytes of it.
std::string in_quotes(std::string_view name);

}  // namespace switchyard
