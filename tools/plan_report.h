#pragma once

#include <string>
#include <vector>

#include "launch/engine/memory_plan.h"
#include "launch/path/specification.h"
#include "launch/saver.h"

namespace switchyard {

// What `plan` was asked for.
struct Planned {
  PathSpecification path;
  std::vector<std::string> assumed;  // what was not given or was rounded, and how it was chosen
  EngineOptions engine;
  Layout layout;
  SavingOptions saving;
};

std::vector<MemoryPlan> memory_of_stages(const Planned& p);
void print_plan(const Planned& p, const std::vector<MemoryPlan>& memory, bool products);
void print_plan_json(const Planned& p, const std::vector<MemoryPlan>& memory);

}  // namespace switchyard
