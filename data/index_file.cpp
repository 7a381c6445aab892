#include "data/index_file.h"

#include <xxhash.h>

#include <bit>
#include <cstring>
#include <limits>

#include "core/error.h"
#include "core/mapped_file.h"

namespace switchyard {

namespace {

static_assert(std::endian::native == std::endian::little, "token sets are little-endian");

// Numbers of a file at any alignment.
template <class T>
T load(const std::byte* place) {
  T value;
  std::memcpy(&value, place, sizeof(value));
  return value;
}

// The arrays behind the header, of `sequences`, `sequences` and `document_entries` elements.
struct Arrays {
  const std::byte* lengths;
  const std::byte* offsets;
  const std::byte* documents;
  const std::byte* modes;  // null in sets of text alone
  int64_t sequences;
  int64_t document_entries;
};

TokenType token_type(const std::string& path, uint8_t code) {
  check(
      code != static_cast<uint8_t>(TokenType::f64) && code != static_cast<uint8_t>(TokenType::f32),
      "data", "{} holds {} elements (type {}); tokens are u8, i8, i16, i32, i64 or u16", path,
      code == static_cast<uint8_t>(TokenType::f64) ? "f64" : "f32", code);
  check(code >= 1 && code <= 8, "data",
        "{} has elements of the unknown type {}; 1 (u8), 2 (i8), 3 (i16), 4 (i32), 5 (i64) and "
        "8 (u16) are read",
        path, code);
  return static_cast<TokenType>(code);
}

TokenType check_header(const MappedFile& file) {
  check(file.size() >= index_header_bytes, "data",
        "{} has {} bytes; the header of an index file alone has {}: it is truncated or not one",
        file.path(), file.size(), index_header_bytes);
  check(std::memcmp(file.data(), index_magic.data(), index_magic.size()) == 0, "data",
        "{} does not begin with MMIDIDX: it is not the index of a Megatron dataset", file.path());
  const auto version = load<uint64_t>(file.data() + 9);
  check(version == index_version, "data", "{} has version {}; version {} is read", file.path(),
        version, index_version);
  return token_type(file.path(), load<uint8_t>(file.data() + 17));
}

Arrays find_arrays(const MappedFile& file) {
  const auto n = load<uint64_t>(file.data() + 18);
  const auto d = load<uint64_t>(file.data() + 26);
  const auto room = static_cast<uint64_t>(file.size() - index_header_bytes);
  const bool fits = n <= room / 12 && d <= (room - 12 * n) / 8;
  const uint64_t rest = fits ? room - 12 * n - 8 * d : 0;
  check(fits && (rest == 0 || rest == n), "data",
        "{} has {} bytes, which does not fit its header of {} sequences and {} entries of the "
        "document index: it is truncated or damaged",
        file.path(), file.size(), n, d);
  check(d >= 1, "data", "{} has an empty document index; its first entry 0 is needed", file.path());
  const std::byte* lengths = file.data() + index_header_bytes;
  const std::byte* offsets = lengths + 4 * n;
  const std::byte* documents = offsets + 8 * n;
  return {lengths,
          offsets,
          documents,
          rest == 0 ? nullptr : documents + 8 * d,
          static_cast<int64_t>(n),
          static_cast<int64_t>(d)};
}

// Sequences lie back to back: each offset is the sum of the lengths before it. Returns that of all.
int64_t check_sequences(const std::string& path, const Arrays& arrays, int64_t token_bytes) {
  constexpr int64_t most = std::numeric_limits<int64_t>::max() / 8 - (int64_t{1} << 31);
  int64_t tokens = 0;
  for (int64_t i = 0; i < arrays.sequences; ++i) {
    const auto length = load<int32_t>(arrays.lengths + 4 * i);
    const auto offset = load<int64_t>(arrays.offsets + 8 * i);
    check(length >= 0, "data", "{}: sequence {} has the length {}; 0 or more is allowed", path, i,
          length);
    check(offset == tokens * token_bytes, "data",
          "{}: sequence {} is at byte {}; behind the ones before it, it begins at byte {}", path, i,
          offset, tokens * token_bytes);
    tokens += length;
    check(tokens < most, "data", "{}: {} sequences have too many tokens", path, i + 1);
  }
  return tokens;
}

void check_documents(const std::string& path, const Arrays& arrays) {
  int64_t before = 0;
  for (int64_t i = 0; i < arrays.document_entries; ++i) {
    const auto entry = load<int64_t>(arrays.documents + 8 * i);
    check(entry >= before && entry <= arrays.sequences && (i > 0 || entry == 0), "data",
          "{}: entry {} of the document index is {}; it begins with 0, rises, and ends at the "
          "number of sequences, {}",
          path, i, entry, arrays.sequences);
    before = entry;
  }
  check(before == arrays.sequences, "data",
        "{}: the document index ends at {}; the number of sequences, {}, is needed", path, before,
        arrays.sequences);
}

void check_modes(const std::string& path, const Arrays& arrays) {
  if (arrays.modes == nullptr) return;
  for (int64_t i = 0; i < arrays.sequences; ++i) {
    const auto mode = load<int8_t>(arrays.modes + i);
    check(mode == 0, "data",
          "{} is a multimodal set: sequence {} has mode {}; only text (mode 0) is read", path, i,
          mode);
  }
}

}  // namespace

IndexHeader read_index_header(const std::string& path) {
  const MappedFile file(path, "data", what_is_mapped);
  const TokenType type = check_header(file);
  const Arrays arrays = find_arrays(file);
  return {type, arrays.sequences, arrays.document_entries - 1};
}

IndexFile read_index_file(const std::string& path) {
  const MappedFile file(path, "data", what_is_mapped);
  IndexFile index;
  index.type = check_header(file);
  const Arrays arrays = find_arrays(file);
  index.sequences = arrays.sequences;
  index.documents = arrays.document_entries - 1;
  index.tokens = check_sequences(path, arrays, size_of(index.type));
  check_documents(path, arrays);
  check_modes(path, arrays);
  const XXH128_hash_t hash = XXH3_128bits(file.data(), static_cast<size_t>(file.size()));
  index.hash = {hash.high64, hash.low64};
  return index;
}

}  // namespace switchyard
