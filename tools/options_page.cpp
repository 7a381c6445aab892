#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "tools/documentation.h"

namespace switchyard {

namespace {

constexpr const char* introduction = R"(# Options

Written by the program itself (`switchyard documentation options`) from the tables that its parser,
`path.json`, `fork` and the completions follow. Every option may also stand in a file of lines
`name = value`, given with `--config FILE`; what is on the command line goes before it, and of
several files the first that has an option. Of an option that stands on the command line more than
once the last counts, with all values that it takes, as with Megatron-LM, and a line says so where
they differ; those marked "added", whose values stand each for itself, are put together. A file
gives an option with one value once; lines of one that takes several are put together.

Names are Megatron-LM's where it has the option; the second column says where that is otherwise
("none": an option of this program alone). A branch takes over what its parent has; the column
"branch" says what `fork` may do with an option: *free* (may be given anew), *kept* (the names,
shapes and types of tensors follow from it), *with data* (only beside a `--data-path` of the
branch's own), *new* (for new paths alone).
)";

constexpr auto all_groups = {OptionGroup::model,     OptionGroup::data,      OptionGroup::schedule,
                             OptionGroup::optimizer, OptionGroup::precision, OptionGroup::layout,
                             OptionGroup::run};

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

std::string name_cell(const OptionSpec& spec) {
  std::string cell = fmt::format("`--{}`", long_name(spec));
  if (!short_name(spec).empty()) cell += fmt::format(", `--{}`", short_name(spec));
  return cell;
}

std::string megatron_cell(const OptionSpec& spec) {
  if (spec.megatron.empty()) return "the same";
  return spec.megatron == "-" ? "none" : fmt::format("`--{}`", spec.megatron);
}

std::string values_cell(const OptionSpec& spec) {
  const std::string& words = spec.allowed.words;
  switch (spec.kind) {
    case OptionKind::integer:
      return fmt::format("whole number{}{}", words.empty() ? "" : ", ", words);
    case OptionKind::real:
      return fmt::format("number{}{}", words.empty() ? "" : ", ", words);
    case OptionKind::text:
      if (spec.allowed.choices.size() > 4) return "a name";
      return words.empty() ? "text" : words;
    case OptionKind::flag:
      return "flag";
    case OptionKind::list:
      return spec.adds_up ? "one or several, added" : "one or several";
  }
  return "";
}

const char* branch_cell(OnFork fork) {
  switch (fork) {
    case OnFork::changes:
      return "free";
    case OnFork::keeps:
      return "kept";
    case OnFork::with_data:
      return "with data";
    case OnFork::never:
      return "new";
  }
  return "";
}

std::string shared_table(OptionGroup group, const std::vector<OptionSpec>& all) {
  const bool of_path = is_of_path(group);
  std::string text = fmt::format(
      "\n## {}\n\n| option | Megatron-LM | values | default |{} |\n"
      "|---|---|---|---|---|{}\n",
      title_of(group), of_path ? " branch |" : "", of_path ? "---|" : "");
  for (const OptionSpec& spec : all) {
    if (spec.group != group) continue;
    text += fmt::format("| {} | {} | {} | {} |{} {} |\n", name_cell(spec), megatron_cell(spec),
                        escaped(values_cell(spec)), spec.fallback,
                        of_path ? fmt::format(" {} |", branch_cell(spec.fork)) : "",
                        escaped(spec.help));
  }
  return text;
}

// The groups of which a command takes every option.
std::vector<OptionGroup> whole_groups(const CommandForm& form,
                                      const std::vector<OptionSpec>& shared) {
  const auto takes = [&](const OptionSpec& spec) {
    return std::ranges::count(form.options, spec.name, &OptionSpec::name) > 0;
  };
  std::vector<OptionGroup> groups;
  for (const OptionGroup group : all_groups) {
    const bool whole = std::ranges::all_of(
        shared, [&](const OptionSpec& spec) { return spec.group != group || takes(spec); });
    if (whole) groups.push_back(group);
  }
  return groups;
}

// The groups of which a command takes options, and its own ones.
std::string command_section(const CommandForm& form, const std::vector<OptionSpec>& shared) {
  const auto groups = whole_groups(form, shared);
  const auto is_shared = [&](const OptionSpec& spec) {
    const auto same = std::ranges::find(shared, spec.name, &OptionSpec::name);
    return same != shared.end() && std::ranges::count(groups, same->group) > 0;
  };
  std::vector<std::string> titles;
  for (const OptionGroup group : groups) {
    const std::string title = title_of(group);
    titles.push_back(title.substr(0, title.find(" (")));
  }
  std::string own;
  for (const OptionSpec& spec : form.options) {
    if (is_shared(spec) || spec.name == "config" || spec.name == "help") continue;
    own += fmt::format("| {} | {} | {} | {} |\n", name_cell(spec), escaped(values_cell(spec)),
                       spec.fallback, escaped(spec.help));
  }
  std::string text = fmt::format("\n### {}\n\n    switchyard {}\n\n", form.name, form.usage);
  if (!form.example.empty()) text += fmt::format("For example `{}`.\n", form.example);
  if (!titles.empty()) text += fmt::format("Takes options of: {}.\n", fmt::join(titles, "; "));
  if (!own.empty()) text += "\n| option | values | default | |\n|---|---|---|---|\n" + own;
  return text;
}

}  // namespace

std::string options_page(std::span<const CommandForm> forms) {
  std::vector<OptionSpec> shared = path_options();
  const auto of_runs = run_options();
  shared.insert(shared.end(), of_runs.begin(), of_runs.end());
  std::string page = introduction;
  for (const auto group : all_groups) {
    page += shared_table(group, shared);
  }
  page += "\n## Subcommands\n";
  for (const CommandForm& form : forms) page += command_section(form, shared);
  return page;
}

}  // namespace switchyard
