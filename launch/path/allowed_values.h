#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace switchyard {

// Which values of its kind an option may have.
struct AllowedValues {
  std::string words = {};                  // as in "; WORDS is allowed"; empty: all of the kind
  std::vector<std::string> choices = {};   // all there are, where they are few
  bool open = false;                       // the choices are examples
  std::function<bool(double)> holds = {};  // of a number
  // What else to say of a refused value, behind "is allowed"; may be empty.
  std::function<std::string(const std::string& value)> hint = {};
};

AllowedValues at_least(double least);
AllowedValues above(double bound);
AllowedValues between(int64_t least, int64_t most);
AllowedValues numbers(std::string words, std::function<bool(double)> holds);
AllowedValues one_of(std::vector<std::string> choices);
AllowedValues such_as(std::vector<std::string> choices);  // for completions: others, too
AllowedValues with_hint(AllowedValues allowed, std::function<std::string(const std::string&)> hint);

// Whether a value, canonical text of the option's kind, is among them.
bool is_allowed(const AllowedValues& allowed, const std::string& value);

}  // namespace switchyard
