#include <algorithm>
#include <cstdio>

#include "core/error.h"
#include "core/json.h"
#include "core/printable.h"
#include "launch/path/average_members.h"
#include "launch/path/path_tree.h"
#include "tools/command_support.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

std::string name_below(const fs::path& folder, const fs::path& root) {
  const std::string name = folder.lexically_relative(root).string();
  return name == "." ? folder.string() : name;
}

bool is_average(const ListedPath& p) { return p.path && p.path->kind == "average"; }

std::string row_name(const ListedPath& p, const fs::path& root) {
  std::string name(static_cast<size_t>(2 * p.depth), ' ');
  if (p.depth > 0 && !is_average(p)) name += fmt::format("@{} ", p.origin_steps.front());
  return name + printable(name_below(p.folder, root));
}

// What the tree does not show: the steps of an average, and a parent that lies elsewhere.
std::string origin_of(const ListedPath& p) {
  if (p.origin.empty()) return "";
  if (is_average(p)) {
    std::string text =
        fmt::format("of {}{}", p.parent ? "" : p.origin + " at ", show_steps(p.origin_steps));
    for (const auto& other : p.origin_others) text += " and " + other;
    return text;
  }
  return p.parent ? "" : fmt::format("from {}@{}", p.origin, p.origin_steps.front());
}

void print_row(const ListedPath& p, const fs::path& root, int width) {
  const std::string name = row_name(p, root);
  if (!p.problem.empty()) {
    std::printf("%-*s  %s\n", width, name.c_str(), printable(p.problem).c_str());
    return;
  }
  const std::string loss = p.state.loss ? fmt::format("loss {:.4f}", *p.state.loss) : "";
  std::string row = fmt::format("{:<{}}  step {:<7}  {:<11}  {:<8}  {}", name, width, p.state.step,
                                loss, word_of(p.state, *p.path), printable(origin_of(p)));
  row.erase(row.find_last_not_of(' ') + 1);
  std::printf("%s\n", row.c_str());
  for (const UnreadableStep& step : p.state.unreadable)
    std::printf("%*s  %s\n", width, "", printable(describe(step)).c_str());
}

Json row_json(const ListedPath& p, const std::vector<ListedPath>& all) {
  Json row = {{"folder", p.folder.string()}};
  if (!p.problem.empty()) {
    row["problem"] = p.problem;
    return row;
  }
  row["kind"] = p.path->kind;
  row["state"] = word_of(p.state, *p.path);
  row["step"] = p.state.step;
  row["loss"] = p.state.loss ? Json(*p.state.loss) : Json(nullptr);
  row["saved_steps"] = p.state.saved;
  for (const UnreadableStep& step : p.state.unreadable)
    row["unreadable_steps"].push_back({{"step", step.step}, {"problem", step.problem}});
  if (!p.origin.empty()) {
    row["origin"] = p.origin;
    row["origin_steps"] = p.origin_steps;
    if (!p.origin_others.empty()) row["origin_others"] = p.origin_others;
  }
  row["parent"] = p.parent ? Json(all[*p.parent].folder.string()) : Json(nullptr);
  return row;
}

// The others are listed, too, when one is damaged.
int exit_code(const std::vector<ListedPath>& all) {
  const bool damaged = std::ranges::find(all, ExitCode::storage, &ListedPath::code) != all.end();
  return static_cast<int>(damaged ? ExitCode::storage : ExitCode::reached);
}

}  // namespace

int list_command(Arguments arguments) {
  const std::vector<OptionSpec> specs = {
      {"json", OptionKind::flag, OptionGroup::run, "", "print one JSON array"}};
  auto command = parse_or_help(specs, arguments, "list FOLDER");
  if (!command) return 0;
  const fs::path root = take_run(*command, "FOLDER");
  const auto all = list_paths(root);
  if (command->given.flag("json")) {
    Json rows = Json::array();
    for (const auto& each : all) rows.push_back(row_json(each, all));
    std::printf("%s\n", json_text_replacing(rows).c_str());
    return exit_code(all);
  }
  size_t width = 0;
  for (const auto& each : all) width = std::max(width, row_name(each, root).size());
  for (const auto& each : all) print_row(each, root, static_cast<int>(width));
  if (all.empty()) std::printf("no path in or below '%s'\n", printable(root.string()).c_str());
  return exit_code(all);
}

}  // namespace switchyard
