#include "launch/path/given_alike.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/text.h"
#include "parallel/comm/control_plane.h"

namespace switchyard {

namespace {

// No text that a shell hands on has these by chance.
constexpr char between_fields = '\x1e', behind_name = '\x1f';

using Given = std::map<std::string, std::string>;

Given given_of(std::string_view text) {
  Given given;
  for (const auto field : split_at(between_fields, text)) {
    const size_t end = field.find(behind_name);
    if (end != std::string_view::npos) given.emplace(field.substr(0, end), field.substr(end + 1));
  }
  return given;
}

std::string host_of(std::string_view text) {
  return std::string(text.substr(0, text.find(between_fields)));
}

std::string_view said_of(std::string_view text) {
  return text.substr(std::min(text.find(between_fields), text.size()));
}

std::string value_of(const Given& given, const std::string& name) {
  const auto found = given.find(name);
  return found == given.end() ? "not given" : found->second;
}

// The first name, of either side, whose value is not that of the other.
std::string name_that_differs(const Given& one, const Given& other) {
  std::vector<std::string> names;
  for (const Given* given : {&one, &other})
    for (const auto& [name, value] : *given)
      if (value_of(one, name) != value_of(other, name)) names.push_back(name);
  const auto first = std::ranges::min_element(names);
  return first == names.end() ? "" : *first;
}

// A machine may have its copy of a set in a place of its own; sets are known by what is in them
// (path.json). The weights of a blend stay.
std::vector<std::string> without_places(const std::string& name, std::vector<std::string> values) {
  const bool names_sets = name == "data-path" || name == "valid-data-path";
  const size_t first = values.size() > 1 ? 1 : 0, each = values.size() > 1 ? 2 : 1;
  for (size_t i = first; names_sets && i < values.size(); i += each) values[i] = "SET";
  return values;
}

}  // namespace

std::string text_of_given(const std::string& host, const std::string& subcommand,
                          const Command& command, Device device) {
  Given given{{" subcommand", subcommand}, {"--device", std::string(name_of(device))}};
  if (!command.positional.empty()) given.emplace(" what is named", show(command.positional));
  for (const auto& [name, values] : command.given.all())
    if (name != "interface") given.emplace("--" + name, show(without_places(name, values)));
  std::string text = host;
  for (const auto& [name, value] : given)
    text += fmt::format("{}{}{}{}", between_fields, name, behind_name, value);
  return text;
}

std::string first_difference(std::span<const std::string> texts) {
  const auto speaks = [](const std::string& text) { return !text.empty(); };
  const auto first = std::ranges::find_if(texts, speaks);
  const auto other = std::find_if(first, texts.end(), [&](const std::string& text) {
    return speaks(text) && said_of(text) != said_of(*first);
  });
  if (other == texts.end()) return "";
  const Given expected = given_of(*first), found = given_of(*other);
  const std::string name = name_that_differs(expected, found);
  return fmt::format(
      "{} is {} on {} (rank {}), but {} on {} (rank {}); all ranks need to be given the same",
      name.substr(name.find_first_not_of(' ')), value_of(found, name), host_of(*other),
      other - texts.begin(), value_of(expected, name), host_of(*first), first - texts.begin());
}

void agree_on_given(ControlPlane& control, const std::string& mine,
                    const std::exception_ptr& problem) {
  const auto texts = control.gather(mine, "what ranks were given");
  control.agree([&] {
    if (problem) std::rethrow_exception(problem);
    const std::string difference = first_difference(texts);  // on rank 0
    if (!difference.empty()) throw Error(fmt::format("[options] {}", difference), ExitCode::usage);
  });
}

}  // namespace switchyard
