#include "launch/path/companions.h"

#include <fmt/ranges.h>

#include <array>
#include <span>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "core/sha256.h"
#include "launch/path/fork_point.h"
#include "launch/path/path_state.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

constexpr std::array tokenizer_files = {"tokenizer.json",      "tokenizer_config.json",
                                        "tokenizer.model",     "tekken.json",
                                        "vocab.json",          "merges.txt",
                                        "vocab.txt",           "spiece.model",
                                        "added_tokens.json",   "special_tokens_map.json",
                                        "chat_template.jinja", "chat_template.json"};
constexpr std::array other_files = {"config.json", "generation_config.json"};

constexpr const char* foreign_prefix = "huggingface:";

std::vector<std::string> unlike_keys(const std::string& a, const std::string& b) {
  Json one = parse_json_or_discard(a), other = parse_json_or_discard(b);
  if (!one.is_object() || !other.is_object()) return {};
  for (const char* key :
       {"torch_dtype", "dtype", "transformers_version", "_name_or_path", "architectures"}) {
    one.erase(key);
    other.erase(key);
  }
  std::vector<std::string> keys;
  for (const auto& [key, value] : one.items()) {
    if (!other.contains(key) || other[key] != value) keys.push_back(key);
  }
  for (const auto& [key, value] : other.items()) {
    if (!one.contains(key)) keys.push_back(key);
  }
  return keys;
}

int copy_named(const fs::path& from, const fs::path& to, std::span<const char* const> names) {
  int copied = 0;
  for (const char* name : names) {
    std::error_code problem;
    if (!fs::is_regular_file(from / name, problem)) continue;
    write_file_atomically(to / name, read_file(from / name));
    ++copied;
  }
  return copied;
}

// What a run comes from.
fs::path origin_of(const RunFolder& run) {
  const auto path = run.read();
  if (path.kind == "average") {
    const CheckpointReader reader(run.checkpoint(std::nullopt).folder);
    return source_of_average(run, reader).run;
  }
  if (path.lineage.empty()) return {};
  return find_fork_point(run, path.lineage.back()).parent.folder();
}

}  // namespace

void copy_companions(const fs::path& from, const fs::path& to) {
  make_folder(to);
  copy_named(from, to, other_files);
  copy_tokenizer(from, to);
}

int copy_tokenizer(const fs::path& from, const fs::path& to) {
  return copy_named(from, to, tokenizer_files);
}

fs::path companions_of(const RunFolder& run) {
  constexpr int most = 1000;  // forks behind each other
  fs::path at = run.folder();
  for (int i = 0; i < most && !at.empty(); ++i) {
    std::error_code problem;
    if (fs::is_directory(at / companion_folder, problem)) return at / companion_folder;
    try {
      at = origin_of(RunFolder(at));
    } catch (const Error&) {  // a fork point may be gone
      return {};
    }
  }
  return {};
}

std::string tokenizer_of(const fs::path& folder) {
  for (const char* name : {"tokenizer.json", "tokenizer.model", "tekken.json", "vocab.json"}) {
    std::error_code problem;
    if (!fs::is_regular_file(folder / name, problem)) continue;
    return foreign_prefix + sha256_of_file(folder / name).substr(0, 16);
  }
  return "";
}

bool is_foreign_tokenizer(const std::string& name) { return name.starts_with(foreign_prefix); }

std::string unlike_companions(const fs::path& a, const fs::path& b) {
  std::vector<std::string> unlike;
  for (const char* name : tokenizer_files) {
    if (text_of(a, name) != text_of(b, name)) unlike.emplace_back(name);
  }
  const auto keys = unlike_keys(text_of(a, "config.json"), text_of(b, "config.json"));
  if (!keys.empty()) unlike.push_back(fmt::format("config.json ({})", fmt::join(keys, ", ")));
  return fmt::format("{}", fmt::join(unlike, ", "));
}

std::string text_of(const fs::path& folder, const char* file) {
  std::error_code problem;
  if (folder.empty() || !fs::is_regular_file(folder / file, problem)) return "";
  return read_file(folder / file);
}

}  // namespace switchyard
