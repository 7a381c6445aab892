#pragma once

#include <filesystem>
#include <string>

#include "launch/path/run_folder.h"

// The files beside a published model's weights: its configuration, its tokenizer's files, its
// settings of generation. An imported run keeps them, and what is exported of it and of its
// branches has them again.
namespace switchyard {

// In an imported run.
inline constexpr const char* companion_folder = "huggingface";

// Copies those that `from` has.
void copy_companions(const std::filesystem::path& from, const std::filesystem::path& to);
// The same of a tokenizer's files alone; returns how many.
int copy_tokenizer(const std::filesystem::path& from, const std::filesystem::path& to);

// That of the imported run which this run, or an ancestor of it, began with; empty: there is none,
// or it is not to be found.
std::filesystem::path companions_of(const RunFolder& run);

// The text of a file, or none.
std::string text_of(const std::filesystem::path& folder, const char* file);

}  // namespace switchyard
