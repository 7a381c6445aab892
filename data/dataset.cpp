#include "data/dataset.h"

#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <limits>
#include <type_traits>
#include <vector>

#include "core/error.h"
#include "core/mapped_file.h"
#include "data/dataset_info.h"
#include "data/index_file.h"

namespace switchyard {

struct TokenDataset::State {
  State(const std::string& name, const IndexFile& index_of_set)
      : prefix(name), index(index_of_set), bin(name + ".bin", "data", what_is_mapped) {}
  // Of a checked index, the tokens are as many as the other file has.
  State(const std::string& name, const IndexHeader& header)
      : prefix(name), index{header}, bin(name + ".bin", "data", what_is_mapped) {
    index.tokens = bin.size() / size_of(index.type);
  }
  void check_files(int64_t vocabulary);  // against each other; fills in what is said of the set

  std::string prefix;
  IndexFile index;
  MappedFile bin;
  DatasetInfo info;
  std::string identity;
};

namespace {

namespace fs = std::filesystem;

// What may have been meant by the prefix of an index file that is not there.
std::string hint(const std::string& prefix) {
  std::error_code ignored;
  if (fs::is_directory(prefix, ignored)) {
    return fmt::format("; {} is a folder, a set is given by the prefix of its files", prefix);
  }
  if (!fs::exists(prefix, ignored)) return "";
  const std::string without_ending = fs::path(prefix).replace_extension().string();
  if (fs::exists(without_ending + ".idx", ignored)) {
    return fmt::format("; the set beside {} is given as {}", prefix, without_ending);
  }
  return fmt::format(
      "; {0} is no token set; text is made into one by 'switchyard tokenize --input {0} "
      "--output-prefix PREFIX' (JSON lines with --json-keys)",
      prefix);
}

void check_there(const std::string& prefix) {
  std::error_code ignored;
  check(fs::exists(prefix + ".idx", ignored), "data", "{}.idx cannot be opened: {}{}", prefix,
        std::strerror(ENOENT), hint(prefix));
}

void check_bin(const MappedFile& bin, const IndexFile& index, const std::string& prefix) {
  const int64_t bytes = index.tokens * size_of(index.type);
  check(bin.size() == bytes, "data",
        "{} has {} bytes; {}.idx says {} tokens of {} bytes, {} in all: one of the two is "
        "truncated or belongs to another set",
        bin.path(), bin.size(), prefix, index.tokens, size_of(index.type), bytes);
}

void check_counts(const DatasetDescription& description, const IndexFile& index,
                  const std::string& prefix) {
  check(description.tokens < 0 || description.tokens == index.tokens, "data",
        "{}.json says {} tokens; {}.idx says {}: one belongs to another set", prefix,
        description.tokens, prefix, index.tokens);
  check(description.documents < 0 || description.documents == index.documents, "data",
        "{}.json says {} documents; {}.idx says {}: one belongs to another set", prefix,
        description.documents, prefix, index.documents);
}

// Where block `i` of `blocks` begins that are spread evenly, the first at 0 and the last at `room`.
int64_t spread(int64_t room, int64_t blocks, int64_t i) {
  return blocks == 1 ? 0 : room / (blocks - 1) * i + room % (blocks - 1) * i / (blocks - 1);
}

// A hash of blocks spread evenly over the tokens, first and last among them: sets of equal document
// lengths differ by it, and opening a large set stays cheap.
uint64_t sampled_hash(const MappedFile& bin) {
  constexpr int64_t block = 4096;
  constexpr int64_t most_blocks = 256;
  const int64_t blocks = std::min(most_blocks, (bin.size() + block - 1) / block);
  uint64_t hash = 0;
  for (int64_t i = 0; i < blocks; ++i) {
    const int64_t begin = spread(std::max<int64_t>(0, bin.size() - block), blocks, i);
    const int64_t bytes = std::min(block, bin.size() - begin);
    hash = XXH3_64bits_withSeed(bin.data() + begin, static_cast<size_t>(bytes), hash);
  }
  return hash;
}

// The vocabulary of the set and the one asked for: the larger, never less than the set needs.
void settle_vocabulary(DatasetInfo& info, int64_t asked, const std::string& prefix) {
  const int64_t least = std::max(info.vocabulary, info.largest_token + 1);
  check(asked >= 0 && asked <= std::numeric_limits<int32_t>::max(), "data",
        "a vocabulary of {} was given; 1 to {} is allowed", asked,
        std::numeric_limits<int32_t>::max());
  check(info.vocabulary > 0 || asked > 0, "data",
        "{}.json does not say the vocabulary's size (or is not there); it must be given "
        "(--vocab-size)",
        prefix);
  check(asked == 0 || asked >= least, "data", "a vocabulary of {} was given; {} needs at least {}",
        asked, prefix, least);
  info.vocabulary = std::max(info.vocabulary, asked);
  check(info.vocabulary <= std::numeric_limits<int32_t>::max(), "data",
        "{}.json has a vocabulary of {}; at most {} is allowed", prefix, info.vocabulary,
        std::numeric_limits<int32_t>::max());
}

// Copies tokens and returns whether all are below the limit; no early exit, so that it vectorises.
template <class T>
bool copy_tokens(const T* from, std::span<int32_t> out, int64_t limit) {
  // A negative number wraps around to one beyond every limit.
  using Wide = std::conditional_t<(sizeof(T) > 4), uint64_t, uint32_t>;
  const auto highest = static_cast<Wide>(limit);
  Wide beyond = 0;
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<int32_t>(static_cast<Wide>(from[i]));
    beyond |= static_cast<Wide>(static_cast<Wide>(from[i]) >= highest);
  }
  return beyond == 0;
}

template <class T>
[[noreturn]] void refuse_token(const T* from, size_t count, int64_t first, const MappedFile& bin,
                               int64_t limit) {
  const T* bad = std::find_if(from, from + count, [limit](T token) {
    return static_cast<int64_t>(token) < 0 || static_cast<int64_t>(token) >= limit;
  });
  fail("data", "{}: the token at position {} is {}; 0 to {} is allowed (vocabulary {})", bin.path(),
       first + (bad - from), static_cast<int64_t>(*bad), limit - 1, limit);
}

}  // namespace

TokenDataset::TokenDataset(std::unique_ptr<State> state) : state_(std::move(state)) {}
TokenDataset::TokenDataset(TokenDataset&&) noexcept = default;
TokenDataset& TokenDataset::operator=(TokenDataset&&) noexcept = default;
TokenDataset::~TokenDataset() = default;

void TokenDataset::State::check_files(int64_t vocabulary) {
  check_bin(bin, index, prefix);
  if (const auto description = read_dataset_description(prefix + ".json")) {
    check_counts(*description, index, prefix);
    info = description->info;
  }
  settle_vocabulary(info, vocabulary, prefix);
}

TokenDataset TokenDataset::open_checked(const std::string& prefix, const std::string& identity,
                                        int64_t vocabulary) {
  check_there(prefix);
  auto state = std::make_unique<State>(prefix, read_index_header(prefix + ".idx"));
  state->check_files(vocabulary);
  state->identity = identity;
  return TokenDataset(std::move(state));
}

TokenDataset TokenDataset::open(const std::string& prefix, int64_t vocabulary) {
  check_there(prefix);
  auto state = std::make_unique<State>(prefix, read_index_file(prefix + ".idx"));
  state->check_files(vocabulary);
  const auto& hash = state->index.hash;
  state->identity = fmt::format("{:016x}{:016x}-{:x}-{:016x}", hash[0], hash[1], state->bin.size(),
                                sampled_hash(state->bin));
  return TokenDataset(std::move(state));
}

const std::string& TokenDataset::prefix() const { return state_->prefix; }
const DatasetInfo& TokenDataset::info() const { return state_->info; }
int64_t TokenDataset::tokens() const { return state_->index.tokens; }
const std::string& TokenDataset::identity() const { return state_->identity; }

void TokenDataset::read(int64_t first, std::span<int32_t> out) const {
  const auto count = static_cast<int64_t>(out.size());
  check(first >= 0 && first <= tokens() && count <= tokens() - first, "data",
        "{}: tokens {} to {} were asked for; it has {}", state_->bin.path(), first, first + count,
        tokens());
  if (count == 0) return;
  with_token_type(state_->index.type, [&](auto value) {
    using T = decltype(value);
    const T* from = reinterpret_cast<const T*>(state_->bin.data()) + first;
    if (!copy_tokens(from, out, state_->info.vocabulary)) [[unlikely]] {
      refuse_token(from, out.size(), first, state_->bin, state_->info.vocabulary);
    }
  });
}

void TokenDataset::check_tokens() const {
  if (state_->info.largest_token >= 0) return;
  constexpr int64_t most_blocks = 512;
  const int64_t block = std::min(tokens(), int64_t{1} << 20);
  if (block == 0) return;
  const int64_t blocks = std::min(most_blocks, (tokens() + block - 1) / block);
  std::vector<int32_t> room(static_cast<size_t>(block));
  for (int64_t i = 0; i < blocks; ++i) read(spread(tokens() - block, blocks, i), room);
}

int64_t whole_windows(int64_t tokens, int64_t sequence_length) {
  check(sequence_length >= 1, "data", "a sequence length of {} was given; 1 or more is allowed",
        sequence_length);
  return tokens < 1 ? 0 : (tokens - 1) / sequence_length;
}

void read_window(const TokenDataset& set, int64_t window, int64_t sequence_length,
                 std::span<int32_t> tokens, std::span<int32_t> targets) {
  const auto length = static_cast<size_t>(sequence_length);
  check(tokens.size() == length && targets.size() == length, "data",
        "room for {} tokens and {} targets was given; a sample has {} of each", tokens.size(),
        targets.size(), length);
  const int64_t first = window * sequence_length;
  const auto present = static_cast<size_t>(std::min(sequence_length, set.tokens() - 1 - first));
  set.read(first, tokens.first(present));
  std::copy(tokens.begin() + 1, tokens.begin() + static_cast<std::ptrdiff_t>(present),
            targets.begin());
  set.read(first + static_cast<int64_t>(present), targets.subspan(present - 1, 1));
  std::ranges::fill(tokens.subspan(present), 0);
  std::ranges::fill(targets.subspan(present), -1);
}

}  // namespace switchyard
