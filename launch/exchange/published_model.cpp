#include "launch/exchange/published_model.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "core/error.h"
#include "core/files.h"
#include "model/exchange/map_copy.h"

namespace fs = std::filesystem;

namespace switchyard {

namespace {

ForeignConfig read_config(const fs::path& folder, const std::vector<std::string>& ignored_keys) {
  const fs::path file = folder / "config.json";
  return read_foreign_config(read_file(file), file.string(), ignored_keys);
}

bool is_shape(const SafetensorsEntry& entry, const Shape& shape) {
  if (entry.shape.size() != static_cast<size_t>(shape.rank())) return false;
  for (int i = 0; i < shape.rank(); ++i) {
    if (entry.shape[static_cast<size_t>(i)] != shape[i]) return false;
  }
  return true;
}

}  // namespace

std::string published_name(const fs::path& folder, bool with_parent) {
  fs::path whole = fs::absolute(folder).lexically_normal();
  if (!whole.has_filename()) whole = whole.parent_path();
  const fs::path above = whole.parent_path();
  const std::string cached = above.parent_path().filename().string();
  constexpr std::string_view cache = "models--";
  if (above.filename() == "snapshots" && cached.starts_with(cache)) {
    const auto name = std::string_view(cached).substr(cache.size());
    const auto at = std::min(name.find("--"), name.size());
    if (at == name.size()) return std::string(name);
    return fmt::format("{}/{}", name.substr(0, at), name.substr(at + 2));
  }
  std::string last = whole.filename().string();
  if (!with_parent || !above.has_filename()) return last;
  return fmt::format("{}/{}", above.filename().string(), last);
}

PublishedModel::PublishedModel(const fs::path& folder, const std::vector<std::string>& ignored_keys)
    : said_(read_config(folder, ignored_keys)), files_(folder), remarks_(said_.remarks) {
  find_weights();
  check_rest();
}

void PublishedModel::find_weights() {
  const std::string prefix(base_prefix(said_.architecture));
  std::map<const SafetensorsEntry*, size_t> last;
  for (auto& map : weight_maps(said_.architecture, config())) {
    const auto* entry = files_.find(map.theirs);
    if (entry == nullptr && map.theirs.starts_with(prefix)) {
      entry = files_.find(map.theirs.substr(prefix.size()));
    }
    check(entry != nullptr, "convert", "'{}' has no tensor '{}', which its config.json says it has",
          folder().string(), map.theirs);
    check(is_shape(*entry, map.their_shape), "convert",
          "'{}' is {} in '{}'; by config.json it is {}", entry->name, shape_text(*entry),
          folder().string(), map.their_shape.to_string());
    const auto dtype = weight_dtype(*entry);
    check(dtype.has_value(), "convert", "'{}' is of {} in '{}'; F32, F16 and BF16 are allowed",
          entry->name, entry->dtype, folder().string());
    last[entry] = weights_.size();
    weights_.push_back({std::move(map), entry, *dtype});
  }
  for (const auto& [entry, number] : last) weights_[number].last_of_entry = true;
}

// The output layer of a tied model may be stored once more.
void PublishedModel::check_copy_of_embedding(const SafetensorsEntry& head) const {
  const auto& word = *std::ranges::find(weights_, "embedding.word.weight", [](const Weight& w) {
                        return w.map.ours;
                      })->entry;
  const bool same =
      head.dtype == word.dtype && head.shape == word.shape &&
      std::memcmp(files_.data(head), files_.data(word), static_cast<size_t>(head.bytes)) == 0;
  check(same, "convert",
        "'{}' and '{}' differ in '{}', but by config.json (tie_word_embeddings) they are one",
        head.name, word.name, folder().string());
  files_.release(head, 0, head.bytes);
  files_.release(word, 0, word.bytes);
}

void PublishedModel::check_rest() {
  std::set<const SafetensorsEntry*> used;
  for (const auto& weight : weights_) used.insert(weight.entry);
  int64_t buffers = 0;
  for (const auto& entry : files_.tensors()) {
    if (used.contains(&entry)) continue;
    if (is_computed_buffer(said_.architecture, entry.name)) {
      ++buffers;
      continue;
    }
    check(config().tied_output && entry.name == output_name(said_.architecture), "convert",
          "'{}' of '{}' belongs to no weight of the model that config.json says", entry.name,
          folder().string());
    check_copy_of_embedding(entry);
    remarks_.push_back(
        fmt::format("'{}' is the embedding once more and is stored once", entry.name));
  }
  if (buffers > 0) {
    remarks_.push_back(fmt::format(
        "{} tensors are masks or rotary frequencies, which are computed, not stored", buffers));
  }
}

void PublishedModel::read(const Weight& weight, int64_t first_row, int64_t rows,
                          std::byte* out) const {
  const auto& map = weight.map;
  const auto& entry = *weight.entry;
  copy_from_theirs(map, size_of(weight.dtype), files_.data(entry), first_row, rows, out);
  const bool is_plain = !map.transposed && map.block == map.their_shape[0];
  if (is_plain) {
    const int64_t row_bytes = entry.bytes / map.their_shape[0];
    files_.release(entry, first_row * row_bytes, (first_row + rows) * row_bytes);
  } else if (weight.last_of_entry && first_row + rows == map.shape[0]) {
    files_.release(entry, 0, entry.bytes);
  }
}

}  // namespace switchyard
