#pragma once

#include <array>
#include <string>
#include <vector>

#include "launch/path/specification.h"

// What the ways to a specification (a new path, a fork, going on) check alike. Each throws Error
// naming option, value and what is allowed.
namespace switchyard {

inline constexpr std::array loss_scale_options = {"initial-loss-scale", "min-loss-scale",
                                                  "loss-scale-window", "hysteresis"};

void check_schedule_options(const Settings& s, const char* decay_meaning);
void check_numbers(const Settings& s);
void check_precision(const Settings& s);
void check_positions(const PathSpecification& path);

// Model options as a whole: preset first, what is given over it, derived fields last. The
// vocabulary is the data's, or the larger one that was asked for.
Settings resolve_model(const Settings& given, int64_t data_vocabulary);

// Whether the path has the given value. The norms' epsilon counts as what it is in fp32: that is
// what they compute with, and what older paths hold.
bool is_same_setting(const std::string& name, const Settings& path, const Settings& given);

std::string describe(const std::vector<DataSource>& sources);
std::string show_blend(const std::vector<DataSource>& sources);  // as --data-path gives it
// The same sets with the same weights, wherever they lie.
bool is_same_blend(const std::vector<DataSource>& a, const std::vector<DataSource>& b);
// The same names with the same weights; nothing is opened.
bool is_named_blend(const std::vector<DataSource>& a, const std::vector<DataSource>& b);
// The sources of a --data-path with their identities. Opens the sets; throws Error.
std::vector<DataSource> identified_sources(const std::vector<std::string>& values,
                                           int64_t vocabulary);

const char* precision_name(DType dtype);                   // as options name it: fp32, bf16, fp16
std::string show(const std::vector<std::string>& values);  // as on the command line

}  // namespace switchyard
