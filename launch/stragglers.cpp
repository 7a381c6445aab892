#include "launch/stragglers.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <vector>

#include "core/logging.h"

namespace switchyard {

namespace {

constexpr size_t named = 3;  // of the ranks that others wait for, at most
// A rank that is busy so much longer than the median one is worth a name.
constexpr double stands_out = 1.05;

double busy(const RankTimes& t) { return t.steps - t.waiting; }

std::string shares(const RankTimes& t) {
  const auto percent = [&](double seconds) { return 100 * seconds / std::max(t.steps, 1e-9); };
  std::string text = fmt::format("waits {:.0f}%", percent(t.waiting));
  if (percent(t.reading) >= 1) text += fmt::format(", reads {:.0f}%", percent(t.reading));
  return text;
}

}  // namespace

std::string describe_stragglers(int64_t first_step, int64_t last_step,
                                std::span<const RankTimes> ranks,
                                std::span<const RankPlace> places) {
  std::vector<size_t> order(ranks.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order,
                           [&](size_t a, size_t b) { return busy(ranks[a]) > busy(ranks[b]); });
  const auto count = static_cast<double>(last_step - first_step + 1);
  const auto each = [&](double seconds) { return 1e3 * seconds / count; };
  const RankTimes& median = ranks[order[order.size() / 2]];
  std::string text = fmt::format("stragglers of steps {} to {}, {:.1f} ms each: ", first_step,
                                 last_step, each(ranks[order.front()].steps));
  std::string found;
  for (size_t i = 0; i < std::min(named, order.size()); ++i) {
    const RankTimes& t = ranks[order[i]];
    if (busy(t) <= stands_out * busy(median)) break;
    const std::string host =
        order[i] < places.size() ? fmt::format(" on {}", places[order[i]].host) : "";
    found += fmt::format("{}rank {}{} (busy {:.1f} ms, {})", found.empty() ? "" : ", ", order[i],
                         host, each(busy(t)), shares(t));
  }
  text += found.empty() ? std::string("none") : "others wait for " + found;
  return text + fmt::format("; median rank busy {:.1f} ms, {}", each(busy(median)), shares(median));
}

StragglerWatch::StragglerWatch(int64_t interval, const Mesh& mesh, Device device)
    : interval_(mesh.world->size() > 1 ? interval : 0), mesh_(mesh), waits_(device) {}

void StragglerWatch::begin_step() {
  if (is_on()) waits_.begin();
}

void StragglerWatch::end_step() {
  if (is_on()) waits_.end();
}

void StragglerWatch::finish_step(int64_t step, double seconds) {
  if (!is_on()) return;
  if (first_step_ == 0) first_step_ = step;
  mine_.steps += seconds;
  mine_.waiting += waits_.take();
  if (step % interval_ != 0) return;
  std::array<double, 3> sent = {mine_.steps, mine_.waiting, mine_.reading};
  std::vector<double> all(sent.size() * static_cast<size_t>(mesh_.world->size()));
  Stream host;
  mesh_.world->all_gather(std::span<double>(sent), std::span(all), host, {"times of ranks"})
      .wait(host);
  std::vector<RankTimes> ranks;
  ranks.reserve(all.size() / sent.size());
  for (size_t i = 0; i < all.size(); i += sent.size())
    ranks.push_back({all[i], all[i + 1], all[i + 2]});
  if (mesh_.world->rank() == 0)
    log::info("{}", log::folded(describe_stragglers(first_step_, step, ranks, rank_places())));
  mine_ = {};
  first_step_ = step + 1;
}

}  // namespace switchyard
