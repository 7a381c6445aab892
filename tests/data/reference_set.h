#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/error.h"

namespace switchyard::test {

// The parts of a Megatron dataset, written as its format says and without the code under test; a
// test spoils what it likes before writing.
struct ReferenceSet {
  std::string magic{"MMIDIDX\0\0", 9};
  uint64_t version = 1;
  uint8_t type = 4;
  std::vector<int32_t> lengths;
  std::vector<int64_t> offsets;
  std::vector<int64_t> documents;
  std::vector<int8_t> modes;
  std::string bin;
  std::string json;  // empty: no file
  // Counts in the header; -1: what the vectors have.
  int64_t header_sequences = -1;
  int64_t header_documents = -1;

  // One sequence per document.
  ReferenceSet(uint8_t type_code, const std::vector<std::vector<int64_t>>& texts);
  std::string index() const;
  void write(const std::string& prefix) const;
};

// `count` tokens i % modulus in documents of at most 100, with a PREFIX.json of the byte tokenizer.
void write_counting_set(const std::string& prefix, int64_t count, int64_t modulus = 251);

void write_file(const std::string& path, const std::string& content);
std::string read_file(const std::string& path);

// Runs `action`, which must throw Error, and returns the message.
template <class Action>
std::string message_of(Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  ADD_FAILURE() << "no Error was thrown";
  return "";
}

}  // namespace switchyard::test
