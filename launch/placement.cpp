#include "launch/placement.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>

#include "core/error.h"
#include "core/text.h"
#include "parallel/comm/rendezvous/host_list.h"

namespace switchyard {

namespace {

constexpr size_t most_lines = 64;  // of nodes; what is left out is counted

std::string ranges(std::vector<int64_t> numbers) {
  std::ranges::sort(numbers);
  return number_ranges(numbers);
}

// "tp 0-7, dp 2": the axes that the layout has.
std::string describe_axes(const std::vector<int64_t>& ranks, const Layout& layout) {
  std::set<int64_t> tp, dp, pp;
  for (const int64_t rank : ranks) {
    const Coordinates place = coordinates_of(layout, static_cast<int>(rank));
    tp.insert(place.tp);
    dp.insert(place.dp);
    pp.insert(place.pp);
  }
  std::string text;
  const auto add = [&](const char* axis, int size, const std::set<int64_t>& found) {
    if (size == 1) return;
    text += fmt::format(", {} {}", axis, ranges({found.begin(), found.end()}));
  };
  add("tp", layout.tp, tp);
  add("pp", layout.pp, pp);
  add("dp", layout.dp, dp);
  return text;
}

// "GPU 0-7", or "cpu".
std::string describe_devices(std::span<const RankPlace> places, const std::vector<int64_t>& ranks) {
  constexpr std::string_view gpu = "GPU ";
  std::set<int64_t> indices;
  std::set<std::string> others;
  for (const int64_t rank : ranks) {
    const std::string& device = places[static_cast<size_t>(rank)].device;
    const auto index = device.starts_with(gpu)
                           ? parse_number<int64_t>(std::string_view(device).substr(gpu.size()))
                           : std::nullopt;
    if (index)
      indices.insert(*index);
    else
      others.insert(device);
  }
  std::string text;
  if (!indices.empty()) text = fmt::format(", {}{}", gpu, ranges({indices.begin(), indices.end()}));
  for (const auto& other : others) text += ", " + other;
  return text;
}

std::string describe_host(const HostRanks& host, std::span<const RankPlace> places,
                          const Layout& layout) {
  std::vector<int64_t> local, processes;
  local.reserve(host.ranks.size());
  processes.reserve(host.ranks.size());
  for (const int64_t rank : host.ranks) {
    const RankPlace& place = places[static_cast<size_t>(rank)];
    local.push_back(place.local_rank);
    processes.push_back(place.process);
  }
  const bool one = host.ranks.size() == 1;
  return fmt::format("{}: {} {} (local {}){}{}, {} {}", host.host, one ? "rank" : "ranks",
                     ranges(host.ranks), ranges(local), describe_axes(host.ranks, layout),
                     describe_devices(places, host.ranks), one ? "process" : "processes",
                     ranges(processes));
}

}  // namespace

std::vector<std::string> describe_placement(std::span<const RankPlace> places,
                                            const Layout& layout) {
  std::vector<std::string> lines;
  const auto hosts = ranks_of_hosts(places);
  lines.reserve(std::min(hosts.size(), most_lines) + 1);
  for (size_t i = 0; i < std::min(hosts.size(), most_lines); ++i) {
    lines.push_back(describe_host(hosts[i], places, layout));
  }
  if (hosts.size() <= most_lines) return lines;
  std::vector<std::string> left;
  for (size_t i = most_lines; i < hosts.size(); ++i) left.push_back(hosts[i].host);
  constexpr size_t shown = 200;
  std::string names = short_host_list(left);
  if (names.size() > shown) names = names.substr(0, shown) + "...";
  lines.push_back(fmt::format("and {} more nodes: {}", left.size(), names));
  return lines;
}

std::string describe_crossing(std::span<const RankPlace> places, const Layout& layout) {
  std::vector<int> first;  // ranks of the first group that crosses
  int crossing = 0;
  for (int begin = 0; begin + layout.tp <= static_cast<int>(places.size()); begin += layout.tp) {
    const auto group = places.subspan(static_cast<size_t>(begin), static_cast<size_t>(layout.tp));
    if (std::ranges::all_of(group, [&](const auto& p) { return p.host == group[0].host; }))
      continue;
    if (crossing++ > 0) continue;
    for (int rank = begin; rank < begin + layout.tp; ++rank) first.push_back(rank);
  }
  if (crossing == 0) return "";
  return fmt::format(
      "{} of {} tp groups cross nodes ({}{}): exchanges inside of each layer go through the "
      "network; start a multiple of --tp {} ranks on each node, or give a smaller --tp",
      crossing, layout.ranks() / layout.tp, crossing > 1 ? "the first: " : "",
      describe_ranks(first), layout.tp);
}

std::vector<int> ranks_sharing_files(std::span<const RankPlace> places, int rank, int64_t writers) {
  HostRanks node{.host = {}, .ranks = {rank}};
  for (HostRanks& each : ranks_of_hosts(places)) {
    if (std::ranges::find(each.ranks, rank) != each.ranks.end()) node = std::move(each);
  }
  const int64_t count = std::ssize(node.ranks);
  check(writers >= 1 && writers <= count, "options",
        "--save-writers-per-node {}; the node of rank {}{} has {} {}; 1 to {} is allowed", writers,
        rank, node.host.empty() ? "" : fmt::format(" ({})", node.host), count,
        count == 1 ? "rank" : "ranks", count);
  const auto group_of = [&](int64_t place) { return place * writers / count; };
  const auto own = std::ranges::find(node.ranks, rank) - node.ranks.begin();
  std::vector<int> group;
  for (int64_t i = 0; i < count; ++i) {
    if (group_of(i) == group_of(own))
      group.push_back(static_cast<int>(node.ranks[static_cast<size_t>(i)]));
  }
  return group;
}

}  // namespace switchyard
