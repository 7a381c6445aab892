#include "parallel/comm/rank_places.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <mutex>

#include "core/error.h"
#include "core/text.h"
#include "parallel/comm/control_plane.h"

namespace switchyard {

namespace {

// Written once, before other threads ask; ranks that are threads of one process write it alike.
std::mutex mutex;
std::vector<RankPlace> places;

std::string to_text(const RankPlace& place) {
  return fmt::format("{}\t{}\t{}\t{}", place.host, place.local_rank, place.process, place.device);
}

RankPlace place_of(std::string_view text) {
  const auto words = split_at('\t', text);
  check(words.size() == 4, "launch", "a rank says that it runs at '{}', which is no place", text);
  return {.host = std::string(words[0]),
          .local_rank = parse_number<int>(words[1]).value_or(0),
          .process = parse_number<int64_t>(words[2]).value_or(0),
          .device = std::string(words[3])};
}

std::string join_lines(const std::vector<std::string>& lines) {
  std::string text;
  for (const auto& line : lines) {
    if (!text.empty()) text += '\n';
    text += line;
  }
  return text;
}

}  // namespace

void exchange_rank_places(ControlPlane& control, const RankPlace& mine) {
  const auto texts = control.gather(to_text(mine), "places of ranks");
  const std::string all = control.broadcast(join_lines(texts), "places of ranks");
  std::vector<RankPlace> found;
  for (const auto line : split_at('\n', all)) found.push_back(place_of(line));
  const std::lock_guard lock(mutex);
  places = std::move(found);
}

std::span<const RankPlace> rank_places() {
  const std::lock_guard lock(mutex);
  return places;
}

std::vector<HostRanks> ranks_of_hosts(std::span<const RankPlace> all) {
  std::vector<HostRanks> hosts;
  std::map<std::string, size_t> known;
  for (size_t rank = 0; rank < all.size(); ++rank) {
    const auto [at, is_new] = known.emplace(all[rank].host, hosts.size());
    if (is_new) hosts.push_back({all[rank].host, {}});
    hosts[at->second].ranks.push_back(static_cast<int64_t>(rank));
  }
  return hosts;
}

std::string describe_ranks(std::span<const int> world_ranks) {
  return describe_ranks(world_ranks, rank_places());
}

std::string describe_ranks(std::span<const int> world_ranks, std::span<const RankPlace> known) {
  std::vector<int> ranks(world_ranks.begin(), world_ranks.end());
  std::ranges::sort(ranks);
  std::string text = ranks.size() == 1 ? "world rank" : "world ranks";
  for (size_t i = 0; i < ranks.size(); ++i) {
    text += fmt::format(" {}", ranks[i]);
    if (ranks.back() >= static_cast<int>(known.size())) continue;
    const auto host = [&](size_t of) { return known[static_cast<size_t>(ranks[of])].host; };
    if (i + 1 == ranks.size())
      text += fmt::format(" on {}", host(i));
    else if (host(i) != host(i + 1))
      text += fmt::format(" on {},", host(i));
  }
  return text;
}

}  // namespace switchyard
