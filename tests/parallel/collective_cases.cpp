#include "tests/parallel/collective_cases.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "core/error.h"

namespace switchyard {

namespace {

using testing::HasSubstr;

// What rank `rank` puts in: the same on every rank that asks.
template <class T>
std::vector<T> input_of(int rank, int64_t count, uint64_t seed) {
  std::minstd_rand random(static_cast<uint32_t>(seed * 1000 + static_cast<uint64_t>(rank) + 1));
  std::vector<T> values(static_cast<size_t>(count));
  for (T& value : values) {
    const auto integer = static_cast<int32_t>(random() % 2'000'001) - 1'000'000;
    if constexpr (std::is_integral_v<T>)
      value = integer;
    else
      value = static_cast<T>(static_cast<float>(integer) * 3e-5f);
  }
  return values;
}

template <class T>
std::vector<T> reduced(int ranks, int64_t count, uint64_t seed, ReduceOp op) {
  using A = std::conditional_t<std::is_same_v<T, bf16>, float, T>;
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

template <class T>
void expect_bits(const std::vector<T>& got, const std::vector<T>& wanted, const char* what,
                 const Communicator& comm) {
  ASSERT_EQ(got.size(), wanted.size());
  for (size_t i = 0; i < got.size(); ++i)
    ASSERT_EQ(std::memcmp(&got[i], &wanted[i], sizeof(T)), 0)
        << what << " of " << got.size() << " " << name_of(dtype_of<T>) << " on rank " << comm.rank()
        << " of " << comm.size() << ": element " << i << " is " << static_cast<float>(got[i])
        << ", not " << static_cast<float>(wanted[i]);
}

template <class T>
std::vector<T> slice(const std::vector<T>& all, int64_t begin, int64_t count) {
  return {all.begin() + begin, all.begin() + begin + count};
}

template <class T>
void check_reductions(Communicator& comm, int64_t count, uint64_t seed, ReduceOp op) {
  Stream stream;
  const int n = comm.size(), r = comm.rank();
  auto inout = input_of<T>(r, count, seed);
  comm.all_reduce(std::span(inout), op, stream, {"all-reduce"}).wait(stream);
  expect_bits(inout, reduced<T>(n, count, seed, op), "all_reduce", comm);

  const auto wanted = slice(reduced<T>(n, n * count, seed, op), r * count, count);
  auto in = input_of<T>(r, n * count, seed);
  std::vector<T> out(static_cast<size_t>(count));
  comm.reduce_scatter(std::span(in), std::span(out), op, stream, {"apart"}).wait(stream);
  expect_bits(out, wanted, "reduce_scatter", comm);
  expect_bits(in, input_of<T>(r, n * count, seed), "reduce_scatter's input", comm);
  const std::span<T> own(in.data() + r * count, static_cast<size_t>(count));
  comm.reduce_scatter(std::span(in), own, op, stream, {"in place"}).wait(stream);
  expect_bits(slice(in, r * count, count), wanted, "reduce_scatter in place", comm);
}

template <class T>
void check_moves(Communicator& comm, int64_t count, uint64_t seed) {
  Stream stream;
  const int n = comm.size(), r = comm.rank();
  std::vector<T> all;
  for (int i = 0; i < n; ++i) {
    const auto part = input_of<T>(i, count, seed);
    all.insert(all.end(), part.begin(), part.end());
  }
  auto in = input_of<T>(r, count, seed);
  std::vector<T> out(all.size());
  comm.all_gather(std::span(in), std::span(out), stream, {"apart"}).wait(stream);
  expect_bits(out, all, "all_gather", comm);
  std::vector<T> place(all.size());
  const std::span<T> own(place.data() + r * count, static_cast<size_t>(count));
  std::copy(in.begin(), in.end(), own.begin());
  comm.all_gather(own, std::span(place), stream, {"in place"}).wait(stream);
  expect_bits(place, all, "all_gather in place", comm);

  std::vector<T> parts;
  for (int i = 0; i < n; ++i) {
    const auto part = slice(input_of<T>(i, n * count, seed), r * count, count);
    parts.insert(parts.end(), part.begin(), part.end());
  }
  auto dealt = input_of<T>(r, n * count, seed);
  comm.all_to_all(std::span(dealt), std::span(out), stream, {"deal"}).wait(stream);
  expect_bits(out, parts, "all_to_all", comm);

  const int root = static_cast<int>(seed % static_cast<uint64_t>(n));
  comm.broadcast(std::span(in), root, stream, {"spread"}).wait(stream);
  expect_bits(in, input_of<T>(root, count, seed), "broadcast", comm);
}

template <class T>
void check_dtype(Communicator& comm, uint64_t seed) {
  std::mt19937_64 random(seed);
  for (const int64_t limit : {1, 40, 3000, 40'000}) {
    const auto elements =
        static_cast<int64_t>(limit == 1 ? 1 : random() % static_cast<uint64_t>(limit));
    for (const ReduceOp op : {ReduceOp::sum, ReduceOp::max})
      check_reductions<T>(comm, elements, seed + 1, op);
    check_moves<T>(comm, elements, seed + 2);
  }
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

void check_collectives(Communicator& comm, uint64_t seed) {
  check_dtype<float>(comm, seed);
  check_dtype<bf16>(comm, seed + 10);
  check_dtype<double>(comm, seed + 20);
  check_dtype<int32_t>(comm, seed + 30);
  comm.barrier({"end of collectives"});
}

// Each rank sends several messages around the ring before it waits for any; order must hold.
void check_messages(Communicator& comm, uint64_t seed) {
  Stream stream;
  const int n = comm.size();
  const int next = (comm.rank() + 1) % n, before = (comm.rank() + n - 1) % n;
  std::vector<std::vector<float>> sent, received;
  std::vector<Handle> handles;
  const std::vector<int64_t> counts{1, 0, 100, 7, 60'000, 2};
  for (size_t m = 0; m < counts.size(); ++m) {
    sent.push_back(input_of<float>(comm.rank(), counts[m], seed + m));
    received.emplace_back(static_cast<size_t>(counts[m]));
  }
  for (size_t m = 0; m < counts.size(); ++m) {
    handles.push_back(comm.send(std::span(sent[m]), next, stream, {"around"}));
    handles.push_back(comm.recv(std::span(received[m]), before, stream, {"around"}));
  }
  for (size_t i = handles.size(); i-- > 0;) handles[i].wait(stream);
  for (size_t m = 0; m < counts.size(); ++m)
    expect_bits(received[m], input_of<float>(before, counts[m], seed + m), "message", comm);
}

void check_groups(Communicator& comm, uint64_t seed) {
  Stream stream;
  const int n = comm.size(), r = comm.rank();
  const auto half = comm.split(r % 2, -r, "half");  // ranks in reverse order
  const auto most = comm.split(r == n - 1 && n > 1 ? -1 : 0, r, "most");
  ASSERT_EQ(half->size(), (n + 1 - r % 2) / 2);
  ASSERT_EQ(half->rank(), half->size() - 1 - r / 2);
  EXPECT_EQ(half->name(), "half");
  ASSERT_EQ(most == nullptr, r == n - 1 && n > 1);

  constexpr int outstanding = 4;
  std::vector<std::vector<float>> on_half, on_most, on_world;
  std::vector<Handle> handles;
  for (int k = 0; k < outstanding; ++k) {
    const uint64_t s = seed + static_cast<uint64_t>(k);
    on_half.push_back(input_of<float>(half->rank(), 5000, s));
    on_world.push_back(input_of<float>(r, 300, s));
    on_most.push_back(input_of<float>(r, 9, s));
  }
  for (int k = 0; k < outstanding; ++k) {
    const auto i = static_cast<size_t>(k);
    handles.push_back(half->all_reduce(std::span(on_half[i]), ReduceOp::sum, stream, {"half"}));
    handles.push_back(comm.all_reduce(std::span(on_world[i]), ReduceOp::max, stream, {"all"}));
    if (most)
      handles.push_back(most->all_reduce(std::span(on_most[i]), ReduceOp::sum, stream, {"most"}));
  }
  // Waited for in another order on every rank.
  std::shuffle(handles.begin(), handles.end(), std::mt19937_64(seed + static_cast<uint64_t>(r)));
  for (Handle& handle : handles) handle.wait(stream);
  for (int k = 0; k < outstanding; ++k) {
    const auto i = static_cast<size_t>(k);
    const uint64_t s = seed + i;
    expect_bits(on_half[i], reduced<float>(half->size(), 5000, s, ReduceOp::sum), "half", comm);
    expect_bits(on_world[i], reduced<float>(n, 300, s, ReduceOp::max), "world", comm);
    if (most)
      expect_bits(on_most[i], reduced<float>(most->size(), 9, s, ReduceOp::sum), "most", comm);
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
