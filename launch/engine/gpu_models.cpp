#include "launch/engine/gpu_models.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <optional>

#include "core/error.h"
#include "core/text.h"

namespace switchyard {

namespace {

constexpr double gib = 1 << 30;

// Lower case, without what people write or leave out.
std::string plain(const std::string& name) {
  std::string text;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte)) text += static_cast<char>(std::tolower(byte));
  }
  for (const char* prefix : {"nvidia", "geforce", "rtx"}) {
    if (text.starts_with(prefix)) text.erase(0, std::char_traits<char>::length(prefix));
  }
  for (const char* part : {"sxm4", "sxm5", "sxm", "pcie", "hbm3e", "hbm3", "hbm2e"}) {
    const size_t at = text.find(part);
    if (at != std::string::npos) text.erase(at, std::char_traits<char>::length(part));
  }
  if (text.ends_with("gb")) text.resize(text.size() - 2);
  if (text.ends_with("0g")) text.resize(text.size() - 1);
  return text == "h10080" ? "h100" : text;
}

// A number and its unit, GiB or GB in any case.
std::optional<int64_t> parse_size(const std::string& text) {
  std::string_view rest = text;
  const auto size = take_number<double>(rest);
  if (!size || !(*size > 0 && *size < 1e6)) return std::nullopt;
  std::string unit(rest);
  std::erase(unit, ' ');
  std::ranges::transform(unit, unit.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (unit != "gib" && unit != "gb") return std::nullopt;
  return static_cast<int64_t>(*size * (unit == "gib" ? gib : 1e9));
}

}  // namespace

// H200: as its driver reports it to cuDNN. The others: the whole memory in PyTorch's messages, the
// smallest that was seen.
std::vector<GpuModel> known_gpus() {
  const auto of = [](double size) { return static_cast<int64_t>(size * gib); };
  return {{"a100-40", of(39.39)}, {"a100-80", of(79.15)},    {"h100", of(79.1)},
          {"h100-nvl", of(93.0)}, {"h200", 150'754'820'096}, {"b200", of(178.35)},
          {"l4", of(22.0)},       {"l40s", of(44.3)},        {"a10", of(21.98)},
          {"a40", of(44.3)},      {"a6000", of(47.4)},       {"rtx3090", of(23.6)},
          {"rtx4090", of(23.6)},  {"rtx5090", of(31.3)}};
}

std::string gpu_names() {
  std::vector<const char*> names;
  for (const GpuModel& gpu : known_gpus()) names.push_back(gpu.name);
  return fmt::format("{}", fmt::join(names, ", "));
}

int64_t gpu_bytes(const std::string& name_or_size) {
  if (const auto size = parse_size(name_or_size)) return *size;
  for (const GpuModel& gpu : known_gpus()) {
    if (plain(name_or_size) == plain(gpu.name)) return gpu.bytes;
  }
  fail("plan", "--gpu {}; allowed: {}, or a size such as 80GiB or 80GB", name_or_size, gpu_names());
}

}  // namespace switchyard
