#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace switchyard {

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  virtual std::string name() const = 0;  // "byte"
  virtual int64_t vocabulary() const = 0;
  virtual int32_t end_of_document() const = 0;
  virtual void encode(std::string_view text, std::vector<int32_t>& tokens) const = 0;  // appends
  // How many bytes at the start of `text` have tokens that do not depend on what may follow it; the
  // rest has to wait for more. So a text larger than memory is encoded in pieces.
  virtual size_t settled(std::string_view text) const = 0;
  virtual std::string decode(
      std::span<const int32_t> tokens) const = 0;  // ends of documents left out
};

// "byte": 256 bytes and the end of a document (256). Throws Error for an unknown name.
std::unique_ptr<Tokenizer> make_tokenizer(const std::string& name);

struct TokenizeOptions {
  std::vector<std::string> inputs;  // files of plain text, or JSON lines where json_key is set
  std::string json_key;             // the field that holds the text; empty: plain text
  std::string output_prefix;
  std::string tokenizer = "byte";
  bool append_end_of_document = true;
  bool progress = true;  // a line on stderr while it works
};
struct TokenizeResult {
  int64_t documents = 0;
  int64_t empty_documents = 0;  // files or lines without text, left out (as Megatron does)
  int64_t tokens = 0;
  int64_t text_bytes = 0;
};
// Writes PREFIX.bin, PREFIX.idx and PREFIX.json, streaming with bounded memory (a JSON line must
// fit in it; a plain file need not); under temporary names until all is written and synced, so that
// a set is whole or not there. Throws Error naming file and line for bad input (JSON lines need
// valid UTF-8, plain text may hold any bytes), and when the inputs hold no text or are the outputs.
TokenizeResult tokenize(const TokenizeOptions& options);

}  // namespace switchyard
