#include "tests/parallel/comm/collective_cases.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <random>
#include <vector>

#include "core/error.h"
#include "core/memory.h"

namespace switchyard {

namespace {

using testing::HasSubstr;

template <class T>
constexpr bool is_half = std::is_same_v<T, bf16> || std::is_same_v<T, f16>;

// The cases on one communicator.
struct Run {
  Communicator& comm;
  const CollectiveCases& cases;
  Stream stream{cases.device};

  // What rank `rank` puts in: the same on every rank that asks.
  template <class T>
  std::vector<T> input_of(int rank, int64_t count, uint64_t seed) const {
    std::minstd_rand random(static_cast<uint32_t>(seed * 1000 + static_cast<uint64_t>(rank) + 1));
    std::vector<T> values(static_cast<size_t>(count));
    for (T& value : values) {
      auto integer = static_cast<int32_t>(random() % 2'000'001) - 1'000'000;
      if (!cases.in_order_of_ranks) integer %= 16;
      const float factor = cases.in_order_of_ranks ? 3e-5f : 1.0f;
      if constexpr (std::is_integral_v<T>)
        value = static_cast<T>(integer);
      else
        value = static_cast<T>(static_cast<float>(integer) * factor);
    }
    return values;
  }

  template <class T>
  std::vector<T> reduced(int ranks, int64_t count, uint64_t seed, ReduceOp op) const {
    using A = std::conditional_t<is_half<T>, float, T>;
    std::vector<A> sum;
    for (int r = 0; r < ranks; ++r) {
      const auto values = input_of<T>(r, count, seed);
      if (r == 0) sum.resize(values.size());
      for (size_t i = 0; i < sum.size(); ++i) {
        const A value = static_cast<A>(values[i]);
        if (r == 0)
          sum[i] = value;
        else
          sum[i] = op == ReduceOp::sum ? sum[i] + value : std::max(sum[i], value);
      }
    }
    std::vector<T> result;
    for (const A value : sum) result.push_back(static_cast<T>(value));
    return result;
  }
};

// Elements where the cases want them.
template <class T>
class Placed {
 public:
  Placed(Run& run, std::vector<T> values) : run_(run), values_(std::move(values)) {
    if (on_host()) return;
    memory_ = Memory(bytes(), run.cases.device, "elements of a case");
    copy_bytes(memory_.data(), values_.data(), bytes(), run.stream);
  }
  Placed(Run& run, int64_t count) : Placed(run, std::vector<T>(static_cast<size_t>(count))) {}

  Buffer part(int64_t begin, int64_t count) {
    T* data = on_host() ? values_.data() : static_cast<T*>(memory_.data());
    Buffer buffer(std::span<T>(data + begin, static_cast<size_t>(count)));
    buffer.device = run_.cases.device;
    return buffer;
  }
  Buffer all() { return part(0, static_cast<int64_t>(values_.size())); }

  const std::vector<T>& read() {
    if (on_host()) return values_;
    copy_bytes(values_.data(), memory_.data(), bytes(), run_.stream);
    run_.stream.synchronize();
    return values_;
  }

 private:
  bool on_host() const { return run_.cases.device == Device::cpu; }
  int64_t bytes() const { return static_cast<int64_t>(values_.size() * sizeof(T)); }

  Run& run_;
  std::vector<T> values_;
  Memory memory_;
};

template <class T>
void expect_bits(const std::vector<T>& got, const std::vector<T>& wanted, const char* what,
                 const Run& run) {
  ASSERT_EQ(got.size(), wanted.size());
  for (size_t i = 0; i < got.size(); ++i)
    ASSERT_EQ(std::memcmp(&got[i], &wanted[i], sizeof(T)), 0)
        << what << " of " << got.size() << " " << name_of(dtype_of<T>) << " on rank "
        << run.comm.rank() << " of " << run.comm.size() << ": element " << i << " is "
        << static_cast<float>(got[i]) << ", not " << static_cast<float>(wanted[i]);
}

template <class T>
std::vector<T> slice(const std::vector<T>& all, int64_t begin, int64_t count) {
  return {all.begin() + begin, all.begin() + begin + count};
}

template <class T>
void check_reductions(Run& run, int64_t count, uint64_t seed, ReduceOp op) {
  Communicator& comm = run.comm;
  Stream& stream = run.stream;
  const int n = comm.size(), r = comm.rank();
  Placed<T> inout(run, run.input_of<T>(r, count, seed));
  comm.all_reduce(inout.all(), op, stream, {"all-reduce"}).wait(stream);
  expect_bits(inout.read(), run.reduced<T>(n, count, seed, op), "all_reduce", run);

  const auto wanted = slice(run.reduced<T>(n, n * count, seed, op), r * count, count);
  Placed<T> in(run, run.input_of<T>(r, n * count, seed)), out(run, count);
  comm.reduce_scatter(in.all(), out.all(), op, stream, {"apart"}).wait(stream);
  expect_bits(out.read(), wanted, "reduce_scatter", run);
  expect_bits(in.read(), run.input_of<T>(r, n * count, seed), "reduce_scatter's input", run);
  comm.reduce_scatter(in.all(), in.part(r * count, count), op, stream, {"in place"}).wait(stream);
  expect_bits(slice(in.read(), r * count, count), wanted, "reduce_scatter in place", run);
}

template <class T>
void check_moves(Run& run, int64_t count, uint64_t seed) {
  Communicator& comm = run.comm;
  Stream& stream = run.stream;
  const int n = comm.size(), r = comm.rank();
  std::vector<T> all, placed(static_cast<size_t>(n * count)), parts;
  for (int i = 0; i < n; ++i) {
    const auto part = run.input_of<T>(i, count, seed);
    all.insert(all.end(), part.begin(), part.end());
    const auto dealt = slice(run.input_of<T>(i, n * count, seed), r * count, count);
    parts.insert(parts.end(), dealt.begin(), dealt.end());
  }
  const auto mine = run.input_of<T>(r, count, seed);
  std::copy(mine.begin(), mine.end(), placed.begin() + r * count);
  Placed<T> in(run, mine), out(run, n * count), place(run, placed);
  comm.all_gather(in.all(), out.all(), stream, {"apart"}).wait(stream);
  expect_bits(out.read(), all, "all_gather", run);
  comm.all_gather(place.part(r * count, count), place.all(), stream, {"in place"}).wait(stream);
  expect_bits(place.read(), all, "all_gather in place", run);

  Placed<T> dealt(run, run.input_of<T>(r, n * count, seed));
  comm.all_to_all(dealt.all(), out.all(), stream, {"deal"}).wait(stream);
  expect_bits(out.read(), parts, "all_to_all", run);

  const int root = static_cast<int>(seed % static_cast<uint64_t>(n));
  comm.broadcast(in.all(), root, stream, {"spread"}).wait(stream);
  expect_bits(in.read(), run.input_of<T>(root, count, seed), "broadcast", run);
}

template <class T>
void check_dtype(Run& run, uint64_t seed) {
  std::mt19937_64 random(seed);
  for (const int64_t limit : {1, 40, 3000, 40'000}) {
    const auto elements =
        static_cast<int64_t>(limit == 1 ? 1 : random() % static_cast<uint64_t>(limit));
    for (const ReduceOp op : {ReduceOp::sum, ReduceOp::max})
      check_reductions<T>(run, elements, seed + 1, op);
    check_moves<T>(run, elements, seed + 2);
  }
}

// An all-gather whose parts need not lie next to each other: a broadcast from each rank, started
// together; several such groups are under way at once.
void check_grouped_broadcasts(Run& run, uint64_t seed) {
  const int n = run.comm.size(), r = run.comm.rank();
  constexpr int64_t count = 33, groups = 3;
  const auto input = run.input_of<bf16>(r, groups * count, seed);
  std::vector<bf16> own(static_cast<size_t>(n * groups * count));
  std::copy(input.begin(), input.end(), own.begin() + r * groups * count);
  Placed<bf16> all(run, own);
  std::vector<Handle> handles;
  for (int64_t g = 0; g < groups; ++g) {
    run.comm.group_begin();
    for (int root = 0; root < n; ++root) {
      handles.push_back(run.comm.broadcast(all.part((root * groups + g) * count, count), root,
                                           run.stream, {"part of a group"}));
    }
    run.comm.group_end();
  }
  for (Handle& handle : handles) handle.wait(run.stream);
  std::vector<bf16> expected;
  for (int root = 0; root < n; ++root) {
    const auto part = run.input_of<bf16>(root, groups * count, seed);
    expected.insert(expected.end(), part.begin(), part.end());
  }
  expect_bits(all.read(), expected, "grouped broadcasts", run);
}

template <class F>
void expect_error(F call, const char* text) {
  try {
    call();
    ADD_FAILURE() << "nothing was thrown; expected: " << text;
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr(text));
  }
}

}  // namespace

void check_collectives(Communicator& comm, uint64_t seed, const CollectiveCases& cases) {
  Run run{comm, cases};
  check_dtype<float>(run, seed);
  check_dtype<bf16>(run, seed + 10);
  check_dtype<double>(run, seed + 20);
  check_dtype<int32_t>(run, seed + 30);
  check_dtype<f16>(run, seed + 40);
  check_dtype<int64_t>(run, seed + 50);
  check_moves<uint16_t>(run, 777, seed + 60);
  check_grouped_broadcasts(run, seed + 70);
  comm.barrier({"end of collectives"});
}

// Each rank sends several messages around the ring before it waits for any; order must hold.
void check_messages(Communicator& comm, uint64_t seed, const CollectiveCases& cases) {
  Run run{comm, cases};
  const int n = comm.size();
  const int next = (comm.rank() + 1) % n, before = (comm.rank() + n - 1) % n;
  std::deque<Placed<float>> sent, received;
  std::vector<Handle> handles;
  const std::vector<int64_t> counts{1, 0, 100, 7, 60'000, 2};
  for (size_t m = 0; m < counts.size(); ++m) {
    sent.emplace_back(run, run.input_of<float>(comm.rank(), counts[m], seed + m));
    received.emplace_back(run, counts[m]);
  }
  for (size_t m = 0; m < counts.size(); ++m) {
    comm.group_begin();
    handles.push_back(comm.send(sent[m].all(), next, run.stream, {"around"}));
    handles.push_back(comm.recv(received[m].all(), before, run.stream, {"around"}));
    comm.group_end();
  }
  for (size_t i = handles.size(); i-- > 0;) handles[i].wait(run.stream);
  for (size_t m = 0; m < counts.size(); ++m)
    expect_bits(received[m].read(), run.input_of<float>(before, counts[m], seed + m), "message",
                run);
}

void check_groups(Communicator& comm, uint64_t seed, const CollectiveCases& cases) {
  Run run{comm, cases};
  Stream& stream = run.stream;
  const int n = comm.size(), r = comm.rank();
  const auto half = comm.split(r % 2, -r, "half");  // ranks in reverse order
  const auto most = comm.split(r == n - 1 && n > 1 ? -1 : 0, r, "most");
  ASSERT_EQ(half->size(), (n + 1 - r % 2) / 2);
  ASSERT_EQ(half->rank(), half->size() - 1 - r / 2);
  EXPECT_EQ(half->name(), "half");
  ASSERT_EQ(most == nullptr, r == n - 1 && n > 1);

  constexpr size_t outstanding = 4;
  std::deque<Placed<float>> on_half, on_most, on_world;
  std::vector<Handle> handles;
  for (size_t k = 0; k < outstanding; ++k) {
    on_half.emplace_back(run, run.input_of<float>(half->rank(), 5000, seed + k));
    on_world.emplace_back(run, run.input_of<float>(r, 300, seed + k));
    on_most.emplace_back(run, run.input_of<float>(r, 9, seed + k));
  }
  for (size_t k = 0; k < outstanding; ++k) {
    handles.push_back(half->all_reduce(on_half[k].all(), ReduceOp::sum, stream, {"half"}));
    handles.push_back(comm.all_reduce(on_world[k].all(), ReduceOp::max, stream, {"all"}));
    if (most)
      handles.push_back(most->all_reduce(on_most[k].all(), ReduceOp::sum, stream, {"most"}));
  }
  // Waited for in another order on every rank.
  std::shuffle(handles.begin(), handles.end(), std::mt19937_64(seed + static_cast<uint64_t>(r)));
  for (Handle& handle : handles) handle.wait(stream);
  for (size_t k = 0; k < outstanding; ++k) {
    const uint64_t s = seed + k;
    expect_bits(on_half[k].read(), run.reduced<float>(half->size(), 5000, s, ReduceOp::sum), "half",
                run);
    expect_bits(on_world[k].read(), run.reduced<float>(n, 300, s, ReduceOp::max), "world", run);
    if (most)
      expect_bits(on_most[k].read(), run.reduced<float>(most->size(), 9, s, ReduceOp::sum), "most",
                  run);
  }
}

void check_refusals(Communicator& comm) {
  Stream stream;
  const int n = comm.size();
  std::vector<float> a(static_cast<size_t>(n) * 4), b(5);
  std::vector<double> d(4);
  const Label label{"wrong"};
  expect_error([&] { comm.all_gather(std::span(b), std::span(a), stream, label); }, "one must be");
  expect_error(
      [&] { comm.reduce_scatter(std::span(a), std::span(d), ReduceOp::sum, stream, label); },
      "in is f32 and out is f64");
  expect_error([&] { comm.send(std::span(a), n, stream, label); }, "there is no rank");
  expect_error([&] { comm.broadcast(std::span(a), -1, stream, label); }, "\"wrong\", step");
  expect_error([&] { comm.all_to_all(std::span(a), std::span(a), stream, label); }, "overlap");
  const std::span<float> shifted(a.data() + 1, 4 * static_cast<size_t>(n) - 4 > 3 ? 4 : 3);
  if (n > 1)
    expect_error([&] { comm.reduce_scatter(std::span(a), shifted, ReduceOp::sum, stream, label); },
                 "overlap");
  Buffer on_gpu{std::span(a)};
  on_gpu.device = Device::cuda;
  expect_error([&] { comm.all_reduce(on_gpu, ReduceOp::sum, stream, label); }, "a buffer on cuda");
}

}  // namespace switchyard
