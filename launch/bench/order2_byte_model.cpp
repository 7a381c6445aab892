#include "launch/bench/order2_byte_model.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"

namespace switchyard {

namespace {

constexpr int symbols = 257;
constexpr int end_of_document = 256;

size_t index(int a, int b) { return static_cast<size_t>(a) * symbols + static_cast<size_t>(b); }
size_t index(int a, int b, int c) { return index(a, b) * symbols + static_cast<size_t>(c); }

void check_bytes(const TokenDataset& set) {
  check(set.info().tokenizer == "byte" && set.info().vocabulary == symbols, "order-2 model",
        "{} was made with the tokenizer '{}' and a vocabulary of {}; 'byte' and {} are needed",
        set.prefix(), set.info().tokenizer, set.info().vocabulary, symbols);
}

// Calls visit(a, b, c, position) for every token c with the two before it.
template <class Visit>
void for_each_triple(const TokenDataset& set, Visit&& visit) {
  std::vector<int32_t> piece(1 << 16);
  int a = end_of_document;
  int b = end_of_document;
  for (int64_t first = 0; first < set.tokens(); first += static_cast<int64_t>(piece.size())) {
    piece.resize(
        static_cast<size_t>(std::min(static_cast<int64_t>(piece.size()), set.tokens() - first)));
    set.read(first, piece);
    for (size_t i = 0; i < piece.size(); ++i) {
      visit(a, b, piece[i], first + static_cast<int64_t>(i));
      a = b;
      b = piece[i];
    }
  }
}

}  // namespace

Order2ByteModel::Order2ByteModel(double strength)
    : strength_(strength),
      ones_(symbols),
      twos_(index(symbols, 0)),
      threes_(index(symbols, 0, 0)),
      after_one_(symbols),
      after_two_(index(symbols, 0)) {
  check(std::isfinite(strength) && strength > 0, "order-2 model",
        "a strength of {} was given; positive numbers are allowed", strength);
}

void Order2ByteModel::train(const TokenDataset& set) {
  check_bytes(set);
  tokens_ += static_cast<uint64_t>(set.tokens());
  check(tokens_ <= std::numeric_limits<uint32_t>::max(), "order-2 model",
        "{} tokens were given for training; at most {} are allowed", tokens_,
        std::numeric_limits<uint32_t>::max());
  for_each_triple(set, [this](int a, int b, int c, int64_t) {
    ++ones_[static_cast<size_t>(c)];
    ++twos_[index(b, c)];
    ++threes_[index(a, b, c)];
    ++after_one_[static_cast<size_t>(b)];
    ++after_two_[index(a, b)];
  });
}

double Order2ByteModel::probability(int a, int b, int c) const {
  check(std::min({a, b, c}) >= 0 && std::max({a, b, c}) < symbols, "order-2 model",
        "the symbols {}, {}, {} were given; 0 to {} are allowed", a, b, c, symbols - 1);
  const double s = strength_;
  const double zero =
      (ones_[static_cast<size_t>(c)] + 1.0) / (static_cast<double>(tokens_) + symbols);
  const double one = (twos_[index(b, c)] + s * zero) / (after_one_[static_cast<size_t>(b)] + s);
  return (threes_[index(a, b, c)] + s * one) / (after_two_[index(a, b)] + s);
}

double Order2ByteModel::bits_per_byte(const TokenDataset& set) const {
  check_bytes(set);
  check(set.tokens() >= 2 && set.info().text_bytes > 0, "order-2 model",
        "{} has {} tokens and {} bytes of text; 2 or more and 1 or more are needed", set.prefix(),
        set.tokens(), set.info().text_bytes);
  double bits = 0;
  for_each_triple(set, [&](int a, int b, int c, int64_t position) {
    if (position > 0) bits -= std::log2(probability(a, b, c));
  });
  return bits / static_cast<double>(set.info().text_bytes);
}

}  // namespace switchyard
