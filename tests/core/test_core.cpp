#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cmath>
#include <limits>
#include <thread>
#include <vector>

#include "core/device.h"
#include "core/dtype.h"
#include "core/error.h"
#include "core/logging.h"
#include "core/memory.h"
#include "core/random.h"
#include "core/tensor.h"

namespace switchyard {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

template <class Call>
std::string message_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

// The known answers that Random123 publishes for philox4x32-10 (tests/kat_vectors).
TEST(Philox, KnownAnswers) {
  EXPECT_THAT(philox4x32({0, 0, 0, 0}, {0, 0}),
              ElementsAre(0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u));
  constexpr uint32_t ones = 0xffffffffu;
  EXPECT_THAT(philox4x32({ones, ones, ones, ones}, {ones, ones}),
              ElementsAre(0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu));
  EXPECT_THAT(
      philox4x32({0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u}, {0xa4093822u, 0x299f31d0u}),
      ElementsAre(0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u));
}

TEST(RandomKey, CounterIsIndexStepPurpose) {
  const RandomKey key{0x299f31d0a4093822u, 0x13198a2eu, 0x03707344u};
  const uint64_t index = 0x05a308d3243f6a88u;
  const auto block =
      philox4x32({0x243f6a88u, 0x05a308d3u, 0x13198a2eu, 0x03707344u}, {0xa4093822u, 0x299f31d0u});
  EXPECT_EQ(key.block(index), block);
  for (uint64_t i = 0; i < 4; ++i) EXPECT_EQ(key.word(4 * index + i), block[i]);
}

TEST(RandomKey, EachPartMatters) {
  const RandomKey key{1, 2, 3};
  EXPECT_NE(key.word(5), (RandomKey{2, 2, 3}.word(5)));
  EXPECT_NE(key.word(5), (RandomKey{1 + (uint64_t{1} << 32), 2, 3}.word(5)));
  EXPECT_NE(key.word(5), (RandomKey{1, 3, 3}.word(5)));
  EXPECT_NE(key.word(5), (RandomKey{1, 2, 4}.word(5)));
  EXPECT_NE(key.word(5), key.word(5 + (uint64_t{1} << 34)));
}

// FNV-1a's published values.
TEST(RandomPurpose, HashesTheName) {
  EXPECT_EQ(random_purpose(""), 0x811c9dc5u);
  EXPECT_EQ(random_purpose("a"), 0xe40c292cu);
  EXPECT_EQ(random_purpose("foobar"), 0xbf9cf968u);
}

TEST(RandomNormal, Moments) {
  const RandomKey key{42, 1, random_purpose("moments")};
  constexpr int count = 1 << 20;
  double sums[5] = {};
  double neighbours = 0;
  for (uint64_t i = 0; i < count; ++i) {
    const double x = random_normal(key, i);
    for (int power = 1; power <= 4; ++power) sums[power] += std::pow(x, power);
    neighbours += x * random_normal(key, i ^ 1);
  }
  // Five standard errors: the variances of x^k are 1, 2, 15 and 96.
  const double error = 5 / std::sqrt(static_cast<double>(count));
  EXPECT_NEAR(sums[1] / count, 0, error);
  EXPECT_NEAR(sums[2] / count, 1, error * std::sqrt(2.0));
  EXPECT_NEAR(sums[3] / count, 0, error * std::sqrt(15.0));
  EXPECT_NEAR(sums[4] / count, 3, error * std::sqrt(96.0));
  EXPECT_NEAR(neighbours / count, 0, error * std::sqrt(2.0));
}

TEST(RandomNormal, DoesNotDependOnOrder) {
  const RandomKey key{7, 3, 9};
  std::vector<float> forwards(1001);
  for (size_t i = 0; i < forwards.size(); ++i) forwards[i] = random_normal(key, i);
  for (size_t i = forwards.size(); i-- > 0;) EXPECT_EQ(random_normal(key, i), forwards[i]);
}

TEST(RandomUniform, StaysInRange) {
  const RandomKey key{3, 0, 0};
  double sum = 0;
  for (uint64_t i = 0; i < 100000; ++i) {
    const float x = random_uniform(key, i);
    ASSERT_GE(x, 0.0f);
    ASSERT_LT(x, 1.0f);
    sum += x;
  }
  EXPECT_NEAR(sum / 100000, 0.5, 5 * std::sqrt(1 / 12.0 / 100000));
}

TEST(DropoutThreshold, IsTheProbabilityIn32Bits) {
  EXPECT_EQ(dropout_threshold(0), 0u);
  EXPECT_EQ(dropout_threshold(0.5), 0x80000000u);
  EXPECT_EQ(dropout_threshold(std::nextafter(1.0, 0.0)), 0xffffffffu);
  for (const double wrong : {-0.1, 1.0, std::nan("")}) {
    EXPECT_THAT(message_of([&] { dropout_threshold(wrong); }), HasSubstr("0 <= p < 1"));
  }
}

TEST(BFloat16, RoundsToNearestTiesToEven) {
  EXPECT_EQ(bf16(1.0f).bits, 0x3f80);
  EXPECT_EQ(bf16(1.0f + 0x1p-8f).bits, 0x3f80);             // a tie, down to even
  EXPECT_EQ(bf16(1.0f + 0x1p-7f + 0x1p-8f).bits, 0x3f82);   // a tie, up to even
  EXPECT_EQ(bf16(1.0f + 0x1p-8f + 0x1p-20f).bits, 0x3f81);  // above the tie
  EXPECT_EQ(bf16(-1.0f - 0x1p-7f - 0x1p-8f).bits, 0xbf82);
  EXPECT_EQ(bf16(std::numeric_limits<float>::max()).bits, 0x7f80);  // becomes infinite
  EXPECT_EQ(bf16(-std::numeric_limits<float>::infinity()).bits, 0xff80);
}

TEST(BFloat16, NanStaysNan) {
  for (const uint32_t bits : {0x7f800001u, 0x7fffffffu, 0xff80ffffu, 0x7fc00000u}) {
    EXPECT_TRUE(std::isnan(static_cast<float>(bf16(std::bit_cast<float>(bits))))) << bits;
  }
}

TEST(DType, NamesAndSizes) {
  for (const auto dtype :
       {DType::f32, DType::bf16, DType::f64, DType::i32, DType::i64, DType::u8, DType::u16}) {
    EXPECT_EQ(dtype_named(name_of(dtype)), dtype);
  }
  EXPECT_EQ(size_of(DType::bf16), 2);
  EXPECT_THAT(message_of([] { dtype_named("f33"); }), HasSubstr("'f33' is not a dtype; allowed"));
}

TEST(DeviceName, IsKnownOrRefused) {
  EXPECT_EQ(device_named("cpu"), Device::cpu);
  EXPECT_EQ(device_named("cuda"), Device::cuda);
  EXPECT_TRUE(is_available(Device::cpu));
  EXPECT_THAT(message_of([] { device_named("tpu"); }), HasSubstr("'tpu'"));
}

TEST(Shape, ExtentsAndErrors) {
  const Shape shape{2, 3, 4};
  EXPECT_EQ(shape.rank(), 3);
  EXPECT_EQ(shape.elements(), 24);
  EXPECT_EQ(shape.to_string(), "[2, 3, 4]");
  EXPECT_EQ(Shape().elements(), 1);
  EXPECT_EQ((Shape{int64_t{1} << 20, int64_t{1} << 20}).elements(), int64_t{1} << 40);
  EXPECT_NE(shape, (Shape{2, 3}));
  EXPECT_THAT(message_of([] { Shape{1, 1, 1, 1, 1}; }), HasSubstr("at most 4"));
  EXPECT_THAT(message_of([] { Shape{2, -1}; }), HasSubstr("axis 1 has extent -1"));
}

TEST(Tensor, ViewsAndSlices) {
  std::vector<float> memory(24);
  for (size_t i = 0; i < memory.size(); ++i) memory[i] = static_cast<float>(i);
  const Tensor t(memory.data(), DType::f32, {4, 6});
  EXPECT_TRUE(t.is_contiguous());
  EXPECT_EQ(t.bytes(), 96);
  EXPECT_EQ(t.view({2, 12}).span<float>()[13], 13.0f);

  const Tensor rows = t.slice(0, 1, 3);
  EXPECT_TRUE(rows.is_contiguous());
  EXPECT_EQ(rows.shape, (Shape{2, 6}));
  EXPECT_EQ(rows.as<float>()[0], 6.0f);

  const Tensor columns = t.slice(1, 2, 4);
  EXPECT_FALSE(columns.is_contiguous());
  EXPECT_EQ(columns.as<float>()[columns.stride[0]], 8.0f);
  EXPECT_TRUE(t.slice(1, 0, 1).slice(0, 2, 3).is_contiguous());
  EXPECT_FALSE(Tensor());
}

TEST(Tensor, Errors) {
  std::vector<float> memory(6);
  const Tensor t(memory.data(), DType::f32, {2, 3});
  EXPECT_THAT(message_of([&] { t.view({4, 2}); }), HasSubstr("8 and 6 elements"));
  EXPECT_THAT(message_of([&] { t.slice(1, 2, 4); }), HasSubstr("slice [2, 4) of axis 1"));
  EXPECT_THAT(message_of([&] { t.slice(2, 0, 1); }), HasSubstr("axis 2"));
  EXPECT_THAT(message_of([&] { t.as<bf16>(); }), HasSubstr("f32 was read as bf16"));
  EXPECT_THAT(message_of([&] { t.slice(1, 0, 2).span<float>(); }), HasSubstr("not contiguous"));
}

TEST(Memory, IsCountedZeroedAndMoved) {
  const auto before = memory_statistics();
  {
    Memory memory(1 << 16, Device::cpu, "test");
    EXPECT_EQ(memory_statistics().bytes, before.bytes + (1 << 16));
    EXPECT_EQ(memory_statistics().allocations, before.allocations + 1);
    EXPECT_GE(memory_statistics().peak_bytes, before.bytes + (1 << 16));
    EXPECT_EQ(static_cast<char*>(memory.data())[65535], 0);
    const Memory moved = std::move(memory);
    EXPECT_NE(moved.data(), nullptr);
  }
  EXPECT_EQ(memory_statistics().bytes, before.bytes);
  EXPECT_THAT(message_of([] { Memory(int64_t{1} << 62, Device::cpu, "huge"); }),
              HasSubstr("'huge' needs"));
}

TEST(Arena, CutsAlignedTensorsUntilItIsFull) {
  Arena arena("activations", 3 * 64);
  const Tensor a = arena.allocate({3}, DType::f32, "a");
  const Tensor b = arena.allocate({17}, DType::f32, "b");
  EXPECT_EQ(static_cast<char*>(b.data) - static_cast<char*>(a.data), 64);
  EXPECT_EQ(arena.used(), 192);
  EXPECT_EQ(Arena::footprint({17}, DType::f32), 128);
  const auto message = message_of([&] { arena.allocate({1}, DType::u8, "c"); });
  EXPECT_THAT(message, HasSubstr("'c'"));
  EXPECT_THAT(message, HasSubstr("arena 'activations', which has 0 of 192 left"));
  arena.clear();
  EXPECT_EQ(arena.allocate({1}, DType::u8, "again").data, a.data);
}

TEST(Scratch, GrowsOnceAndThenStays) {
  Scratch scratch;
  const auto use = [&] {
    Scratch::Scope outer(scratch);
    const Tensor a = outer.allocate({1 << 18}, DType::f32);
    Scratch::Scope inner(scratch);
    const Tensor b = inner.allocate({1 << 19}, DType::f32);
    EXPECT_TRUE(a.data != b.data);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(b.data) % 64, 0u);
    a.span<float>()[0] = 1;
    b.span<float>()[(1 << 19) - 1] = 2;
  };
  use();
  use();
  const auto allocations = memory_statistics().allocations;
  const auto capacity = scratch.capacity();
  for (int i = 0; i < 10; ++i) use();
  EXPECT_EQ(memory_statistics().allocations, allocations);
  EXPECT_EQ(scratch.capacity(), capacity);
}

TEST(Scratch, GivesBackLastFirst) {
  Scratch scratch;
  Scratch::Scope outer(scratch);
  void* first = nullptr;
  {
    Scratch::Scope inner(scratch);
    first = inner.allocate_bytes(100);
  }
  EXPECT_EQ(outer.allocate_bytes(10), first);
  EXPECT_EQ(static_cast<char*>(outer.allocate_bytes(10)) - static_cast<char*>(first), 64);
}

// The blocks of a first use become one at the end of a scope, where nothing may throw.
TEST(Scratch, EndsWithoutRoomForOneBlock) {
  Scratch scratch;
  rlimit usual{};
  ASSERT_EQ(getrlimit(RLIMIT_AS, &usual), 0);
  {
    Scratch::Scope scope(scratch);
    scope.allocate_bytes(1 << 20);
    scope.allocate_bytes(1 << 21);
    const rlimit none{.rlim_cur = 1 << 20, .rlim_max = usual.rlim_max};
    ASSERT_EQ(setrlimit(RLIMIT_AS, &none), 0);
  }
  EXPECT_EQ(scratch.capacity(), 0);
  const auto again = message_of([&] { Scratch::Scope(scratch).allocate_bytes(1 << 22); });
  ASSERT_EQ(setrlimit(RLIMIT_AS, &usual), 0);
  EXPECT_THAT(again, HasSubstr("'operator scratch' needs 4194304 bytes"));
  Scratch::Scope(scratch).allocate_bytes(1 << 22);
  EXPECT_EQ(scratch.capacity(), 1 << 22);
}

TEST(Log, FoldedMessagesFitAHundredColumns) {
  EXPECT_EQ(log::folded("short, as most are"), "short, as most are");
  const std::string word(40, 'w');
  EXPECT_EQ(log::folded(word + " " + word + " " + word), word + " " + word + "\n  " + word);
  EXPECT_EQ(log::folded(word + " b, " + word + " c"), word + " b, " + word + " c");
  EXPECT_EQ(log::folded(word + " b, c " + word + " " + word),
            word + " b, c " + word + "\n  " + word);
  EXPECT_EQ(log::folded(word + "; " + word.substr(6) + " number of 12"),
            word + "; " + word.substr(6) + " number of 12");
  EXPECT_EQ(log::folded(word + word.substr(20) + ", " + word.substr(15) + " number of 12"),
            word + word.substr(20) + ",\n  " + word.substr(15) + " number of 12");
  const std::string name(200, 'n');
  EXPECT_EQ(log::folded(name + " " + word), name + "\n  " + word);
  EXPECT_EQ(log::folded(name), name);
}

TEST(Error, CarriesTheThreadsLabel) {
  EXPECT_EQ(message_of([] { fail("place", "{} given; {} allowed", 3, 4); }),
            "[place] 3 given; 4 allowed");
  set_thread_label("rank 3 (tp 1 pp 0 dp 1)");
  EXPECT_EQ(message_of([] { check(false, "place", "wrong"); }),
            "[place] wrong (rank 3 (tp 1 pp 0 dp 1))");
  std::thread([] { EXPECT_EQ(thread_label(), ""); }).join();
  set_thread_label("");
  EXPECT_NO_THROW(check(true, "place", "wrong"));
}

}  // namespace
}  // namespace switchyard
