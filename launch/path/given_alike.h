#pragma once

#include <exception>
#include <span>
#include <string>

#include "core/device.h"
#include "launch/path/options.h"

namespace switchyard {

class ControlPlane;

// What a rank of `subcommand` was given, as others read it: its machine, names, options wherever
// they stood, and the device, given or not. Network interfaces are a machine's own.
std::string text_of_given(const std::string& host, const std::string& subcommand,
                          const Command& command, Device device);

// The first rank whose text says other things than that of the first rank, with what it is and both
// values; empty: none. Empty texts are of ranks that have nothing to say.
std::string first_difference(std::span<const std::string> texts);

// Collective: ends all ranks where what they were given is not alike, or where one of them has met
// a problem with it.
void agree_on_given(ControlPlane& control, const std::string& mine,
                    const std::exception_ptr& problem);

}  // namespace switchyard
