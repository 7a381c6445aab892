#pragma once

#include <cstddef>
#include <span>

// What a fuzzer calls with any bytes. An Error is how they are refused; another exception, or
// std::logic_error where what was read is not what it promises to be, is a finding.
namespace switchyard::test {

// As a file, and as the JSON of a header before 64 bytes of data.
void fuzz_safetensors_header(std::span<const std::byte> input);
// As model.safetensors.index.json.
void fuzz_safetensors_index(std::span<const std::byte> input);

}  // namespace switchyard::test
