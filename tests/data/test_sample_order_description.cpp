// docs/design.md, "Sample order", written once more from its words, over whole epochs in memory.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <vector>

#include "data/sample_order.h"

namespace switchyard {
namespace {

using Words = std::vector<uint32_t>;

// Salmon et al. 2011: ten rounds, two multipliers, two Weyl constants.
Words philox(Words c, uint32_t k0, uint32_t k1) {
  for (int round = 0; round < 10; ++round, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
    const uint64_t a = 0xD2511F53ull * c[0], b = 0xCD9E8D57ull * c[2];
    c = {uint32_t(b >> 32) ^ c[1] ^ k0, uint32_t(b), uint32_t(a >> 32) ^ c[3] ^ k1, uint32_t(a)};
  }
  return c;
}

struct Key {
  uint64_t seed;
  uint32_t stage;
  uint32_t set;
  uint64_t epoch;
};

Words round_keys(const Key& key) {
  uint32_t purpose = 0x811c9dc5u;
  for (const char letter : std::string("sample order")) {
    purpose ^= static_cast<unsigned char>(letter);
    purpose *= 0x01000193u;
  }
  Words keys;
  for (uint64_t c = 4 * key.epoch; c < 4 * key.epoch + 3; ++c) {
    const Words words = philox({uint32_t(c), uint32_t(c >> 32), key.set, key.stage + purpose},
                               uint32_t(key.seed), uint32_t(key.seed >> 32));
    keys.insert(keys.end(), words.begin(), words.end());
  }
  return keys;
}

std::vector<uint64_t> permutation(uint64_t size, const Key& key) {
  if (size == 1) return {0};
  int digits = 0;
  while ((size - 1) >> digits != 0) ++digits;
  const int h = (digits + 1) / 2;
  const Words keys = round_keys(key);
  std::vector<uint64_t> images;
  for (uint64_t i = 0; i < size; ++i) {
    uint64_t x = i;
    do {
      uint64_t l = x >> h, r = x % (uint64_t{1} << h);
      for (const uint64_t k : keys) {
        uint64_t z = (k << 32) + r + 0x9e3779b97f4a7c15u;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        const uint64_t f = (z ^ z >> 31) >> (64 - h);
        const uint64_t old = l;
        l = r;
        r = old ^ f;
      }
      x = (l << h) + r;
    } while (x >= size);
    images.push_back(x);
  }
  return images;
}

// The sets of a block's places, for quotas that add up to 65,536.
std::vector<size_t> interleaved(const std::vector<int64_t>& quotas) {
  std::vector<size_t> falling;
  for (int64_t quota = 65'536; quota > 0; --quota) {
    for (size_t d = 0; d < quotas.size(); ++d) {
      if (quotas[d] == quota) falling.push_back(d);
    }
  }
  std::vector<size_t> sets;
  for (int64_t place = 0; place < 65'536; ++place) {
    int64_t q = place, m = 65'536;
    for (const size_t d : falling) {
      const int64_t n = quotas[d], t = q * n / m;
      if ((q + 1) * n / m > t) {
        sets.push_back(d);
        break;
      }
      q -= t;
      m -= n;
    }
  }
  return sets;
}

// A set as it is read: its epoch's windows in order, made anew where a seed comes within it.
struct Reader {
  uint32_t stage, set;
  int64_t windows;
  uint64_t seed = 0;
  int64_t number = 0;
  std::vector<uint64_t> epoch = {};

  SamplePlace next() {
    const int64_t index = number % windows, round = number / windows;
    if (index == 0) epoch = permutation(uint64_t(windows), {seed, stage, set, uint64_t(round)});
    ++number;
    return {int(set), round, int64_t(epoch[size_t(index)])};
  }
  void change(uint64_t to) {
    seed = to;
    const auto r = size_t(number % windows);
    if (r == 0) return;
    const auto before = epoch;
    const auto q =
        permutation(uint64_t(windows) - r, {seed, stage, set, uint64_t(number / windows)});
    for (size_t i = r; i < before.size(); ++i) epoch[i] = before[r + q[i - r]];
  }
};

void expect_described(const std::vector<int64_t>& quotas, const std::vector<int64_t>& windows,
                      int stage, const Seeds& seeds, int64_t positions) {
  const SampleOrder order(seeds, stage, {quotas.begin(), quotas.end()}, windows);
  ASSERT_EQ(order.quotas(), quotas);
  const auto sets = interleaved(quotas);
  std::vector<Reader> readers;
  for (size_t d = 0; d < windows.size(); ++d) {
    readers.push_back({uint32_t(stage), uint32_t(d), windows[d]});
  }
  auto change = seeds.changes.begin();
  for (int64_t position = 0; position < positions; ++position) {
    for (; change != seeds.changes.end() && change->first_sample == position; ++change) {
      for (Reader& reader : readers) reader.change(change->seed);
    }
    const SamplePlace expected = readers[sets[size_t(position % 65'536)]].next();
    const SamplePlace got = order.at(position);
    ASSERT_EQ(got.set, expected.set) << position;
    ASSERT_EQ(got.epoch, expected.epoch) << position;
    ASSERT_EQ(got.window, expected.window) << position;
  }
}

Seeds changing(std::vector<SeedChange> changes) {
  Seeds seeds(0);
  seeds.changes = std::move(changes);
  return seeds;
}

TEST(SampleOrderDescription, IsWhatIsRead) {
  expect_described({65'536}, {1000}, 0, 1234, 5000);
  expect_described({65'536}, {1}, 3, 5, 50);
  expect_described({65'536}, {100'001}, 7, (uint64_t{1} << 63) + 9, 210'000);
  expect_described({13'107, 32'768, 19'661}, {4096, 77, 5}, 2, 42, 70'000);
}

TEST(SampleOrderDescription, IsWhatIsReadBehindOtherSeeds) {
  const Seeds seeds = changing({{0, 1234}, {300, 7}, {450, 8}, {451, 9}, {70'000, 7}, {70'010, 1}});
  expect_described({65'536}, {1000}, 0, seeds, 75'000);
  expect_described({65'536}, {75'000}, 1, seeds, 75'000);
  expect_described({65'536}, {1}, 1, seeds, 500);
  expect_described({65'536}, {150}, 1, seeds, 1000);  // changes where an epoch begins
  expect_described({13'107, 32'768, 19'661}, {4096, 77, 5}, 2, seeds, 75'000);
}

}  // namespace
}  // namespace switchyard
