#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "launch/path/allowed_values.h"

namespace switchyard {

enum class OptionKind : uint8_t { integer, real, text, flag, list };

// What an option belongs to. Those up to precision make the path: written once, never changed. The
// others are free at every start.
enum class OptionGroup : uint8_t { model, data, schedule, optimizer, precision, layout, run };
inline bool is_of_path(OptionGroup group) { return group <= OptionGroup::precision; }

// What `fork` may do with an option of a path.
enum class OnFork : uint8_t {
  changes,    // may be given anew
  keeps,      // as the parent has it: names, shapes and dtypes of its tensors
  with_data,  // changes only with a --data-path of the branch's own
  never,      // for new paths alone
};

// All that is known of an option; the parser, --help, --config, path.json, a start's comparison
// with the path, fork, docs/options.md, man page and completions follow from it.
struct OptionSpec {
  std::string name;  // without dashes; "tensor-model-parallel-size,tp" gives a short form
  OptionKind kind = OptionKind::text;
  OptionGroup group = OptionGroup::run;
  std::string fallback = {};  // used when not given; empty: none
  std::string help = {};
  AllowedValues allowed = {};
  OnFork fork = OnFork::changes;
  std::string megatron = {};  // Megatron-LM's name where it is another; "-": it has none
  bool remembered = false;    // of a run: stays from start to start until it is given anew
  bool adds_up = false;       // of a list: given again it adds its values, which stand alone each
  std::string long_name() const { return name.substr(0, name.find(',')); }
};

std::string long_name(const OptionSpec& spec);
std::string short_name(const OptionSpec& spec);  // empty: none

// Values by option name, as canonical text: a number reads back to the same bits.
class Settings {
 public:
  bool has(const std::string& name) const { return values_.contains(name); }
  // Throw Error when the option is absent, naming it.
  int64_t integer(const std::string& name) const;
  double real(const std::string& name) const;
  const std::string& text(const std::string& name) const;
  const std::vector<std::string>& list(const std::string& name) const;
  bool flag(const std::string& name) const;  // false when absent

  // Throws Error naming option (as it was typed, where that is given) and value for text that is
  // not of this kind or not allowed.
  void set(const OptionSpec& spec, std::vector<std::string> values, std::string_view typed = {});
  void set_text(const std::string& name, std::string value) { values_[name] = {std::move(value)}; }
  void erase(const std::string& name) { values_.erase(name); }
  const std::map<std::string, std::vector<std::string>>& all() const { return values_; }
  friend bool operator==(const Settings&, const Settings&) = default;

 private:
  std::map<std::string, std::vector<std::string>> values_;
};

std::string canonical_real(double value);  // the shortest text that reads back to the same bits

struct Command {
  Settings given;                       // only what was said, on the line or in --config
  std::vector<std::string> positional;  // RUN and the like
  // Lists with all their words, "--data-path A", that count no more, as the option came again.
  struct Replaced {
    std::string option{};
    std::vector<std::string> values{};
  };
  std::vector<Replaced> replaced{};
  bool help = false;
};

// For messages: which other commands have an option of this name, such as "is an option of train";
// empty when none has.
using OptionOwners = std::function<std::string(const std::string& name)>;

// Parses a command line (without program and subcommand) with Boost.Program_options. --config FILE
// adds lines of a file (config_file.h), which the command line overrides. The last of an option's
// values counts (command_line.h); abbreviations and unknown options are refused with Error. What an
// option with several values has swallowed of positional arguments, take_names() gives back.
Command parse_command(std::span<const OptionSpec> specs, std::span<const std::string> arguments,
                      const OptionOwners& owners = {});

// The `count` positional arguments `what`: those given, then what an option with several values
// has swallowed behind a complete list of its own (one path, or weight and path pairs; behind more
// paths only what is missing). Throws Error when there are fewer or more; what a list has swallowed
// that counts no more may be one, but who knows: the error says so.
std::vector<std::string> take_names(Command& command, size_t count, const std::string& what);
std::string take_run(Command& command, const std::string& what);  // one name

// Of --config, which the parser adds to every table as it does --help.
inline constexpr const char* config_help =
    "read options from a file of lines 'name = value'; a flag stands alone";

std::string help_text(std::span<const OptionSpec> specs, const std::string& example = "");
std::string title_of(OptionGroup group);  // a heading for its options

// Values as a shell takes them.
std::string show(const std::vector<std::string>& values);

// The tables. A command's own options are added to one of these.
std::vector<OptionSpec> model_options();
std::vector<OptionSpec> training_options();  // data, schedule, optimizer, precision
std::vector<OptionSpec> path_options();      // the two above: all that a path is made of
std::vector<OptionSpec> layout_options();    // the part of run_options that eval shares
std::vector<OptionSpec> run_options();
Settings with_fallbacks(std::span<const OptionSpec> specs, Settings given);

}  // namespace switchyard
