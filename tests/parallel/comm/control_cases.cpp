#include "tests/parallel/comm/control_cases.h"

#include <chrono>
#include <exception>
#include <set>
#include <thread>

namespace switchyard {

namespace {

void expect(bool ok, const ControlPlane& control, const std::string& what) {
  check(ok, "test", "rank {} of {}: {}", control.rank(), control.size(), what);
}

// Of unlike lengths, with none and 1 MiB among them, and with any bytes.
std::string text_of(int rank, int round) {
  const size_t lengths[] = {3, 0, 1 << 20, 70'000};
  std::string text(lengths[(rank + round) % 4], '\0');
  for (size_t i = 0; i < text.size(); ++i)
    text[i] = static_cast<char>(i * 7 + static_cast<size_t>(rank));
  return text;
}

void check_gather(ControlPlane& control, int round) {
  const auto all = control.gather(text_of(control.rank(), round), "texts");
  const size_t count = control.rank() == 0 ? static_cast<size_t>(control.size()) : 0;
  expect(all.size() == count, control, fmt::format("{} texts", all.size()));
  for (size_t i = 0; i < all.size(); ++i)
    expect(all[i] == text_of(static_cast<int>(i), round), control, fmt::format("text of {}", i));
}

ExitCode code_of_rank(int rank) {
  const ExitCode codes[] = {ExitCode::storage, ExitCode::non_finite, ExitCode::lost_peer};
  return codes[rank % 3];
}

// All ranks but the failing ones succeed, and all get the lowest one's error.
void check_failing(ControlPlane& control, const std::set<int>& failing) {
  try {
    const auto body = [&] {
      if (failing.contains(control.rank()))
        throw Error(fmt::format("[test] {} fails", control.rank()), code_of_rank(control.rank()));
    };
    control.agree(body, "testing");
  } catch (const AgreedError& error) {
    const int lowest = *failing.begin();
    std::string text = fmt::format("[test] {} fails", lowest);
    if (control.size() > 1)
      text += fmt::format(" (rank {}); testing failed on {} of {} ranks", lowest, failing.size(),
                          control.size());
    expect(error.what() == text, control, error.what());
    return expect(error.code() == code_of_rank(lowest), control, "another rank's code");
  }
  expect(failing.empty(), control, "no error was agreed on");
}

// What one rank asks reaches all; where a body fails, they get its error instead.
void check_asking(ControlPlane& control) {
  const auto ask = [&](int rank) {
    return control.agree_and_ask([] {}, [&] { return control.rank() == rank; });
  };
  expect(!ask(-1), control, "nobody asked");
  for (int rank = 0; rank < control.size(); ++rank) expect(ask(rank), control, "a rank asked");
  int failed = 0;
  try {
    control.agree_and_ask(
        [&] { check(control.rank() > 0, ExitCode::storage, "test", "rank 0 fails"); },
        [] { return true; });
  } catch (const AgreedError& error) {
    ++failed;
    expect(error.code() == ExitCode::storage, control, "another code");
  }
  expect(failed == 1, control, "the error did not reach this rank");
}

void exchange_often(ControlPlane& control, int rounds, int slow_rank) {
  for (int i = 0; i < rounds; ++i) {
    if (i % 16 == 0 && control.rank() == slow_rank)
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    const std::string mine = fmt::format("{} of {}", i, control.rank());
    const std::string text = control.broadcast(mine, "number");
    expect(text == fmt::format("{} of 0", i), control, text);
    control.agree([] {});
  }
}

}  // namespace

void check_texts(ControlPlane& control) {
  for (int round = 0; round < 4; ++round) {
    check_gather(control, round);
    const auto text = control.broadcast(text_of(control.rank(), round), "text");
    expect(text == text_of(0, round), control, "another text than rank 0's");
    control.barrier("round");
  }
  const auto none = control.gather("", "nothing");
  const size_t count = control.rank() == 0 ? static_cast<size_t>(control.size()) : 0;
  expect(none == std::vector<std::string>(count), control, "texts out of nothing");
}

void check_agreement(ControlPlane& control) {
  check_failing(control, {});
  std::set<int> failing;
  for (int rank = control.size() - 1; rank >= 0; --rank) {
    failing.insert(rank);
    check_failing(control, {rank});
    check_failing(control, failing);
  }
  int passed = 0;
  try {
    control.agree([&] { control.agree([] { fail("test", "inner"); }); });
  } catch (const AgreedError&) {
    ++passed;  // and no rank waits for an agreement on it
  }
  expect(passed == 1, control, "the inner error did not pass");
  check_asking(control);
  check_failing(control, {});
}

void check_groups(ControlPlane& control) {
  for (const int first_size : {1, 2, control.size() - 1}) {
    if (first_size < 1 || first_size > control.size()) continue;
    const bool in_first = control.rank() < first_size;
    std::vector<int> ranks;
    for (int i = in_first ? 0 : first_size; i < (in_first ? first_size : control.size()); ++i)
      ranks.insert(ranks.begin(), i);  // the last one is the group's rank 0
    const auto group = control.split(ranks, fmt::format("groups {}", first_size));
    expect(group->size() == std::ssize(ranks), *group, "another size");
    expect(ranks[static_cast<size_t>(group->rank())] == control.rank(), *group, "another rank");
    check_texts(*group);
    const auto first = group->broadcast(std::to_string(control.rank()), "who is rank 0");
    expect(first == std::to_string(ranks[0]), *group, first);
    control.barrier("groups");
  }
}

void check_two_threads(ControlPlane& control, int rounds) {
  const auto second = control.duplicate("second");
  std::exception_ptr problem;
  std::thread thread([&] {
    try {
      exchange_often(*second, rounds, 0);
    } catch (...) {
      problem = std::current_exception();
    }
  });
  try {
    exchange_often(control, rounds, control.size() - 1);
  } catch (...) {
    problem = std::current_exception();
  }
  thread.join();
  if (problem) std::rethrow_exception(problem);
}

}  // namespace switchyard
