#pragma once

#include <filesystem>

namespace switchyard {

class Communicator;

// From here on faults of this start, fatal signals among them, leave reports in RUN/faults
// (core/fault_report.h). Collective.
void name_fault_place(const std::filesystem::path& run, Communicator& world);

}  // namespace switchyard
