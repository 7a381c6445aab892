#include <cstdio>
#include <nlohmann/json.hpp>

#include "launch/run_folder.h"
#include "tools/command_support.h"

namespace switchyard {

namespace {

using nlohmann::ordered_json;

ordered_json describe(const CheckpointReader& reader, const std::string& folder) {
  const auto& info = reader.info();
  ordered_json all = {{"folder", folder},        {"format_version", info.format_version},
                      {"id", info.id},           {"step", info.step},
                      {"samples", info.samples}, {"loss", info.loss}};
  for (const auto& [name, text] : info.documents) {
    const auto parsed = ordered_json::parse(text, nullptr, false);
    all[name] = parsed.is_discarded() ? ordered_json(text) : parsed;
  }
  // Averages used to repeat their last member's.
  const auto& path = all["specification"];
  if (path.is_object() && path.value("kind", "") == "average") all["loss"] = nullptr;
  ordered_json tensors = ordered_json::array();
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

void print(const ordered_json& all) {
  for (const auto& [name, value] : all.items()) {
    if (name == "tensors") continue;
    const std::string text = value.is_null() ? "none" : value.dump(2);
    std::printf("%s: %s\n", name.c_str(),
                value.is_string() ? value.get<std::string>().c_str() : text.c_str());
  }
  std::printf("tensors:\n");
  for (const auto& t : all.at("tensors")) {
    std::printf("  %-60s %-16s %s\n", t.at("name").get<std::string>().c_str(),
                t.at("shape").dump().c_str(), t.at("dtype").get<std::string>().c_str());
  }
}

}  // namespace

int inspect_command(Arguments arguments) {
  const std::vector<OptionSpec> specs = {
      {"verify", OptionKind::flag, OptionGroup::run, "", "compare all checksums, too"},
      {"json", OptionKind::flag, OptionGroup::run, "", "print one JSON object"}};
  auto command = parse_or_help(specs, arguments, "inspect RUN[@STEP]");
  if (!command) return 0;
  const auto reference = parse_run_reference(take_run(*command, "RUN[@STEP]"));
  const auto entry = RunFolder(reference.folder).checkpoint(reference.step);
  const CheckpointReader reader(entry.folder);
  if (command->given.flag("verify")) reader.verify();
  const auto all = describe(reader, entry.folder.string());
  if (command->given.flag("json")) {
    std::printf("%s\n", all.dump().c_str());
  } else {
    print(all);
  }
  return 0;
}

}  // namespace switchyard
