#pragma once

#include "launch/engine/engine.h"
#include "launch/path/retention.h"
#include "launch/path/run_folder.h"
#include "launch/path/specification.h"
#include "parallel/checkpoint/checkpoint.h"
#include "parallel/mesh.h"

namespace switchyard {

// Saves steps of a path, and deletes those that need not be kept any more.
class Saver {
 public:
  // What is referred to must outlive it.
  Saver(const RunFolder& run, const PathSpecification& path, const Mesh& mesh,
        const RetentionOptions& keep);
  // What the engines of all ranks have behind the step, whose batch has the `loss`. Collective;
  // errors are agreed on.
  void save(int64_t step, int64_t samples, double loss, Engine& engine);

 private:
  const RunFolder& run_;
  const PathSpecification& path_;
  const Mesh& mesh_;
  Retention retention_;
  CheckpointWriter writer_;
};

}  // namespace switchyard
