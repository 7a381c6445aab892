#include "launch/path/unreadable_step.h"

#include "launch/path/problem_of.h"

namespace switchyard {

std::optional<Error> problem_of_step(const CheckpointEntry& entry) {
  return problem_of([&] { CheckpointReader{entry.folder}; });
}

}  // namespace switchyard
