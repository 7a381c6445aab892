#include "launch/path/config_file.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <string_view>

#include "core/error.h"
#include "launch/path/option_hints.h"

namespace switchyard {

namespace {

constexpr std::string_view blanks = " \t\r";

bool is_blank(char c) { return blanks.find(c) != std::string_view::npos; }

std::string_view trimmed(std::string_view text) {
  const size_t begin = std::min(text.find_first_not_of(blanks), text.size());
  text.remove_prefix(begin);
  return text.substr(0, text.find_last_not_of(blanks) + 1);
}

// Takes a value apart, word by word.
class ValueParser {
 public:
  ValueParser(std::string_view text, ConfigLine& line) : text_(text), line_(line) {}

  void parse() {
    for (;;) {
      while (at_ < text_.size() && is_blank(text_[at_])) ++at_;
      if (at_ == text_.size() || text_[at_] == '#') break;
      const char first = text_[at_];
      line_.words.push_back(first == '"' || first == '\'' ? quoted_word(first) : plain_word());
    }
    line_.text = std::string(trimmed(text_.substr(0, at_)));
  }

 private:
  // Whether a backslash stands here for the character behind it.
  bool escapes() const {
    return text_[at_] == '\\' && at_ + 1 < text_.size() &&
           std::string_view(" \t#'\"\\").find(text_[at_ + 1]) != std::string_view::npos;
  }
  char take() {
    if (escapes()) {
      line_.quoted = true;
      ++at_;
    }
    return text_[at_++];
  }
  std::string plain_word() {
    std::string word;
    while (at_ < text_.size() && !is_blank(text_[at_]) && text_[at_] != '#') word += take();
    return word;
  }
  std::string quoted_word(char quote) {
    line_.quoted = true;
    std::string word;
    for (++at_; at_ < text_.size() && text_[at_] != quote;) {
      word += quote == '"' ? take() : text_[at_++];
    }
    check(at_ < text_.size(), "options", "a quote {} without its end", quote);
    ++at_;
    check(at_ == text_.size() || is_blank(text_[at_]) || text_[at_] == '#', "options",
          "'{}' directly behind a quoted word; a blank is needed", text_[at_]);
    return word;
  }

  std::string_view text_;
  size_t at_ = 0;
  ConfigLine& line_;
};

// `body` with file and line added to its errors.
template <class Body>
auto at_line(const std::string& file, int line, Body body) {
  try {
    return body();
  } catch (const Error& error) {
    throw Error(fmt::format("{}, in line {} of --config {}", error.what(), line, file));
  }
}

ConfigLine parse_line(std::string_view text, int number) {
  ConfigLine line;
  line.number = number;
  const std::string_view body = trimmed(text);
  const size_t end = std::min(body.find_first_of(" \t\r=#"), body.size());
  line.name = std::string(body.substr(0, end));
  const std::string_view rest = trimmed(body.substr(end));
  if (rest.empty() || rest[0] == '#') return line;
  check(rest[0] == '=' && !line.name.empty(), "options",
        "'{}'; 'name = value' or the name of a flag is allowed", body);
  line.has_value = true;
  ValueParser(rest.substr(1), line).parse();
  return line;
}

// Nothing where no option has this name.
const OptionSpec* spec_of(std::span<const OptionSpec> specs, const std::string& name) {
  check(!name.starts_with('-'), "options", "'{}'; names stand without dashes here: {}", name,
        name.substr(std::min(name.find_first_not_of('-'), name.size())));
  check(name != "config" && name != "help" && name != "version", "options",
        "'{}' belongs on the command line; options of the command are allowed here", name);
  for (const OptionSpec& spec : specs) {
    if (name == long_name(spec) || name == short_name(spec)) return &spec;
  }
  return nullptr;
}

std::vector<std::string> values_of(const OptionSpec& spec, const ConfigLine& line) {
  if (!line.has_value) {
    check(spec.kind == OptionKind::flag, "options", "{} without a value; '{} = value' is allowed",
          line.name, line.name);
    return {"true"};
  }
  if (spec.kind == OptionKind::list) {
    check(!line.words.empty(), "options", "{} without values; one or more are allowed", line.name);
    return line.words;
  }
  if (line.words.size() <= 1) return {line.words.empty() ? "" : line.words[0]};
  check(!line.quoted, "options", "{} has {} values; one is allowed, between quotes", line.name,
        line.words.size());
  return {line.text};
}

}  // namespace

std::vector<ConfigLine> read_config_lines(const std::string& file) {
  std::ifstream stream(file);
  check(stream.good(), "options", "--config {}: the file cannot be read", file);
  std::vector<ConfigLine> lines;
  int number = 0;
  for (std::string text; std::getline(stream, text);) {
    ConfigLine line = at_line(file, ++number, [&] { return parse_line(text, number); });
    if (!line.name.empty()) lines.push_back(std::move(line));
  }
  check(stream.eof(), "options", "--config {}: the file cannot be read", file);
  return lines;
}

void read_config_file(const std::string& file, std::span<const OptionSpec> specs, Settings& to,
                      const OptionOwners& owners) {
  struct Given {
    const OptionSpec* spec;
    std::vector<std::string> values;
    int line;
    std::string typed;
  };
  std::map<std::string, Given> all;
  std::vector<std::string> unknown;
  for (const ConfigLine& line : read_config_lines(file)) {
    at_line(file, line.number, [&] {
      const OptionSpec* spec = spec_of(specs, line.name);
      if (spec == nullptr) {
        unknown.push_back(fmt::format("{}, in line {} of --config {}",
                                      unknown_option(line.name, specs, owners), line.number, file));
        return;
      }
      auto values = values_of(*spec, line);
      const auto [known, is_new] =
          all.try_emplace(long_name(*spec), Given{spec, {}, line.number, line.name});
      check(is_new || spec->kind == OptionKind::list, "options",
            "{} is given in line {} already; one value is allowed", line.name, known->second.line);
      auto& list = known->second.values;
      list.insert(list.end(), values.begin(), values.end());
    });
  }
  check(unknown.empty(), "options", "{}", fmt::join(unknown, "\n  "));
  for (auto& entry : all) {
    Given& given = entry.second;
    if (to.has(entry.first)) continue;
    at_line(file, given.line, [&] { to.set(*given.spec, std::move(given.values), given.typed); });
  }
}

}  // namespace switchyard
