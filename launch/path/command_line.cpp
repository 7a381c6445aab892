#include "launch/path/command_line.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <fmt/ranges.h>

#include <algorithm>
#include <boost/program_options.hpp>
#include <cctype>
#include <sstream>

#include "core/error.h"
#include "launch/path/config_file.h"
#include "launch/path/option_hints.h"
#include "launch/path/options.h"

namespace po = boost::program_options;

namespace switchyard {

namespace {

// Short forms such as --tp are options of their own for the parser and are renamed afterwards.
void describe(const OptionSpec& spec, const std::string& name, po::options_description& to) {
  auto* value = po::value<std::vector<std::string>>();
  if (spec.kind == OptionKind::list) {
    value->multitoken();
  } else if (spec.kind == OptionKind::flag) {
    value->implicit_value({"true"}, "true");
    value->zero_tokens();
  }
  std::string help = spec.help;
  if (!spec.fallback.empty()) help += " (" + spec.fallback + ")";
  to.add_options()(name.c_str(), value->value_name("X"), help.c_str());
}

po::options_description description(std::span<const OptionSpec> specs) {
  po::options_description all;
  for (const auto& spec : specs) {
    describe(spec, long_name(spec), all);
    if (!short_name(spec).empty()) describe(spec, short_name(spec), all);
  }
  all.add_options()("config", po::value<std::vector<std::string>>(), config_help);
  all.add_options()("help", "this text");
  return all;
}

// What stood on the line of an option, in its order.
struct Occurrence {
  std::string typed;  // the long or the short name
  std::vector<std::string> values;
};

std::vector<Occurrence> occurrences_of(const OptionSpec& spec, std::span<const po::option> parsed) {
  std::vector<Occurrence> all;
  for (const auto& option : parsed) {
    const std::string& name = option.string_key;
    if (name.empty() || (name != long_name(spec) && name != short_name(spec))) continue;
    const bool alone = spec.kind == OptionKind::flag && option.value.empty();
    all.push_back({name, alone ? std::vector<std::string>{"true"} : option.value});
  }
  return all;
}

void store(std::span<const OptionSpec> specs, std::span<const po::option> parsed, Command& to) {
  for (const auto& spec : specs) {
    const auto given = occurrences_of(spec, parsed);
    std::vector<std::string> values;
    for (const Occurrence& one : given) {
      if (spec.adds_up) {
        values.insert(values.end(), one.values.begin(), one.values.end());
        continue;
      }
      to.given.set(spec, one.values, one.typed);  // the last one stays
      if (spec.kind == OptionKind::list && &one != &given.back())
        to.replaced.push_back({one.typed, one.values});
    }
    if (!values.empty()) to.given.set(spec, std::move(values), given.front().typed);
  }
}

std::vector<std::string> values_of(const std::string& name, std::span<const po::option> parsed) {
  std::vector<std::string> values;
  for (const auto& option : parsed) {
    if (option.string_key == name)
      values.insert(values.end(), option.value.begin(), option.value.end());
  }
  return values;
}

namespace style = po::command_line_style;
constexpr const char* positional = " positional";
constexpr int styles = style::allow_long | style::long_allow_next | style::long_allow_adjacent;

// The parser stops at the first unknown name; a script is told all of them, each in a line.
std::string unknown_names(const po::options_description& known,
                          std::span<const std::string> arguments, std::span<const OptionSpec> specs,
                          const OptionOwners& owners) {
  std::vector<std::string> lines;
  const auto parsed = po::command_line_parser({arguments.begin(), arguments.end()})
                          .options(known)
                          .style(styles)
                          .allow_unregistered()
                          .run();
  for (const auto& option : parsed.options) {
    if (!option.unregistered) continue;
    const std::string word = option.original_tokens.front();
    std::string name = word.substr(std::min(word.find_first_not_of('-'), word.size()));
    name.resize(std::min(name.find('='), name.size()));
    const std::string line = word.starts_with("---")
                                 ? fmt::format("'{}': an option begins with two dashes", word)
                                 : unknown_option(name, specs, owners);
    if (std::ranges::find(lines, line) == lines.end()) lines.push_back(line);
  }
  return fmt::format("{}", fmt::join(lines, "\n  "));
}

// Words such as -lr, which the parser takes for names or values.
void check_dashes(const Command& command, std::span<const OptionSpec> specs) {
  auto words = command.positional;
  for (const auto& [name, values] : command.given.all()) {
    if (values.size() > 1) words.insert(words.end(), values.begin() + 1, values.end());
  }
  for (const auto& word : words) {
    const bool is_dashed = word.size() > 1 && word[0] == '-' && std::isalpha(word[1]) != 0;
    if (!is_dashed || word == "-h") continue;
    const std::string name = word.substr(1, word.find('=') - 1);
    const bool known = std::ranges::any_of(specs, [&](const OptionSpec& spec) {
      return name == long_name(spec) || name == short_name(spec);
    });
    fail("options", "'{}': an option begins with two dashes; {}", word,
         known ? fmt::format("did you mean --{}?", name) : "see --help for what is allowed");
  }
}

std::vector<po::option> options_in(po::options_description known,
                                   std::span<const std::string> arguments) {
  known.add_options()(positional, po::value<std::vector<std::string>>());
  po::positional_options_description places;
  places.add(positional, -1);
  return po::command_line_parser({arguments.begin(), arguments.end()})
      .options(known)
      .positional(places)
      .style(styles)
      .run()
      .options;
}

}  // namespace

Command parse_command(std::span<const OptionSpec> specs, std::span<const std::string> arguments,
                      const OptionOwners& owners) {
  const auto all = description(specs);
  Command command;
  try {
    const auto parsed = options_in(all, arguments);
    command.positional = values_of(positional, parsed);
    command.help = std::ranges::count(parsed, "help", &po::option::string_key) > 0 ||
                   std::ranges::count(command.positional, "-h") > 0;
    store(specs, parsed, command);
    check_dashes(command, specs);
    for (const auto& file : values_of("config", parsed))
      read_config_file(file, specs, command.given, owners);
  } catch (const po::unknown_option&) {
    fail("options", "{}", unknown_names(all, arguments, specs, owners));
  } catch (const po::error& problem) {
    fail("options", "{}; see --help for what is allowed", problem.what());
  }
  return command;
}

namespace {

// Those that differ from what counts, the last one; as a number they may be written otherwise.
std::vector<std::string> values_lost(const OptionSpec& spec, std::span<const Occurrence> given) {
  Settings settings;
  const auto canonical = [&](const Occurrence& one) {
    settings.set(spec, one.values, one.typed);
    return settings.list(long_name(spec));
  };
  std::vector<std::string> lost;
  for (const Occurrence& one : given) {
    if (canonical(one) != canonical(given.back())) lost.push_back(show(one.values));
  }
  return lost;
}

}  // namespace

std::vector<std::string> describe_repetitions(std::span<const OptionSpec> specs,
                                              std::span<const std::string> arguments) {
  std::vector<std::string> said;
  const auto parsed = options_in(description(specs), arguments);
  for (const auto& spec : specs) {
    const auto given = occurrences_of(spec, parsed);
    if (spec.adds_up || given.size() < 2) continue;
    const auto lost = values_lost(spec, given);
    if (lost.empty()) continue;
    const std::string also =
        short_name(spec).empty() ? "" : fmt::format(" (--{})", short_name(spec));
    said.push_back(fmt::format("--{}{} given {} times: {} counts, not {}", long_name(spec), also,
                               given.size(), show(given.back().values), fmt::join(lost, ", ")));
  }
  return said;
}

namespace {

// Those of the terminal that is written to; 100 in a file or pipe.
unsigned help_columns() {
  winsize terminal{};
  const bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &terminal) == 0 && terminal.ws_col > 0;
  return known ? std::clamp<unsigned>(terminal.ws_col, 60, 120) : 100;
}

}  // namespace

std::string title_of(OptionGroup group) {
  switch (group) {
    case OptionGroup::model:
      return "The model (made with the path; a branch keeps it)";
    case OptionGroup::data:
      return "Data, batch and seed (made with the path; a branch may change them)";
    case OptionGroup::schedule:
      return "Learning rate (made with the path; a branch may change it)";
    case OptionGroup::optimizer:
      return "Optimizer (made with the path; a branch may change it)";
    case OptionGroup::precision:
      return "Precision (made with the path)";
    case OptionGroup::layout:
      return "Ranks and device (free at every start)";
    case OptionGroup::run:
      return "The run (free at every start)";
  }
  return "";
}

namespace {

// As a shell takes it, on several lines where it is long.
std::string folded_command(const std::string& command, size_t columns) {
  std::string text = "  ";
  size_t used = text.size();
  std::istringstream words(command);
  for (std::string word; words >> word;) {
    if (used > 2 && used + 3 + word.size() > columns) {
      text += " \\\n     ";
      used = 5;
    }
    text += (used > 2 ? " " : "") + word;
    used += word.size() + 1;
  }
  return text;
}

}  // namespace

std::string help_text(std::span<const OptionSpec> specs, const std::string& example) {
  using enum OptionGroup;
  std::ostringstream out;
  const unsigned columns = help_columns();
  const bool has_path_options =
      std::ranges::any_of(specs, [](const auto& spec) { return is_of_path(spec.group); });
  OptionGroup last = model;
  for (const auto& spec : specs) last = std::max(last, spec.group);
  for (const auto group : {model, data, schedule, optimizer, precision, layout, run}) {
    const std::string title = group == run && !has_path_options ? "Options" : title_of(group);
    po::options_description section(title, columns, columns * 3 / 5);
    for (const auto& spec : specs) {
      if (spec.group != group) continue;
      OptionSpec shown = spec;
      if (!short_name(spec).empty()) shown.help = "--" + short_name(spec) + ": " + spec.help;
      describe(shown, long_name(spec), section);
    }
    if (group == last) {
      section.add_options()("config", po::value<std::string>()->value_name("FILE"), config_help);
    }
    if (!section.options().empty()) out << section << '\n';
  }
  if (!example.empty()) out << "For example:\n" << folded_command(example, columns) << '\n';
  return out.str();
}

}  // namespace switchyard
