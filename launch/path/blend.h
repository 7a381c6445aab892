#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/training_data.h"

// Token sets and their weights, as --data-path names them.
namespace switchyard {

// The sources of --data-path or another option: one PREFIX, or WEIGHT PREFIX pairs. Throws Error.
std::vector<DataSource> parse_sources(const std::vector<std::string>& values,
                                      const char* option = "data-path");
// The sources of a --data-path with their identities. Opens the sets; throws Error.
std::vector<DataSource> identified_sources(const std::vector<std::string>& values,
                                           int64_t vocabulary);

std::string describe(const std::vector<DataSource>& sources);
std::string show_blend(const std::vector<DataSource>& sources);  // as --data-path gives it
// The same sets with the same weights, wherever they lie.
bool is_same_blend(const std::vector<DataSource>& a, const std::vector<DataSource>& b);
// The same names with the same weights; nothing is opened.
bool is_named_blend(const std::vector<DataSource>& a, const std::vector<DataSource>& b);

}  // namespace switchyard
