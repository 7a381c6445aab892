#include "data/dataset_writer.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "core/error.h"
#include "core/files.h"
#include "data/index_file.h"

namespace switchyard {

namespace {

constexpr int64_t narrow_vocabulary = 65'500;

}  // namespace

DatasetWriter::DatasetWriter(const std::string& prefix, int64_t vocabulary, int64_t sequence_limit)
    : prefix_(prefix),
      vocabulary_(vocabulary),
      sequence_limit_(sequence_limit),
      type_(vocabulary < narrow_vocabulary ? TokenType::u16 : TokenType::i32),
      bin_(prefix + ".bin"),
      idx_(prefix + ".idx"),
      json_(prefix + ".json") {
  // The lengths follow the header at once; the header's counts are known in the end.
  idx_.append(std::vector<std::byte>(static_cast<size_t>(index_header_bytes)));
}

void DatasetWriter::append(std::span<const int32_t> tokens) {
  while (!tokens.empty()) {
    if (sequence_tokens_ == sequence_limit_) {
      end_sequence();
      continued_.push_back(sequences_);
    }
    const auto room = static_cast<size_t>(sequence_limit_ - sequence_tokens_);
    const size_t count = std::min(room, tokens.size());
    append_tokens(tokens.first(count));
    tokens = tokens.subspan(count);
  }
}

void DatasetWriter::append_tokens(std::span<const int32_t> tokens) {
  int32_t smallest = 0;
  int32_t largest = 0;
  for (const int32_t token : tokens) {
    smallest = std::min(smallest, token);
    largest = std::max(largest, token);
  }
  check(smallest >= 0 && largest < vocabulary_, "tokenize",
        "tokens from {} to {} were given; 0 to {} is allowed", smallest, largest, vocabulary_ - 1);
  if (type_ == TokenType::u16) {
    narrow_.assign(tokens.begin(), tokens.end());
    bin_.append(std::as_bytes(std::span(narrow_)));
  } else {
    bin_.append(std::as_bytes(tokens));
  }
  const auto count = static_cast<int64_t>(tokens.size());
  sequence_tokens_ += count;
  document_tokens_ += count;
  tokens_ += count;
  largest_token_ = std::max(largest_token_, int64_t{largest});
}

void DatasetWriter::end_sequence() {
  idx_.append_value(static_cast<int32_t>(sequence_tokens_));
  ++sequences_;
  sequence_tokens_ = 0;
}

void DatasetWriter::end_document() {
  if (document_tokens_ == 0) return;
  end_sequence();
  ++documents_;
  document_tokens_ = 0;
}

// The offsets are sums of the lengths, which are read back in pieces.
void DatasetWriter::write_offsets() {
  std::vector<int32_t> lengths;
  int64_t offset = 0;
  constexpr int64_t piece = 1 << 16;
  for (int64_t first = 0; first < sequences_; first += piece) {
    lengths.resize(static_cast<size_t>(std::min(piece, sequences_ - first)));
    idx_.read_at(index_header_bytes + 4 * first, std::as_writable_bytes(std::span(lengths)));
    for (const int32_t length : lengths) {
      idx_.append_value(offset);
      offset += length * size_of(type_);
    }
  }
}

void DatasetWriter::write_document_index() {
  auto continued = continued_.begin();
  for (int64_t sequence = 0; sequence < sequences_; ++sequence) {
    if (continued != continued_.end() && *continued == sequence) {
      ++continued;
    } else {
      idx_.append_value(sequence);
    }
  }
  idx_.append_value(sequences_);
}

void DatasetWriter::write_header() {
  std::array<std::byte, static_cast<size_t>(index_header_bytes)> header;
  const auto entries = static_cast<uint64_t>(documents_ + 1);
  std::memcpy(header.data(), index_magic.data(), index_magic.size());
  std::memcpy(header.data() + 9, &index_version, 8);
  std::memcpy(header.data() + 17, &type_, 1);
  std::memcpy(header.data() + 18, &sequences_, 8);
  std::memcpy(header.data() + 26, &entries, 8);
  idx_.write_at(0, header);
}

// A set is there when its index is: an old index goes first, the new one comes last, so that no
// moment shows an index beside another set's tokens.
void DatasetWriter::publish() {
  for (OutputFile* file : {&bin_, &json_, &idx_}) file->sync();
  const bool gone = unlink(idx_.path().c_str()) == 0 || errno == ENOENT;
  check(gone, ExitCode::storage, "tokenize", "{} cannot be replaced: {}", idx_.path(),
        std::strerror(errno));
  for (OutputFile* file : {&bin_, &json_, &idx_}) file->publish();
  sync_folder(std::filesystem::path(prefix_).parent_path());  // it may be unreadable
}

void DatasetWriter::finish(DatasetInfo info) {
  end_document();
  write_offsets();
  write_document_index();
  write_header();
  info.vocabulary = vocabulary_;
  info.largest_token = largest_token_;
  const std::string description = to_json({info, tokens_, documents_});
  json_.append(std::as_bytes(std::span(description)));
  publish();
}

}  // namespace switchyard
