#include "data/tokenizer.h"

#include "core/error.h"

namespace switchyard {

namespace {

class ByteTokenizer : public Tokenizer {
 public:
  std::string name() const override { return "byte"; }
  int64_t vocabulary() const override { return 257; }
  int32_t end_of_document() const override { return 256; }

  void encode(std::string_view text, std::vector<int32_t>& tokens) const override {
    const size_t before = tokens.size();
    tokens.resize(before + text.size());
    int32_t* out = tokens.data() + before;
    for (size_t i = 0; i < text.size(); ++i) out[i] = static_cast<uint8_t>(text[i]);
  }

  size_t settled(std::string_view text) const override { return text.size(); }

  std::string decode(std::span<const int32_t> tokens) const override {
    std::string text;
    text.reserve(tokens.size());
    for (const int32_t token : tokens) {
      check(token >= 0 && token < vocabulary(), "tokenizer",
            "token {} was given; the byte tokenizer has 0 to {}", token, vocabulary() - 1);
      if (token != end_of_document()) text.push_back(static_cast<char>(token));
    }
    return text;
  }
};

}  // namespace

std::unique_ptr<Tokenizer> make_tokenizer(const std::string& name) {
  check(name == "byte", "tokenizer", "the tokenizer '{}' was given; 'byte' is known", name);
  return std::make_unique<ByteTokenizer>();
}

}  // namespace switchyard
