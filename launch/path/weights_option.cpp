#include "launch/path/weights_option.h"

#include "core/error.h"

namespace switchyard {

void check_weights_option(const CheckpointReader* reader, const std::string& group) {
  if (group == groups::model) return;
  check(reader != nullptr, "options", "--weights {}; the random start has {} alone", group,
        groups::model);
  std::string allowed;
  for (const StoredGroup& stored : stored_groups(*reader)) {
    if (!stored.has_all_weights) continue;
    if (stored.name == group) return;
    allowed += (allowed.empty() ? "" : ", ") + stored.name;
  }
  fail("options", "--weights {}; the weights in step {} are {}", group, reader->info().step,
       allowed);
}

}  // namespace switchyard
