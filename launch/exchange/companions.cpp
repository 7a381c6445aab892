#include "launch/exchange/companions.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "core/error.h"
#include "core/files.h"
#include "launch/path/fork_point.h"
#include "launch/path/path_state.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

constexpr std::array tokenizer_files = {"tokenizer.json",
                                        "tokenizer_config.json",
                                        "tokenizer.model",
                                        "vocab.json",
                                        "merges.txt",
                                        "vocab.txt",
                                        "spiece.model",
                                        "added_tokens.json",
                                        "special_tokens_map.json",
                                        "chat_template.jinja",
                                        "chat_template.json"};
constexpr std::array other_files = {"config.json", "generation_config.json"};

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

std::string text_of(const fs::path& folder, const char* file) {
  std::error_code problem;
  if (folder.empty() || !fs::is_regular_file(folder / file, problem)) return "";
  return read_file(folder / file);
}

}  // namespace switchyard
