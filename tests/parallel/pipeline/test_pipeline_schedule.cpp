#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <numeric>
#include <tuple>

#include "core/error.h"
#include "parallel/pipeline/schedule.h"
#include "tests/parallel/pipeline/peak_live.h"

namespace switchyard {
namespace {

using test::peak_live;
using Schedule = std::vector<Action> (*)(int stages, int microbatches, int rank);
using Lists = std::vector<std::vector<Action>>;

Lists lists_of(Schedule schedule, int stages, int microbatches) {
  Lists lists;
  for (int r = 0; r < stages; ++r) lists.push_back(schedule(stages, microbatches, r));
  return lists;
}

std::vector<int> microbatches_of(const std::vector<Action>& actions, ActionKind kind) {
  std::vector<int> found;
  for (const Action& a : actions) {
    if (a.kind == kind) found.push_back(a.microbatch);
  }
  return found;
}

std::vector<int> all(int microbatches) {
  std::vector<int> numbers(static_cast<size_t>(microbatches));
  std::iota(numbers.begin(), numbers.end(), 0);
  return numbers;
}

void for_each_shape(const std::function<void(int stages, int microbatches)>& body) {
  for (int stages = 1; stages <= 8; ++stages) {
    for (int microbatches = 1; microbatches <= 24; ++microbatches) {
      SCOPED_TRACE(fmt::format("{} stages, {} microbatches", stages, microbatches));
      body(stages, microbatches);
    }
  }
}

enum class Sends { rendezvous, buffered };

// Plays all ranks' lists against each other, one action in turn, and checks that what is received
// or computed is what is due. Returns the number of actions that could not be done.
class Simulation {
 public:
  Simulation(const Lists& lists, Sends sends)
      : lists_(lists), sends_(sends), at_(lists.size(), 0) {}

  size_t stuck() {
    for (bool moved = true; moved;) {
      moved = false;
      for (size_t r = 0; r < lists_.size(); ++r) {
        while (at_[r] < lists_[r].size() && perform(r)) moved = true;
      }
    }
    size_t left = 0;
    for (size_t r = 0; r < lists_.size(); ++r) left += lists_[r].size() - at_[r];
    return left;
  }

 private:
  static bool is_send(ActionKind k) {
    return k == ActionKind::send_forward || k == ActionKind::send_backward;
  }
  static ActionKind receive_of(ActionKind send) {
    return send == ActionKind::send_forward ? ActionKind::receive_forward
                                            : ActionKind::receive_backward;
  }
  static size_t receiver(const Action& a, size_t r) {
    return a.kind == ActionKind::send_forward ? r + 1 : r - 1;
  }

  bool perform(size_t r) {
    const Action& a = lists_[r][at_[r]];
    if (is_send(a.kind)) return send(a, r);
    if (a.kind == ActionKind::receive_forward || a.kind == ActionKind::receive_backward) {
      auto& mail = mail_[{r, a.kind}];
      if (mail.empty()) return false;
      EXPECT_EQ(mail.front(), a.microbatch) << "rank " << r << ": " << to_string(a);
      mail.pop_front();
    }
    ++at_[r];
    return true;
  }

  bool send(const Action& a, size_t r) {
    const size_t to = receiver(a, r);
    const ActionKind kind = receive_of(a.kind);
    if (sends_ == Sends::buffered) {
      mail_[{to, kind}].push_back(a.microbatch);
      ++at_[r];
      return true;
    }
    if (at_[to] == lists_[to].size()) return false;
    const Action& other = lists_[to][at_[to]];
    if (other.kind != kind) return false;
    EXPECT_EQ(other.microbatch, a.microbatch);
    ++at_[to];
    ++at_[r];
    return true;
  }

  const Lists& lists_;
  Sends sends_;
  std::vector<size_t> at_;
  std::map<std::pair<size_t, ActionKind>, std::deque<int>> mail_;
};

TEST(PipelineSchedule, RunsEveryMicrobatchExactlyOnceInOrder) {
  for_each_shape([](int stages, int microbatches) {
    for (const auto& list : lists_of(schedule_1f1b, stages, microbatches)) {
      EXPECT_EQ(microbatches_of(list, ActionKind::forward), all(microbatches));
      EXPECT_EQ(microbatches_of(list, ActionKind::backward), all(microbatches));
    }
    for (const auto& list : lists_of(schedule_forward_only, stages, microbatches)) {
      EXPECT_EQ(microbatches_of(list, ActionKind::forward), all(microbatches));
      EXPECT_TRUE(microbatches_of(list, ActionKind::backward).empty());
    }
  });
}

// Every exchange is there exactly where a neighbour is, and in its place around the computation.
void check_exchanges(const std::vector<Action>& list, bool before, bool behind, int microbatches,
                     bool with_backward) {
  const auto place = [&](ActionKind kind, int m) {
    return std::find(list.begin(), list.end(), Action{kind, 0, m}) - list.begin();
  };
  const auto wanted = [&](bool exists) { return exists ? all(microbatches) : std::vector<int>(); };
  EXPECT_EQ(microbatches_of(list, ActionKind::receive_forward), wanted(before));
  EXPECT_EQ(microbatches_of(list, ActionKind::send_forward), wanted(behind));
  EXPECT_EQ(microbatches_of(list, ActionKind::receive_backward), wanted(behind && with_backward));
  EXPECT_EQ(microbatches_of(list, ActionKind::send_backward), wanted(before && with_backward));
  const auto last = static_cast<std::ptrdiff_t>(list.size());
  for (int m = 0; m < microbatches; ++m) {
    const auto forward = place(ActionKind::forward, m);
    EXPECT_LT(before ? place(ActionKind::receive_forward, m) : -1, forward);
    EXPECT_GT(behind ? place(ActionKind::send_forward, m) : last, forward);
    if (!with_backward) continue;
    const auto backward = place(ActionKind::backward, m);
    EXPECT_LT(forward, backward);
    EXPECT_LT(behind ? place(ActionKind::receive_backward, m) : -1, backward);
    EXPECT_GT(before ? place(ActionKind::send_backward, m) : last, backward);
  }
}

TEST(PipelineSchedule, ExchangesWithNeighboursAroundEachComputation) {
  for_each_shape([](int stages, int microbatches) {
    for (int r = 0; r < stages; ++r) {
      const bool before = r > 0;
      const bool behind = r + 1 < stages;
      check_exchanges(schedule_1f1b(stages, microbatches, r), before, behind, microbatches, true);
      check_exchanges(schedule_forward_only(stages, microbatches, r), before, behind, microbatches,
                      false);
    }
  });
}

TEST(PipelineSchedule, NeverHangsWhateverSendsWaitFor) {
  for_each_shape([](int stages, int microbatches) {
    for (const Schedule schedule : {&schedule_1f1b, &schedule_forward_only}) {
      const Lists lists = lists_of(schedule, stages, microbatches);
      EXPECT_EQ(Simulation(lists, Sends::buffered).stuck(), 0u);
      EXPECT_EQ(Simulation(lists, Sends::rendezvous).stuck(), 0u);
    }
  });
}

TEST(PipelineSchedule, SimulationSeesADeadlock) {
  using enum ActionKind;
  const Lists crossed = {{{send_forward, 0, 0}, {receive_backward, 0, 0}},
                         {{send_backward, 0, 0}, {receive_forward, 0, 0}}};
  EXPECT_EQ(Simulation(crossed, Sends::buffered).stuck(), 0u);
  EXPECT_EQ(Simulation(crossed, Sends::rendezvous).stuck(), 4u);
}

TEST(PipelineSchedule, KeepsAsFewMicrobatchesAliveAsTheTheorySays) {
  for_each_shape([](int stages, int microbatches) {
    for (int r = 0; r < stages; ++r) {
      EXPECT_EQ(peak_live(schedule_1f1b(stages, microbatches, r)),
                std::min(microbatches, stages - r));
      EXPECT_EQ(peak_live(schedule_forward_only(stages, microbatches, r)), 1);
    }
  });
}

// With forward 1 and backward 2 units of time, and exchanges for nothing, the whole takes
// (microbatches + stages - 1) * 3 units (Narayanan et al. 2021, section 2.2).
TEST(PipelineSchedule, TakesTheTimeOfThePaper) {
  for_each_shape([](int stages, int microbatches) {
    const Lists lists = lists_of(schedule_1f1b, stages, microbatches);
    std::vector<size_t> at(lists.size(), 0);
    std::vector<int> clock(lists.size(), 0);
    std::map<std::tuple<size_t, ActionKind, int>, int> arrival;
    for (bool moved = true; moved;) {
      moved = false;
      for (size_t r = 0; r < lists.size(); ++r) {
        for (; at[r] < lists[r].size(); ++at[r], moved = true) {
          const Action& a = lists[r][at[r]];
          // As the executor does: a message is waited for where it is used.
          if (a.kind == ActionKind::forward || a.kind == ActionKind::backward) {
            const bool f = a.kind == ActionKind::forward;
            const bool first = f ? r == 0 : r + 1 == lists.size();
            const auto message = arrival.find({r, a.kind, a.microbatch});
            if (!first && message == arrival.end()) break;
            if (!first) clock[r] = std::max(clock[r], message->second);
            clock[r] += f ? 1 : 2;
          }
          if (a.kind == ActionKind::send_forward)
            arrival[{r + 1, ActionKind::forward, a.microbatch}] = clock[r];
          if (a.kind == ActionKind::send_backward)
            arrival[{r - 1, ActionKind::backward, a.microbatch}] = clock[r];
        }
      }
    }
    EXPECT_EQ(*std::max_element(clock.begin(), clock.end()), (microbatches + stages - 1) * 3);
  });
}

TEST(PipelineSchedule, RefusesWhatCannotBe) {
  EXPECT_THROW(schedule_1f1b(0, 1, 0), Error);
  EXPECT_THROW(schedule_1f1b(2, 0, 0), Error);
  EXPECT_THROW(schedule_1f1b(2, 1, 2), Error);
  EXPECT_THROW(schedule_1f1b(2, 1, -1), Error);
  EXPECT_THROW(schedule_forward_only(2, 0, 0), Error);
}

TEST(PipelineSchedule, NamesActions) {
  EXPECT_EQ(to_string({ActionKind::send_backward, 0, 3}), "send_backward(chunk 0, microbatch 3)");
}

double dearest(const std::vector<int>& counts, double before, double after) {
  double most = 0;
  for (size_t s = 0; s < counts.size(); ++s) {
    double cost = counts[s];
    if (s == 0) cost += before;
    if (s + 1 == counts.size()) cost += after;
    most = std::max(most, cost);
  }
  return most;
}

double best_of_all(int layers, int stages, double before, double after) {
  std::vector<int> counts(static_cast<size_t>(stages), 1);
  double best = 1e300;
  const std::function<void(size_t, int)> place = [&](size_t s, int left) {
    if (s + 1 == counts.size()) {
      counts[s] = left;
      best = std::min(best, dearest(counts, before, after));
      return;
    }
    const int others = stages - static_cast<int>(s) - 1;
    for (counts[s] = 1; counts[s] <= left - others; ++counts[s]) place(s + 1, left - counts[s]);
  };
  place(0, layers);
  return best;
}

TEST(BalanceStages, IsAsGoodAsTheBestOfAllDivisions) {
  for (int stages = 1; stages <= 5; ++stages) {
    for (int layers = stages; layers <= 13; ++layers) {
      for (const double before : {0.0, 0.3, 1.0, 2.5, 20.0}) {
        for (const double after : {0.0, 0.7, 1.0, 4.25}) {
          SCOPED_TRACE(fmt::format("{} layers, {} stages, {} {}", layers, stages, before, after));
          const auto counts = balance_stages(layers, stages, before, after);
          EXPECT_EQ(std::accumulate(counts.begin(), counts.end(), 0), layers);
          EXPECT_GE(*std::min_element(counts.begin(), counts.end()), 1);
          EXPECT_DOUBLE_EQ(dearest(counts, before, after),
                           best_of_all(layers, stages, before, after));
          EXPECT_EQ(counts, balance_stages(layers, stages, before, after));
        }
      }
    }
  }
}

TEST(BalanceStages, GivesSpareLayersToLaterStages) {
  EXPECT_THAT(balance_stages(8, 4, 0, 0), testing::ElementsAre(2, 2, 2, 2));
  EXPECT_THAT(balance_stages(7, 4, 0, 0), testing::ElementsAre(1, 2, 2, 2));
  EXPECT_THAT(balance_stages(12, 4, 0.5, 3.0), testing::ElementsAre(3, 4, 4, 1));
}

TEST(BalanceStages, RefusesWhatCannotBe) {
  EXPECT_THROW(balance_stages(2, 3, 0, 0), Error);
  EXPECT_THROW(balance_stages(2, 0, 0, 0), Error);
  EXPECT_THROW(balance_stages(4, 2, -1, 0), Error);
}

}  // namespace
}  // namespace switchyard
