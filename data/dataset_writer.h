#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "data/dataset_info.h"
#include "data/output_file.h"
#include "data/token_type.h"

namespace switchyard {

// Writes a token set as it comes, in memory that does not grow with the set. A document longer than
// a sequence may be (lengths are i32) becomes several sequences of one document.
class DatasetWriter {
 public:
  static constexpr int64_t longest_sequence = std::numeric_limits<int32_t>::max();

  // Tokens are u16 where the vocabulary is below 65,500, as Megatron's writer has it, else i32.
  DatasetWriter(const std::string& prefix, int64_t vocabulary,
                int64_t sequence_limit = longest_sequence);

  void append(std::span<const int32_t> tokens);  // to the document that is open
  void end_document();                           // one without tokens is left out
  // Tokens of the document that is open, so far.
  int64_t document_tokens() const { return document_tokens_; }
  int64_t documents() const { return documents_; }
  int64_t tokens() const { return tokens_; }
  int64_t largest_token() const { return largest_token_; }

  // Completes the three files and gives them their names; info says what the writer cannot know
  // (tokenizer, end of document, bytes of text). An older set of that name is replaced.
  void finish(DatasetInfo info);

 private:
  void append_tokens(std::span<const int32_t> tokens);
  void end_sequence();
  void write_offsets();
  void write_document_index();
  void write_header();
  void publish();

  std::string prefix_;
  int64_t vocabulary_;
  int64_t sequence_limit_;
  TokenType type_;
  OutputFile bin_;
  OutputFile idx_;
  OutputFile json_;
  std::vector<uint16_t> narrow_;
  std::vector<int64_t> continued_;  // sequences that do not begin a document: few, each after 2^31
  int64_t sequence_tokens_ = 0;
  int64_t document_tokens_ = 0;
  int64_t sequences_ = 0;
  int64_t documents_ = 0;
  int64_t tokens_ = 0;
  int64_t largest_token_ = -1;
};

}  // namespace switchyard
