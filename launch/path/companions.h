#pragma once

#include <filesystem>
#include <string>

#include "launch/path/run_folder.h"

// The files beside a published model's weights: its configuration, its tokenizer's files, its
// settings of generation. An imported run keeps them and so does a path that begins with its
// weights; what is exported of them and of their branches has them again.
namespace switchyard {

// In these runs.
inline constexpr const char* companion_folder = "huggingface";

// Copies those that `from` has.
void copy_companions(const std::filesystem::path& from, const std::filesystem::path& to);
// The same of a tokenizer's files alone; returns how many.
int copy_tokenizer(const std::filesystem::path& from, const std::filesystem::path& to);

// What a path of such a model calls its tokenizer: "huggingface:" and the beginning of a hash;
// empty where the folder has no tokenizer.
std::string tokenizer_of(const std::filesystem::path& folder);
bool is_foreign_tokenizer(const std::string& name);

// That of this run, or of the nearest ancestor that has one; empty: there is none, or it is not to
// be found.
std::filesystem::path companions_of(const RunFolder& run);

// Whether the two have other tokenizers' files, or a config.json with other values, but for dtypes,
// versions and names; "config.json (eos_token_id)"; empty: they are alike.
std::string unlike_companions(const std::filesystem::path& a, const std::filesystem::path& b);

// The text of a file, or none.
std::string text_of(const std::filesystem::path& folder, const char* file);

}  // namespace switchyard
