#include "parallel/comm/rendezvous/start_places.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <numeric>

#include "core/error.h"
#include "core/text.h"
#include "parallel/comm/rendezvous/host_list.h"

namespace switchyard {

namespace {

std::string text_of(const char* variable) {
  const char* text = std::getenv(variable);
  return text == nullptr ? std::string() : std::string(text);
}

// Empty where Slurm's lists do not fit so many ranks.
std::vector<std::string> hosts_of_ranks(int64_t ranks) {
  const auto hosts = hosts_in(text_of("SLURM_STEP_NODELIST"));
  const auto counts = counts_in(text_of("SLURM_STEP_TASKS_PER_NODE"));
  std::vector<std::string> of_ranks;
  if (std::accumulate(counts.begin(), counts.end(), int64_t{0}) != ranks) return of_ranks;
  for (size_t i = 0; i < std::min(hosts.size(), counts.size()); ++i)
    of_ranks.insert(of_ranks.end(), static_cast<size_t>(counts[i]), hosts[i]);
  return of_ranks;
}

}  // namespace

StartPlaces start_places() {
  const std::string rank = text_of("SLURM_PROCID"), way = text_of("SLURM_DISTRIBUTION");
  const bool by_srun = !rank.empty() && !text_of("SLURM_STEP_NODELIST").empty() &&
                       text_of("OMPI_COMM_WORLD_SIZE").empty();
  if (!by_srun || !(way.empty() || way.starts_with("block"))) return {};
  StartPlaces places{.start = fmt::format("{}.{}.{}", text_of("SLURM_JOB_ID"),
                                          text_of("SLURM_STEP_ID"), text_of("SLURM_RESTART_COUNT")),
                     .rank = parse_number<int>(rank).value_or(-1)};
  const auto size = parse_number<int>(text_of("SLURM_STEP_NUM_TASKS")).value_or(0);
  try {
    places.hosts = hosts_of_ranks(size);
  } catch (const Error&) {  // of a Slurm that writes lists in another way
    return {};
  }
  const bool fits =
      places.rank >= 0 && places.rank < size && static_cast<int>(places.hosts.size()) == size;
  return fits ? places : StartPlaces{};
}

}  // namespace switchyard
