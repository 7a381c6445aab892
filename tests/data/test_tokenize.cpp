#include <gmock/gmock.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fcntl.h>

#include <csignal>
#include <filesystem>

#include "data/dataset.h"
#include "data/tokenizer.h"
#include "data/utf8.h"
#include "tests/data/reference_set.h"
#include "tests/support/temporary_folder.h"

namespace switchyard {
namespace {

using test::message_of;
using test::write_file;
using testing::AllOf;
using testing::HasSubstr;

class Tokenize : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return (folder_.path() / name).string(); }
  std::string input(const std::string& name, const std::string& content) const {
    write_file(path(name), content);
    return path(name);
  }
  TokenizeOptions options(std::vector<std::string> inputs, const std::string& key = "") const {
    TokenizeOptions chosen;
    chosen.inputs = std::move(inputs);
    chosen.json_key = key;
    chosen.output_prefix = path("set");
    chosen.progress = false;
    return chosen;
  }
  std::string error_of_line(const std::string& content) const {
    return message_of([&] { tokenize(options({input("bad.jsonl", content)}, "text")); });
  }
  std::vector<int32_t> tokens() const {
    const TokenDataset set = TokenDataset::open(path("set"));
    std::vector<int32_t> all(static_cast<size_t>(set.tokens()));
    set.read(0, all);
    return all;
  }
  size_t files() const {
    return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder_.path()),
                                             std::filesystem::directory_iterator()));
  }
  test::TemporaryFolder folder_;
};

TEST(ByteTokenizer, GoesThereAndBack) {
  const auto tokenizer = make_tokenizer("byte");
  EXPECT_EQ(tokenizer->vocabulary(), 257);
  EXPECT_EQ(tokenizer->end_of_document(), 256);
  std::string text;
  for (int i = 0; i < 256; ++i) text.push_back(static_cast<char>(i));
  std::vector<int32_t> tokens{9};
  tokenizer->encode(text, tokens);
  ASSERT_EQ(tokens.size(), 257u);
  for (int i = 0; i < 256; ++i) EXPECT_EQ(tokens[static_cast<size_t>(i) + 1], i);
  tokens.push_back(256);
  EXPECT_EQ(tokenizer->decode(tokens), "\t" + text);
  EXPECT_THROW(tokenizer->decode(std::vector<int32_t>{257}), Error);
  EXPECT_THROW(tokenizer->decode(std::vector<int32_t>{-1}), Error);
  EXPECT_THROW(make_tokenizer("bpe"), Error);
}

TEST(Utf8, ALastCharacterIsWholeOrHeldBack) {
  const std::string text = "a\u00e9\u20ac\U0001f600z";
  const std::vector<size_t> whole = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11};
  for (size_t n = 0; n < whole.size(); ++n) {
    EXPECT_EQ(whole_characters(std::string_view(text).substr(0, n)), whole[n]) << n;
  }
  // Bytes that begin nothing do not wait for more.
  for (const char* bytes : {"\xff", "a\x80", "\x80\x80\x80\x80", "\xc1", "\xf5", "\xe2z"}) {
    EXPECT_EQ(whole_characters(bytes), std::string_view(bytes).size());
  }
}

TEST_F(Tokenize, WritesWhatMegatronWrites) {
  const auto result = tokenize(options({input("b.txt", "xy"), input("a.txt", "\xff")}));
  EXPECT_EQ(result.documents, 2);
  EXPECT_EQ(result.tokens, 5);
  EXPECT_EQ(result.text_bytes, 3);
  EXPECT_EQ(result.empty_documents, 0);
  const test::ReferenceSet expected(8, {{'x', 'y', 256}, {255, 256}});
  EXPECT_EQ(test::read_file(path("set.idx")), expected.index());
  EXPECT_EQ(test::read_file(path("set.bin")), expected.bin);
}

TEST_F(Tokenize, DescribesTheSet) {
  tokenize(options({input("a.txt", "abc")}));
  const DatasetInfo info = TokenDataset::open(path("set")).info();
  EXPECT_EQ(info.tokenizer, "byte");
  EXPECT_EQ(info.vocabulary, 257);
  EXPECT_EQ(info.end_of_document, 256);
  EXPECT_EQ(info.text_bytes, 3);
  EXPECT_EQ(info.largest_token, 256);
  EXPECT_THAT(test::read_file(path("set.json")),
              AllOf(HasSubstr("\"tokens\": 4"), HasSubstr("\"documents\": 1")));
  EXPECT_EQ(files(), 4u) << "nothing temporary is left";
}

TEST_F(Tokenize, LeavesEndsOfDocumentsOutWhenTold) {
  auto chosen = options({input("a.txt", "ab"), input("b.txt", "c")});
  chosen.append_end_of_document = false;
  tokenize(chosen);
  EXPECT_EQ(tokens(), (std::vector<int32_t>{'a', 'b', 'c'}));
  const TokenDataset set = TokenDataset::open(path("set"));
  EXPECT_EQ(set.info().end_of_document, -1);
  EXPECT_EQ(set.info().largest_token, 'c');
}

TEST_F(Tokenize, DropsAndCountsEmptyDocuments) {
  const auto result = tokenize(options({input("a", ""), input("b", "z"), input("c", "")}));
  EXPECT_EQ(result.documents, 1);
  EXPECT_EQ(result.empty_documents, 2);
  EXPECT_EQ(tokens(), (std::vector<int32_t>{'z', 256}));
}

TEST_F(Tokenize, ReadsJsonLines) {
  const std::string lines =
      "{\"text\": \"a\\n\\u00e9\", \"more\": {\"text\": \"no\", \"list\": [1, null, {}]}}\r\n"
      "\n"
      "{\"id\": 1.5, \"text\": \"\"}\n"
      "  {\"n\": [\"text\", \"x\"], \"text\": \"last\"}";  // without a newline
  const auto result = tokenize(options({input("a.jsonl", lines)}, "text"));
  EXPECT_EQ(result.documents, 2);
  EXPECT_EQ(result.empty_documents, 1);
  EXPECT_EQ(result.text_bytes, 8);
  EXPECT_EQ(tokens(), (std::vector<int32_t>{'a', '\n', 0xc3, 0xa9, 256, 'l', 'a', 's', 't', 256}));
}

TEST_F(Tokenize, ReadsLinesLongerThanItsPieces) {
  const std::string text(5'000'000, 'q');
  const std::string line = "{\"text\": \"" + text + "\"}\n";
  const auto result = tokenize(options({input("a.jsonl", line + line)}, "text"));
  EXPECT_EQ(result.documents, 2);
  EXPECT_EQ(result.tokens, 10'000'002);
}

TEST_F(Tokenize, NamesFileAndLineOfBadJson) {
  const std::string good = "{\"text\": \"a\"}\n\n";
  const std::vector<std::pair<std::string, std::string>> cases{
      {"{\"text\": \"a\"", "is not valid JSON"},
      {"{\"text\": \"a\"} {}", "is not valid JSON"},
      {"{\"text\": \"\xc3(\"}", "ill-formed UTF-8"},
      {"{\"other\": \"\xff\", \"text\": \"a\"}", "ill-formed UTF-8"},
      {"{\"text\": \"\\ud800\"}", "is not valid JSON"},
      {"{\"body\": \"a\"}", "has no field 'text'"},
      {"{\"body\": {\"text\": \"a\"}}", "has no field 'text'"},
      {"{\"text\": 5}", "the field 'text' is not a string"},
      {"{\"text\": null}", "the field 'text' is not a string"},
      {"{\"text\": [\"a\"]}", "the field 'text' is not a string"},
      {"{\"text\": {\"a\": \"b\"}}", "the field 'text' is not a string"},
      {"{\"text\": \"a\", \"text\": \"b\"}", "has the field 'text' 2 times"},
      {"[\"text\", \"a\"]", "is not a JSON object"},
      {"\"text\"", "is not a JSON object"}};
  for (const auto& [line, expected] : cases) {
    EXPECT_THAT(error_of_line(good + line + "\n" + good),
                AllOf(HasSubstr("bad.jsonl line 3"), HasSubstr(expected)))
        << line;
  }
  EXPECT_EQ(files(), 1u) << "a failure leaves nothing but the input";
}

TEST_F(Tokenize, RefusesUselessInput) {
  EXPECT_THAT(message_of([&] { tokenize(options({})); }), HasSubstr("no input file"));
  EXPECT_THAT(message_of([&] { tokenize(options({path("none")})); }),
              AllOf(HasSubstr("none cannot be opened"), HasSubstr("No such file")));
  EXPECT_THAT(message_of([&] { tokenize(options({folder_.path().string()})); }),
              HasSubstr("is a folder"));
  EXPECT_THAT(message_of([&] { tokenize(options({input("a", "")})); }), HasSubstr("hold no text"));
  auto lost = options({input("a", "x")});
  lost.output_prefix = path("a/set");
  EXPECT_THAT(message_of([&] { tokenize(lost); }), HasSubstr("a' cannot be made: Not a directory"));
  EXPECT_EQ(files(), 1u);
}

TEST_F(Tokenize, MakesTheFolderOfItsPrefix) {
  auto deep = options({input("a", "x")});
  deep.output_prefix = path("missing/deep/set");
  tokenize(deep);
  EXPECT_TRUE(std::filesystem::exists(path("missing/deep/set.idx")));
}

TEST_F(Tokenize, RefusesToWriteOverItsInput) {
  for (const char* name : {"set.bin", "set.idx", "set.json", "set.bin.partial"}) {
    const std::string file = input(name, "precious");
    EXPECT_THAT(message_of([&] { tokenize(options({file})); }), HasSubstr("is also the output"));
    EXPECT_EQ(test::read_file(file), "precious");
  }
  std::filesystem::create_symlink(path("set.bin"), path("link"));
  EXPECT_THAT(message_of([&] { tokenize(options({path("link")})); }),
              HasSubstr("is also the output"));
}

TEST_F(Tokenize, ReplacesAnOlderSetOnlyWhenDone) {
  tokenize(options({input("a", "old")}));
  EXPECT_THROW(tokenize(options({input("bad", "{")}, "text")), Error);
  EXPECT_EQ(tokens(), (std::vector<int32_t>{'o', 'l', 'd', 256}));
  tokenize(options({input("a", "new text")}));
  EXPECT_EQ(tokens().size(), 9u);
}

TEST_F(Tokenize, RefusesASecondWriter) {
  const std::string partial = input("set.idx.partial", "");
  const int other = open(partial.c_str(), O_RDWR);
  ASSERT_EQ(flock(other, LOCK_EX), 0);
  EXPECT_THAT(message_of([&] { tokenize(options({input("a", "x")})); }),
              HasSubstr("set.idx.partial is being written by another process"));
  close(other);
  EXPECT_NO_THROW(tokenize(options({path("a")})));  // what a killed writer left is no obstacle
}

TEST_F(Tokenize, NamesAFullDisk) {
  const std::string text = input("a", std::string(4 << 20, 'x'));
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  rlimit limited = before;
  limited.rlim_cur = 1 << 20;
  setrlimit(RLIMIT_FSIZE, &limited);
  const std::string message = message_of([&] { tokenize(options({text})); });
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_THAT(message, HasSubstr("set.bin.partial cannot be written: File too large"));
  EXPECT_EQ(files(), 1u);
}

// Memory stays bounded: a document of 64 MB must not raise the peak by more than a few MB.
TEST_F(Tokenize, StreamsALargeDocument) {
  const std::string text = input("a", "");
  std::filesystem::resize_file(text, 64 << 20);  // zero bytes
  rusage before{};
  getrusage(RUSAGE_SELF, &before);
  const auto result = tokenize(options({text}));
  rusage after{};
  getrusage(RUSAGE_SELF, &after);
  EXPECT_EQ(result.tokens, (64 << 20) + 1);
#ifndef __SANITIZE_ADDRESS__
  EXPECT_LT(after.ru_maxrss - before.ru_maxrss, 24 << 10);  // kilobytes
#endif
}

}  // namespace
}  // namespace switchyard
