#include "parallel/checkpoint/safetensors_plan.h"

#include <algorithm>
#include <array>
#include <bit>
#include <unordered_set>

#include "core/error.h"
#include "parallel/checkpoint/safetensors_dtypes.h"
#include "parallel/checkpoint/strict_json.h"

namespace switchyard {

namespace {

using Weight = SafetensorsWriter::Tensor;
constexpr const char* where = "safetensors";
constexpr size_t most_shards = 99999;  // of five digits

bool is_text(const std::string& name) {
  try {
    json_text(Json(name));
    return true;
  } catch (const Json::type_error&) {
    return false;
  }
}

void check_names(const std::vector<Weight>& tensors) {
  std::unordered_set<std::string_view> names;
  for (const Weight& tensor : tensors) {
    const std::string& name = tensor.name;
    const std::string shown = in_quotes(name);
    check(!name.empty() && name != "__metadata__" && name.find('\0') == std::string::npos, where,
          "{} cannot be the name of a tensor", shown);
    check(is_text(name), where, "the name {} is not UTF-8", shown);
    check(names.insert(name).second, where, "two tensors have the name {}", shown);
  }
}

PlannedTensor plan_tensor(const Weight& tensor) {
  SafetensorsEntry entry;
  entry.name = tensor.name;
  entry.dtype = safetensors_name(tensor.dtype);
  for (int axis = 0; axis < tensor.shape.rank(); ++axis) {
    entry.shape.push_back(tensor.shape[axis]);
  }
  PlannedTensor planned;
  planned.bytes = checked_bytes(entry, "to be written");
  if (planned.bytes == 0) return planned;
  planned.rows = entry.shape.empty() ? 1 : entry.shape[0];
  planned.row_bytes = planned.bytes / planned.rows;
  return planned;
}

// Which shard takes each tensor; returns their number.
size_t deal(std::vector<PlannedTensor>& tensors, int64_t max_shard_bytes) {
  size_t shard = 0;
  int64_t held = 0;
  for (PlannedTensor& tensor : tensors) {
    if (held > 0 && tensor.bytes > 0 && tensor.bytes > max_shard_bytes - held) {
      ++shard;
      held = 0;
    }
    tensor.shard = shard;
    held += tensor.bytes;
  }
  return shard + 1;
}

// The tensors of a shard by their places in the file.
std::vector<size_t> order_of(const std::vector<Weight>& tensors,
                             const std::vector<PlannedTensor>& planned, size_t shard) {
  std::vector<size_t> order;
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (planned[i].shard == shard) order.push_back(i);
  }
  std::ranges::stable_sort(order, std::ranges::greater(),
                           [&](size_t i) { return size_of(tensors[i].dtype); });
  return order;
}

std::string entry_text(const Weight& tensor, int64_t begin, int64_t end) {
  std::string shape = tensor.shape.to_string();
  std::erase(shape, ' ');
  return fmt::format(R"(,{}:{{"dtype":"{}","shape":{},"data_offsets":[{},{}]}})",
                     json_text(Json(tensor.name)), safetensors_name(tensor.dtype), shape, begin,
                     end);
}

// The header of a shard; its tensors get their offsets.
std::string header_of(const std::vector<Weight>& tensors, std::vector<PlannedTensor>& planned,
                      size_t shard) {
  std::string text = R"({"__metadata__":{"format":"pt"})";
  const std::vector<size_t> order = order_of(tensors, planned, shard);
  int64_t end = 0;
  for (const size_t i : order) {
    planned[i].offset = end;
    end += planned[i].bytes;
    text += entry_text(tensors[i], planned[i].offset, end);
  }
  text += '}';
  text.resize((text.size() + 7) / 8 * 8, ' ');
  check(text.size() <= 100'000'000, where,
        "{} tensors make a header of {} bytes; give less to a file", order.size(), text.size());
  for (const size_t i : order) planned[i].offset += static_cast<int64_t>(8 + text.size());
  const auto length = std::bit_cast<std::array<char, 8>>(static_cast<uint64_t>(text.size()));
  return std::string(length.begin(), length.end()) + text;
}

}  // namespace

SafetensorsPlan plan_safetensors(const std::vector<Weight>& tensors, int64_t max_shard_bytes) {
  check(max_shard_bytes > 0, where, "shards of {} bytes cannot be written", max_shard_bytes);
  check_names(tensors);
  SafetensorsPlan plan;
  plan.tensors.reserve(tensors.size());
  for (const Weight& tensor : tensors) {
    plan.tensors.push_back(plan_tensor(tensor));
    plan.bytes += plan.tensors.back().bytes;
  }
  const size_t shards = deal(plan.tensors, max_shard_bytes);
  check(shards <= most_shards, where, "{} bytes in shards of {} make {} files; at most {} can be",
        plan.bytes, max_shard_bytes, shards, most_shards);
  plan.headers.reserve(shards);
  plan.files.reserve(shards);
  for (size_t i = 0; i < shards; ++i) {
    plan.headers.push_back(header_of(tensors, plan.tensors, i));
    plan.files.push_back(shards == 1
                             ? std::string("model.safetensors")
                             : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards));
  }
  return plan;
}

std::string index_text(const std::vector<Weight>& tensors, const SafetensorsPlan& plan) {
  std::string map;
  for (size_t i = 0; i < tensors.size(); ++i) {
    map += fmt::format("{}\n    {}: \"{}\"", i == 0 ? "" : ",", json_text(Json(tensors[i].name)),
                       plan.files[plan.tensors[i].shard]);
  }
  return fmt::format(
      "{{\n  \"metadata\": {{\n    \"total_size\": {}\n  }},\n  \"weight_map\": {{{}\n  }}\n}}\n",
      plan.bytes, map);
}

}  // namespace switchyard
