#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "data/dataset_info.h"

namespace switchyard {

// A memory-mapped token set in Megatron's format, PREFIX.bin and PREFIX.idx: one stream of tokens
// for training (documents follow each other).
class TokenDataset {
 public:
  // Throws Error naming the file when it is missing, truncated, or does not fit its header; when
  // neither PREFIX.json nor vocabulary (> 0) gives the vocabulary's size; when the file's largest
  // token is known to be beyond it.
  static TokenDataset open(const std::string& prefix, int64_t vocabulary = 0);
  // A set that another process of the machine opens, too, and finds to have this identity: only the
  // header of the index is read, which the size follows from. Throws Error likewise.
  static TokenDataset open_checked(const std::string& prefix, const std::string& identity,
                                   int64_t vocabulary = 0);
  TokenDataset(TokenDataset&&) noexcept;
  TokenDataset& operator=(TokenDataset&&) noexcept;
  ~TokenDataset();

  const std::string& prefix() const;
  const DatasetInfo& info() const;
  int64_t tokens() const;
  // Hash of the .idx file, size of the .bin file and hash of up to 256 blocks spread over it, in
  // hexadecimal: the set's identity, wherever it lies.
  const std::string& identity() const;
  // Reads the tokens of a set that does not say its largest one, so that one beyond the vocabulary
  // is met before the training: all of them, or 2^29 spread evenly over a larger set. Throws as
  // read().
  void check_tokens() const;
  // Tokens [first, first + out.size()); throws Error naming file, position and token for one that
  // is negative or not below the vocabulary.
  void read(int64_t first, std::span<int32_t> out) const;

 private:
  struct State;
  explicit TokenDataset(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Windows of sequence_length + 1 tokens at stride sequence_length over a set's stream.
int64_t whole_windows(int64_t tokens, int64_t sequence_length);
// Window `window` of the set: tokens and their targets, sequence_length each; where the set ends
// before, the rest is padding: tokens 0, targets -1. Throws Error for room of another length.
void read_window(const TokenDataset& set, int64_t window, int64_t sequence_length,
                 std::span<int32_t> tokens, std::span<int32_t> targets);

}  // namespace switchyard
