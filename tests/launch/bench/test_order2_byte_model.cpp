#include "launch/bench/order2_byte_model.h"

#include <gmock/gmock.h>

#include <cmath>
#include <map>

#include "data/tokenizer.h"
#include "tests/data/reference_set.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

using Context = std::vector<int>;

// The formulas of the header over strings and maps.
class Reference {
 public:
  void train(std::vector<int> tokens) {
    tokens.insert(tokens.begin(), {256, 256});
    for (size_t i = 2; i < tokens.size(); ++i) {
      for (size_t order = 0; order <= 2; ++order) {
        const Context context(tokens.begin() + static_cast<std::ptrdiff_t>(i - order),
                              tokens.begin() + static_cast<std::ptrdiff_t>(i));
        counts_[context][tokens[i]] += 1;
      }
    }
  }
  double probability(const Context& context, int c) {
    double sum = 0;
    for (const auto& [symbol, count] : counts_[context]) sum += count;
    const double count = counts_[context][c];
    if (context.empty()) return (count + 1) / (sum + 257);
    const Context shorter(context.begin() + 1, context.end());
    return (count + 4.0 * probability(shorter, c)) / (sum + 4.0);
  }

 private:
  std::map<Context, std::map<int, double>> counts_;
};

class Order2 : public testing::Test {
 protected:
  TokenDataset make(const std::string& name, const std::vector<std::string>& documents) {
    TokenizeOptions options;
    for (size_t i = 0; i < documents.size(); ++i) {
      options.inputs.push_back((folder_.path() / fmt::format("{}-{}", name, i)).string());
      test::write_file(options.inputs.back(), documents[i]);
    }
    options.output_prefix = (folder_.path() / name).string();
    options.progress = false;
    tokenize(options);
    return TokenDataset::open(options.output_prefix);
  }
  static std::vector<int> tokens(const TokenDataset& set) {
    std::vector<int32_t> all(static_cast<size_t>(set.tokens()));
    set.read(0, all);
    return {all.begin(), all.end()};
  }
  test::TemporaryFolder folder_;
};

std::string prose(int words, uint32_t state) {
  const std::vector<std::string> known{"switch", "yard", "rail ", "points", "signal\n", "\xc3\xa9"};
  std::string text;
  for (int i = 0; i < words; ++i) {
    state = state * 1664525u + 1013904223u;
    text += known[(state >> 16) % known.size()];
  }
  return text;
}

TEST_F(Order2, AgreesWithAStraightforwardReference) {
  const TokenDataset first = make("first", {prose(300, 1), prose(200, 2)});
  const TokenDataset second = make("second", {prose(100, 3)});
  const TokenDataset held_out = make("held_out", {prose(80, 4), "never seen: \xff\x01", "x"});
  Order2ByteModel model;
  Reference reference;
  for (const TokenDataset* set : {&first, &second}) {
    model.train(*set);
    reference.train(tokens(*set));
  }
  std::vector<int> text = tokens(held_out);
  double bits = 0;
  for (size_t i = 1; i < text.size(); ++i) {
    const int before = i >= 2 ? text[i - 2] : 256;
    const double expected = reference.probability({before, text[i - 1]}, text[i]);
    EXPECT_NEAR(model.probability(before, text[i - 1], text[i]), expected, 1e-12);
    bits -= std::log2(expected);
  }
  const double bytes = static_cast<double>(text.size() - 3);
  EXPECT_NEAR(model.bits_per_byte(held_out), bits / bytes, 1e-10);
}

TEST_F(Order2, ProbabilitiesAddUpToOne) {
  Order2ByteModel model;
  for (const int round : {0, 1}) {  // untrained, trained
    for (const auto& [a, b] : {std::pair{'r', 'a'}, {256, 256}, {0, 7}, {256, 's'}}) {
      double sum = 0;
      for (int c = 0; c <= 256; ++c) sum += model.probability(a, b, c);
      EXPECT_NEAR(sum, 1, 1e-12);
    }
    if (round == 0) model.train(make("set", {prose(300, 1)}));
  }
  EXPECT_NEAR(Order2ByteModel().probability(1, 2, 3), 1.0 / 257, 1e-15);
}

TEST_F(Order2, ReadsSetsLargerThanAPiece) {
  const std::string text = prose(30'000, 9);
  ASSERT_GT(text.size(), 150'000u);
  const TokenDataset set = make("set", {text});
  Order2ByteModel model;
  Reference reference;
  model.train(set);
  reference.train(tokens(set));
  for (const auto& [a, b, c] : {std::tuple{'r', 'a', 'i'}, {'l', ' ', 's'}, {'\n', 'y', 'a'}}) {
    EXPECT_NEAR(model.probability(a, b, c), reference.probability({a, b}, c), 1e-12);
  }
  EXPECT_LT(model.bits_per_byte(set), 2);
}

TEST_F(Order2, RefusesWhatIsNotBytes) {
  const std::string prefix = (folder_.path() / "bare").string();
  test::ReferenceSet(8, {{1, 2, 3}}).write(prefix);
  const TokenDataset bare = TokenDataset::open(prefix, 257);
  EXPECT_THAT(test::message_of([&] { Order2ByteModel().train(bare); }),
              testing::AllOf(testing::HasSubstr("bare"), testing::HasSubstr("'byte'")));
  EXPECT_THROW(Order2ByteModel().bits_per_byte(bare), Error);
  EXPECT_THROW(Order2ByteModel(0.0), Error);
  EXPECT_THROW(Order2ByteModel().probability(0, 0, 257), Error);
}

}  // namespace
}  // namespace switchyard
