#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "core/files.h"
#include "tests/fuzz/targets.h"

// Bytes that nobody wrote on purpose are refused or read, and nothing else happens; so are the
// stored ones and what random changes make of them.
namespace switchyard {
namespace {

namespace fs = std::filesystem;
using Target = void (*)(std::span<const std::byte>);

std::vector<std::string> corpus(const char* format) {
  std::vector<std::string> texts;
  for (const auto& entry : fs::directory_iterator(fs::path(FUZZ_FOLDER) / "corpus" / format)) {
    texts.push_back(read_file(entry.path()));
  }
  std::ranges::sort(texts);
  return texts;
}

// The tokens of the fuzzer's dictionary, their escapes left as they are.
std::vector<std::string> dictionary() {
  std::vector<std::string> tokens;
  const std::string text = read_file(fs::path(FUZZ_FOLDER) / "safetensors.dict");
  for (size_t begin = 0; begin < text.size(); begin = text.find('\n', begin) + 1) {
    const size_t end = text.find('\n', begin);
    std::string token = text.substr(begin + 1, end - begin - 2);
    for (size_t at = 0; (at = token.find("\\\"", at)) != std::string::npos;) token.erase(at, 1);
    tokens.push_back(std::move(token));
  }
  return tokens;
}

class Mutator {
 public:
  explicit Mutator(std::vector<std::string> seeds) : seeds_(std::move(seeds)) {}

  std::string next() {
    std::string text = seeds_[below(seeds_.size())];
    for (size_t changes = 1 + below(4); changes > 0; --changes) change(text);
    return text;
  }

 private:
  size_t below(size_t limit) { return random_() % limit; }

  void change(std::string& text) {
    const size_t at = below(text.size() + 1);
    const size_t count = std::min(below(16), text.size() - at);
    switch (below(6)) {
      case 0:
        if (at < text.size()) text[at] = static_cast<char>(random_());
        return;
      case 1:
        text.erase(at, count);
        return;
      case 2:
        text.insert(at, text.substr(at, count));
        return;
      case 3:
        text.insert(at, tokens_[below(tokens_.size())]);
        return;
      case 4:
        text.replace(at, count, tokens_[below(tokens_.size())]);
        return;
      default:
        const std::string& other = seeds_[below(seeds_.size())];
        text = text.substr(0, at) + other.substr(below(other.size() + 1));
    }
  }

  std::vector<std::string> seeds_;
  std::vector<std::string> tokens_ = dictionary();
  std::minstd_rand random_{1};
};

void run(Target target, const char* format) {
  const std::vector<std::string> seeds = corpus(format);
  ASSERT_GE(seeds.size(), 5U);
  const auto give = [&](const std::string& text) {
    ASSERT_NO_THROW(target(std::as_bytes(std::span(text)))) << text;
  };
  for (const std::string& seed : seeds) give(seed);
  Mutator mutator(seeds);
  for (int i = 0; i < 4000 && !testing::Test::HasFatalFailure(); ++i) give(mutator.next());
}

TEST(SafetensorsFuzz, HeadersStoredAndChanged) { run(test::fuzz_safetensors_header, "header"); }

TEST(SafetensorsFuzz, IndexesStoredAndChanged) { run(test::fuzz_safetensors_index, "index"); }

}  // namespace
}  // namespace switchyard
