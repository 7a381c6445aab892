#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "data/token_type.h"

namespace switchyard {

// The layout of PREFIX.idx (Megatron-LM, megatron/core/datasets/indexed_dataset.py): this header,
// then i32[sequences] lengths in tokens, i64[sequences] byte offsets into PREFIX.bin,
// i64[documents + 1] the document index (first 0, last `sequences`), all little-endian and, as the
// header has 34 bytes, unaligned. Multimodal sets append i8[sequences] modes.
inline constexpr std::array<char, 9> index_magic{'M', 'M', 'I', 'D', 'I', 'D', 'X', '\0', '\0'};
inline constexpr uint64_t index_version = 1;
inline constexpr int64_t index_header_bytes = 34;

// Behind "is not a regular file".
inline constexpr std::string_view what_is_mapped = "a token set is made of two";

struct IndexHeader {
  TokenType type = TokenType::i32;
  int64_t sequences = 0;
  int64_t documents = 0;
};
struct IndexFile : IndexHeader {
  int64_t tokens = 0;
  std::array<uint64_t, 2> hash{};  // XXH3-128 of the whole file, high half first
};

// Reads the header alone, whose counts must fit the file's size. Throws Error naming the file.
IndexHeader read_index_header(const std::string& path);

// Reads and checks all of an index file: every length, offset and document. Throws Error naming the
// file and what does not fit.
IndexFile read_index_file(const std::string& path);

}  // namespace switchyard
