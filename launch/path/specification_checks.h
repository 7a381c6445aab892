#pragma once

#include <array>
#include <string>
#include <vector>

#include "launch/path/specification.h"

// What the ways to a specification (a new path, a fork, going on) have and check alike. Each throws
// Error naming option, value and what is allowed.
namespace switchyard {

inline constexpr std::array loss_scale_options = {"initial-loss-scale", "min-loss-scale",
                                                  "loss-scale-window", "hysteresis"};

// All training options in one Settings, defaults filled in.
Settings training_settings(const Settings& given);
// The schedule of a path that begins at step 0.
Schedule schedule_of(const Settings& settings);

void check_schedule_options(const Settings& s, const char* decay_meaning);
void check_precision(const Settings& s);
void check_positions(const PathSpecification& path);

// Whether the path has the given value. The norms' epsilon counts as what it is in fp32: that is
// what they compute with, and what older paths hold.
bool is_same_setting(const std::string& name, const Settings& path, const Settings& given);

const char* precision_name(DType dtype);  // as options name it: fp32, bf16, fp16

}  // namespace switchyard
