#include <algorithm>
#include <unordered_map>
#include <utility>

#include "core/error.h"
#include "core/mapped_file.h"
#include "parallel/checkpoint/safetensors.h"
#include "parallel/checkpoint/safetensors_index.h"
#include "parallel/checkpoint/strict_json.h"

namespace switchyard {

namespace fs = std::filesystem;

namespace {

constexpr const char* where = "safetensors";
constexpr int64_t largest_index = 100'000'000;

// Whether the folder has it; a symbolic link, as in a hub's cache, must lead to a file.
bool has(const fs::path& folder, const std::string& name) {
  const fs::path file = folder / name;
  std::error_code problem;
  if (!fs::exists(fs::symlink_status(file, problem))) return false;
  const fs::file_status target = fs::status(file, problem);
  if (!fs::exists(target)) {
    fail(where, "{} is a symbolic link to {}, which is not there", file.string(),
         fs::read_symlink(file, problem).string());
  }
  check(fs::is_regular_file(target), where, "{} is not a regular file", file.string());
  return true;
}

MappedFile map(const fs::path& file) {
  return {file.string(), where, "a safetensors file is needed"};
}

bool is_pickle(const std::string& name) {
  const std::string extension = fs::path(name).extension();
  return extension == ".bin" || extension == ".pt" || extension == ".pth" || extension == ".ckpt" ||
         name == "pytorch_model.bin.index.json";
}

// Why a folder without the two names has no weights for us.
[[noreturn]] void refuse(const fs::path& folder) {
  std::vector<std::string> pickles;
  std::vector<std::string> others;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename();
    if (is_pickle(name)) pickles.push_back(name);
    if (entry.path().extension() == ".safetensors") others.push_back(name);
  }
  const auto first = [](const std::vector<std::string>& names) {
    return *std::ranges::min_element(names);
  };
  if (!others.empty()) {
    fail(where, "{} has {}, but neither {} nor {}", folder.string(), first(others),
         single_file_name, index_name);
  }
  if (!pickles.empty()) {
    fail(where,
         "{} has its weights in {}, a pickle, which can run any code and is not read; load it with "
         "transformers and write it by save_pretrained(..., safe_serialization=True)",
         folder.string(), first(pickles));
  }
  fail(where, "{} has neither {} nor {}", folder.string(), single_file_name, index_name);
}

void check_folder(const fs::path& folder) {
  std::error_code problem;
  const fs::file_status status = fs::status(folder, problem);
  check(fs::exists(status), where, "the folder {} is not there", folder.string());
  check(fs::is_directory(status), where, "{} is not a folder; give the folder that has {}",
        folder.string(), single_file_name);
}

SafetensorsIndex read_index(const fs::path& folder) {
  const MappedFile file = map(folder / index_name);
  check(file.size() <= largest_index, where, "{} has {} bytes; at most {} are allowed", file.path(),
        file.size(), largest_index);
  const std::string_view text(reinterpret_cast<const char*>(file.data()),
                              static_cast<size_t>(file.size()));
  SafetensorsIndex index = parse_safetensors_index(text, file.path());
  const bool both = has(folder, single_file_name) &&
                    std::ranges::find(index.files, single_file_name) == index.files.end();
  check(!both, where, "{} has both {} and {}, which does not name it; remove one of them",
        folder.string(), single_file_name, index_name);
  return index;
}

}  // namespace

struct SafetensorsFolder::State {
  fs::path folder;
  std::vector<fs::path> files;
  std::vector<std::unique_ptr<MappedFile>> mapped;
  std::vector<SafetensorsEntry> tensors;
  std::unordered_map<std::string_view, size_t> by_name;

  void open(const std::string& name);
};

void SafetensorsFolder::State::open(const std::string& name) {
  if (!has(folder, name)) {
    fail(where, "{} names the file {}, which is not there", (folder / index_name).string(),
         in_quotes(name));
  }
  mapped.push_back(std::make_unique<MappedFile>((folder / name).string(), where,
                                                "a safetensors file is needed"));
  const MappedFile& file = *mapped.back();
  const std::span bytes(file.data(), static_cast<size_t>(file.size()));
  std::vector<SafetensorsEntry> entries = parse_safetensors(bytes, file.path()).tensors;
  for (SafetensorsEntry& entry : entries) entry.file = files.size();
  std::ranges::move(entries, std::back_inserter(tensors));
  files.emplace_back(name);
}

SafetensorsFolder::SafetensorsFolder(const fs::path& folder)
    : state_(new State{folder, {}, {}, {}, {}}) {
  check_folder(folder);
  if (has(folder, index_name)) {
    const SafetensorsIndex index = read_index(folder);
    for (const std::string& file : index.files) state_->open(file);
    check_against_index(index, state_->tensors, folder.string());
  } else if (has(folder, single_file_name)) {
    state_->open(single_file_name);
  } else {
    refuse(folder);
  }
  for (size_t i = 0; i < state_->tensors.size(); ++i) {
    state_->by_name.emplace(state_->tensors[i].name, i);
  }
}

SafetensorsFolder::~SafetensorsFolder() = default;

const fs::path& SafetensorsFolder::folder() const { return state_->folder; }

const std::vector<fs::path>& SafetensorsFolder::files() const { return state_->files; }

const std::vector<SafetensorsEntry>& SafetensorsFolder::tensors() const { return state_->tensors; }

const SafetensorsEntry* SafetensorsFolder::find(std::string_view name) const {
  const auto found = state_->by_name.find(name);
  return found == state_->by_name.end() ? nullptr : &state_->tensors[found->second];
}

int64_t SafetensorsFolder::bytes() const {
  int64_t total = 0;
  for (const auto& file : state_->mapped) total += file->size();
  return total;
}

const std::byte* SafetensorsFolder::data(const SafetensorsEntry& entry) const {
  return state_->mapped.at(entry.file)->data() + entry.offset;
}

void SafetensorsFolder::release(const SafetensorsEntry& entry, int64_t begin, int64_t end) const {
  check(0 <= begin && begin <= end && end <= entry.bytes, where,
        "bytes {} to {} are not of tensor {}, which has {}", begin, end, entry.name, entry.bytes);
  state_->mapped.at(entry.file)->release(entry.offset + begin, entry.offset + end);
}

}  // namespace switchyard
