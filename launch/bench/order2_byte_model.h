#pragma once

#include <cstdint>
#include <vector>

#include "data/dataset.h"

namespace switchyard {

// A byte model of order 2, the yardstick beside a trained network: the probability of a byte after
// the two before it, from counts. Each order is interpolated with the one below, the lowest with
// the uniform distribution (Dirichlet smoothing; MacKay and Peto 1995):
//   p(c|ab) = (n(abc) + s p(c|b)) / (n(ab.) + s),  p(c|b) = (n(bc) + s p(c)) / (n(b.) + s),
//   p(c) = (n(c) + 1) / (n + 257).
// The end of a document is symbol 256, predicted and a context like any other; a set begins after
// two of them. About 80 MB of counts.
class Order2ByteModel {
 public:
  // strength: s above, in counts; throws Error unless it is positive and finite.
  explicit Order2ByteModel(double strength = 4.0);

  // Adds the counts of a set, every token. Throws Error for a set that is not of the byte
  // tokenizer, or when the counts of all sets pass 2^32 - 1.
  void train(const TokenDataset& set);
  // Of symbol c after a, b; each from 0 to 256.
  double probability(int a, int b, int c) const;
  // Bits of all tokens but the first (as EvaluationData scores them) over the set's bytes of text.
  double bits_per_byte(const TokenDataset& set) const;

 private:
  double strength_;
  uint64_t tokens_ = 0;
  std::vector<uint32_t> ones_;    // [c]
  std::vector<uint32_t> twos_;    // [b, c]
  std::vector<uint32_t> threes_;  // [a, b, c]
  // How often a context was followed by anything: apart from the counts of the symbols themselves,
  // as the last token of a set is followed by nothing.
  std::vector<uint32_t> after_one_;  // [b]
  std::vector<uint32_t> after_two_;  // [a, b]
};

}  // namespace switchyard
