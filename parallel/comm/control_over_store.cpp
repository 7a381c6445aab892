#include <algorithm>
#include <numeric>
#include <vector>

#include "parallel/comm/control_plane.h"
#include "parallel/comm/culprits.h"
#include "parallel/comm/inquiry.h"
#include "parallel/comm/rank_activity.h"
#include "parallel/comm/rank_places.h"
#include "parallel/comm/rendezvous/store.h"

namespace switchyard {

namespace {

using namespace std::chrono_literals;

// Rank 0 takes every rank's text out of the store and leaves one for all. It stays until all ranks
// have come to the next exchange, and so have read it: the store never holds more than one result.
class StoreControl final : public ControlPlane {
 public:
  StoreControl(std::unique_ptr<Store> store, std::string name, std::vector<int> world_ranks)
      : store_(std::move(store)), name_(std::move(name)), world_ranks_(std::move(world_ranks)) {
    rank_ = static_cast<int>(std::ranges::find(world_ranks_, store_->options().rank) -
                             world_ranks_.begin());
  }
  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(world_ranks_.size()); }

  std::unique_ptr<ControlPlane> duplicate(const std::string& name) override {
    return std::make_unique<StoreControl>(store_->duplicate(), name_ + "/" + name, world_ranks_);
  }
  std::unique_ptr<ControlPlane> split(std::span<const int> ranks,
                                      const std::string& name) override {
    std::vector<int> members;
    for (const int each : ranks) members.push_back(world_rank(each));
    return std::make_unique<StoreControl>(
        store_->duplicate(), fmt::format("{}/{} of {}", name_, name, members.front()), members);
  }

 private:
  std::string exchange(const std::string& mine, const Combine& combine,
                       std::string_view what) override;

  // What the store is asked for, while a rank is to bring it.
  template <class Ask>
  std::string await(const std::string& key, int from, const Ask& ask) const;

  int world_rank(int rank) const { return world_ranks_[static_cast<size_t>(rank)]; }

  std::unique_ptr<Store> store_;
  const std::string name_;
  const std::vector<int> world_ranks_;  // of its ranks
  int rank_ = 0;
  int64_t exchanges_ = 0;
  std::string last_;  // key of the result before
};

template <class Ask>
std::string StoreControl::await(const std::string& key, int from, const Ask& ask) const {
  const std::vector<int> ranks = {world_rank(from)};
  const OpenWait open(fmt::format("rank {} in {}", rank(), key), ranks);
  try {
    return ask();
  } catch (const Error& problem) {
    if (problem.code() != ExitCode::lost_peer && problem.code() != ExitCode::timed_out) throw;
    std::string text = problem.what();
    if (problem.code() == ExitCode::timed_out)
      text += fmt::format("; nothing from {}{}", describe_ranks(ranks),
                          find_culprits(world_rank(rank()), ranks).text);
    report_end(problem.code(), text);
    throw Error(text, problem.code());
  }
}

std::string StoreControl::exchange(const std::string& mine, const Combine& combine,
                                   std::string_view what) {
  const std::string key = fmt::format("{} {}, {}", name_, ++exchanges_, what);
  const auto from = [&](int rank) {
    return fmt::format("{}, from rank {}", key, world_rank(rank));
  };
  if (rank() > 0) {
    store_->set(from(rank()), mine);
    // Rank 0 knows which rank is missing, and says so before the others' time is over.
    return await(key, 0, [&] { return store_->get(key, store_->options().timeout + 2s); });
  }
  std::vector<std::string> texts(static_cast<size_t>(size()));
  texts[0] = mine;
  for (int i = 1; i < size(); ++i)
    texts[static_cast<size_t>(i)] = await(key, i, [&] { return store_->take(from(i)); });
  if (!last_.empty()) store_->take(last_);
  last_ = key;
  const bool silent = std::ranges::all_of(texts, &std::string::empty);
  std::string result = silent ? std::string() : combine(texts);
  store_->set(key, result);
  return result;
}

}  // namespace

std::unique_ptr<ControlPlane> make_control_plane(std::unique_ptr<Store> store) {
  Store& shared = *store;
  std::vector<int> all(static_cast<size_t>(shared.options().size));
  std::iota(all.begin(), all.end(), 0);
  auto control = std::make_unique<StoreControl>(std::move(store), "control", std::move(all));
  control->barrier("all ranks are here");
  shared.ignore_stop();
  return control;
}

}  // namespace switchyard
