#include <filesystem>

#include "core/error.h"
#include "core/text.h"
#include "launch/exchange/export.h"
#include "launch/exchange/import.h"
#include "launch/path/run_folder.h"
#include "tools/command_support.h"

namespace switchyard {

namespace {

constexpr const char* import_only[] = {"step", "seq-length", "ignore-config-key"};
constexpr const char* export_only[] = {"weights", "architecture", "max-shard-size", "tokenizer"};

std::vector<OptionSpec> convert_options() {
  using enum OptionKind;
  const auto group = OptionGroup::run;
  return {
      {"from", text, group, "", "a Hugging Face folder, or RUN or RUN@STEP"},
      {"to", text, group, "", "the new run, or the new Hugging Face folder"},
      {.name = "dtype",
       .kind = text,
       .group = group,
       .help = "of the weights written (as they are)",
       .allowed = one_of({"f32", "bf16", "f16"})},
      {"weights", text, group, "", "export: the group of weights, as inspect lists them (model)"},
      {.name = "architecture",
       .kind = text,
       .group = group,
       .help = "export: as which architecture (that which it came from, or the first that fits)",
       .allowed = one_of(architecture_names())},
      {"max-shard-size", text, group, "", "export: of a file, such as 5GB or 500MB (5GB)"},
      {"tokenizer", text, group, "",
       "export: a folder whose tokenizer's files go along (the imported model's)"},
      {.name = "step",
       .kind = integer,
       .group = group,
       .help = "import: the step that the weights are of; others are added to the same run (0)",
       .allowed = at_least(0)},
      {.name = "seq-length",
       .kind = integer,
       .group = group,
       .help = "import: of windows where none is said (the model's positions, at most 4096)",
       .allowed = at_least(1)},
      {.name = "ignore-config-key",
       .kind = list,
       .help = "import: keys of config.json that are not known and say nothing of the computation",
       .adds_up = true},
      {.name = "memory",
       .kind = integer,
       .group = group,
       .help = "MiB for weights at hand (256, or a layer in fp32)",
       .allowed = between(1, int64_t{1} << 31)},
      {"skip-comparison", flag, group, "", "logits of both sides are not compared"}};
}

// "5GB" as bytes; units of 1000, or with an i of 1024.
int64_t parse_size(const std::string& text) {
  static const std::pair<const char*, double> units[] = {
      {"KB", 1e3},     {"MB", 1e6},     {"GB", 1e9},     {"TB", 1e12},
      {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40}};
  double factor = 1;
  std::string_view digits = text;
  for (const auto& [unit, size] : units) {
    if (!digits.ends_with(unit)) continue;
    factor = size;
    digits.remove_suffix(std::string_view(unit).size());
    break;
  }
  const auto number = parse_number<double>(digits);
  check(number && *number > 0 && *number * factor >= 1 && *number * factor < 0x1p62, "convert",
        "--max-shard-size {}; such as 5GB, 500MB or 2GiB is allowed", text);
  return static_cast<int64_t>(*number * factor);
}

std::optional<DType> dtype_of(const Settings& s) {
  if (!s.has("dtype")) return std::nullopt;
  return dtype_named(s.text("dtype"));
}

void refuse(const Settings& s, std::span<const char* const> names, const char* what) {
  for (const char* name : names) {
    check(!s.has(name), "convert", "--{} {}; it is allowed for {}", name,
          s.has(name) ? show(s.list(name)) : "", what);
  }
}

void import_with(const Settings& s) {
  refuse(s, export_only, "an export: --from RUN --to FOLDER");
  ImportRequest request;
  request.from = s.text("from");
  request.to = s.text("to");
  if (s.has("step")) request.step = s.integer("step");
  request.dtype = dtype_of(s);
  if (s.has("ignore-config-key")) request.ignored_keys = s.list("ignore-config-key");
  if (s.has("seq-length")) request.sequence_length = s.integer("seq-length");
  if (s.has("memory")) request.memory_bytes = s.integer("memory") << 20;
  request.compares = !s.flag("skip-comparison");
  import_model(request);
}

void export_with(const Settings& s) {
  refuse(s, import_only, "an import: --from FOLDER --to RUN");
  ExportRequest request;
  request.from = s.text("from");
  request.to = s.text("to");
  if (s.has("weights")) request.weights = s.text("weights");
  request.dtype = dtype_of(s);
  if (s.has("architecture")) request.architecture = architecture_named(s.text("architecture"));
  if (s.has("tokenizer")) request.tokenizer = s.text("tokenizer");
  if (s.has("max-shard-size")) request.max_shard_bytes = parse_size(s.text("max-shard-size"));
  if (s.has("memory")) request.memory_bytes = s.integer("memory") << 20;
  request.compares = !s.flag("skip-comparison");
  export_model(request);
}

}  // namespace

int convert_command(Arguments arguments) {
  const auto specs = convert_options();
  auto command = parse_or_help(specs, arguments,
                               "convert --from HF_FOLDER --to RUN | convert --from RUN[@STEP] --to "
                               "HF_FOLDER");
  if (!command) return 0;
  check(command->positional.empty(), "options",
        "'{}' was given; folders belong behind --from and --to",
        command->positional.empty() ? "" : command->positional.front());
  const Settings& s = command->given;
  for (const char* name : {"from", "to"}) {
    check(s.has(name) && !s.text(name).empty(), "convert", "--{} is missing", name);
  }
  const std::filesystem::path from = s.text("from");
  std::error_code problem;
  if (RunFolder(parse_run_reference(from.string()).folder).exists()) {
    export_with(s);
  } else if (std::filesystem::exists(from / "config.json", problem)) {
    import_with(s);
  } else {
    fail("convert",
         "--from {} has neither config.json nor path.json; a Hugging Face folder, or RUN[@STEP], "
         "is allowed",
         from.string());
  }
  return 0;
}

}  // namespace switchyard
