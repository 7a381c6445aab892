#include <cstdio>
#include <optional>

#include "core/error.h"
#include "core/json.h"
#include "core/printable.h"
#include "core/text.h"
#include "data/progress.h"
#include "launch/path/resumable.h"
#include "launch/path/verify.h"
#include "parallel/checkpoint/state_groups.h"
#include "tools/command_support.h"
#include "tools/inspect_text.h"
#include "tools/tensor_tree.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

Json describe(const CheckpointReader& reader, const std::string& folder) {
  const auto& info = reader.info();
  Json all = {{"folder", folder},        {"format_version", info.format_version},
              {"id", info.id},           {"step", info.step},
              {"samples", info.samples}, {"loss", info.loss}};
  for (const auto& [name, text] : info.documents) {
    const auto parsed = parse_json_or_discard(text);
    all[name] = parsed.is_discarded() ? Json(text) : parsed;
  }
  // Averages used to repeat their last member's.
  const auto& path = all["specification"];
  if (path.is_object() && path.value("kind", "path") != "path") all["loss"] = nullptr;
  Json groups = Json::array();
  for (const StoredGroup& group : stored_groups(reader)) {
    groups.push_back({{"name", group.name},
                      {"dtype", std::string(name_of(group.dtype))},
                      {"tensors", group.tensors},
                      {"has_all_weights", group.has_all_weights}});
  }
  all["groups"] = std::move(groups);
  Json tensors = Json::array();
  for (const auto& t : reader.tensors()) {
    std::vector<int64_t> shape;
    shape.reserve(static_cast<size_t>(t.shape.rank()));
    for (int i = 0; i < t.shape.rank(); ++i) shape.push_back(t.shape[i]);
    tensors.push_back(
        {{"name", t.name}, {"shape", shape}, {"dtype", std::string(name_of(t.dtype))}});
  }
  all["tensors"] = std::move(tensors);
  return all;
}

// What is known of a path with or without a checkpoint.
void describe_path(const RunFolder& run, const PathSpecification& path, const PathState& state,
                   Json& all) {
  const int64_t step = all.value("step", state.step);
  all["run"] = run.folder().string();
  all["kind"] = path.kind;
  all["state"] = word_of(state, path);
  all["last_step"] = state.step;
  if (!all.contains("step")) {
    all["step"] = step;
    all["samples"] = path.samples_at(step);
    all["specification"] = parse_json(path.to_json());
    all["model"] = parse_json(path.model.to_json());
  }
  all["tokens"] = path.tokens_at(step);
  all["parameters"] = path.model.parameters();
  const bool is_trained = path.has_training_options();
  all["dtype"] = is_trained ? Json(std::string(name_of(path.dtype()))) : Json();
  all["learning_rate"] = is_trained ? Json(learning_rate(path.schedule, step)) : Json();
  all["saved_steps"] = state.saved;
  all["steps_without_moments"] =
      path.kind == "path" ? steps_without_moments(run) : std::vector<int64_t>();
  Json branches = Json::array();
  for (const auto& pin : pinned_branches(run)) {
    branches.push_back({{"step", pin.step}, {"branch", pin.branch}});
  }
  all["branches"] = std::move(branches);
}

// Checks every checksum and counts what was read.
Json verify(const CheckpointReader& reader, const fs::path& folder) {
  verify_with_progress(reader);
  const VerifiedFiles read = verified_files(reader, folder);
  return {{"files", read.files}, {"bytes", read.bytes}, {"tensors", read.tensors}};
}

void print_rows(const Rows& rows) {
  for (const auto& [label, lines] : rows) {
    for (size_t i = 0; i < lines.size(); ++i) {
      std::printf("%-12s %s\n", i == 0 ? label.c_str() : "", printable(lines[i]).c_str());
    }
  }
}

std::string shown(const std::string& name, const Json& value) {
  if (value.is_null()) return "none";
  if (!value.is_string()) return json_text(value, 2);
  const auto text = value.get<std::string>();
  if (name != "lineage") return printable(text);
  std::string lines;
  for (const auto line : split_at('\n', text)) lines += printable(line) + "\n";
  lines.pop_back();
  return lines;
}

void print_all(const Json& all) {
  for (const auto& [name, value] : all.items()) {
    if (name != "tensors") std::printf("%s: %s\n", name.c_str(), shown(name, value).c_str());
  }
  if (!all.contains("tensors")) return;
  std::printf("tensors:\n");
  for (const auto& t : all.at("tensors")) {
    std::printf("  %-60s %-16s %s\n", t.at("name").get<std::string>().c_str(),
                json_text(t.at("shape")).c_str(), t.at("dtype").get<std::string>().c_str());
  }
}

TensorTree measured_tree(const CheckpointReader& reader, const std::string& under) {
  const auto total = under.empty() ? std::optional(reader.bytes()) : std::nullopt;
  Progress progress(fmt::format("reading step {}", reader.info().step), total, true);
  return tensor_tree(reader, under, [&](int64_t bytes) { progress.add(bytes); });
}

void print_verified(const Json& verified) {
  std::printf("%-12s %lld files, %.1f MB, %lld tensors: every checksum holds\n", "verified",
              verified.at("files").get<long long>(), verified.at("bytes").get<double>() / 1e6,
              verified.at("tensors").get<long long>());
}

}  // namespace

int inspect_command(Arguments arguments) {
  const std::vector<OptionSpec> specs = {
      {"verify", OptionKind::flag, OptionGroup::run, "", "compare all checksums, too"},
      {"full", OptionKind::flag, OptionGroup::run, "", "everything, all tensors among it"},
      {"tree", OptionKind::flag, OptionGroup::run, "",
       "its tensors as a tree, with norm, min, max, NaNs and infinities"},
      {"under", OptionKind::text, OptionGroup::run, "",
       "of the tree: this group or tensor alone, such as /model/layers.3"},
      {"json", OptionKind::flag, OptionGroup::run, "", "print one JSON object"}};
  auto command = parse_or_help(specs, arguments, "inspect RUN[@STEP]");
  if (!command) return 0;
  const auto& given = command->given;
  const bool wants_tree = given.flag("tree");
  const std::string under = given.has("under") ? given.text("under") : "";
  check(wants_tree || under.empty(), "inspect", "--under {}; it is a part of what --tree shows",
        under);
  const auto reference = parse_run_reference(take_run(*command, "RUN[@STEP]"));
  const RunFolder run(reference.folder);
  const PathSpecification path = run.read();
  const PathState state = state_of(run, path);
  Json all = Json::object();
  std::optional<CheckpointReader> reader;
  std::optional<TensorTree> tree;
  if (!state.saved.empty() || reference.step || given.flag("verify") || wants_tree) {
    const auto entry = run.checkpoint(reference.step);
    reader.emplace(entry.folder);
    all = describe(*reader, entry.folder.string());
    if (given.flag("verify")) all["verified"] = verify(*reader, entry.folder);
    if (wants_tree) tree = measured_tree(*reader, under);
    if (tree) all["tree"] = to_json(*tree);
  }
  describe_path(run, path, state, all);
  if (given.flag("json")) {
    std::printf("%s\n", json_text_replacing(all).c_str());
  } else if (given.flag("full")) {
    print_all(all);
  } else if (tree) {
    for (const auto& line : to_lines(*tree)) std::printf("%s\n", line.c_str());
    if (all.contains("verified")) print_verified(all.at("verified"));
  } else {
    print_rows(summarize(run, path, state, reader ? &*reader : nullptr));
    if (all.contains("verified")) print_verified(all.at("verified"));
  }
  return 0;
}

}  // namespace switchyard
