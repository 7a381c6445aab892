#pragma once

#include <filesystem>
#include <vector>

#include "launch/exchange/export_request.h"
#include "launch/exchange/rounding.h"
#include "launch/path/run_folder.h"
#include "model/exchange/weight_map.h"
#include "parallel/checkpoint/checked_reads.h"

namespace switchyard {

// What is exported, opened and checked.
struct ExportSource {
  explicit ExportSource(const ExportRequest& request);

  const StoredTensor& stored(const std::string& weight) const;  // throws Error where it is not

  ExportRequest request;
  RunFolder run;
  PathSpecification path;
  CheckpointEntry entry;
  CheckpointReader reader;
  std::filesystem::path companions;  // companions_of(run)
};

// One of their tensors and those of ours that it is made of.
struct ForeignTensor {
  std::string name;
  Shape shape;
  DType dtype = DType::f32;
  std::vector<WeightMap> maps;
};
// In the order of their files; each has the dtype asked for, or that of ours, or where these differ
// f32. Throws Error for a weight that is stored in another shape than the model's.
std::vector<ForeignTensor> foreign_tensors(const ExportSource& source, Architecture architecture);

// Reads, converts and checks what is written.
class ForeignReader {
 public:
  explicit ForeignReader(const ExportSource& source) : source_(source), reads_(source.reader) {}

  // Rows [first, first + count) of their tensor.
  void fill(const ForeignTensor& tensor, int64_t first, int64_t count, void* out);
  void verify_rest() const;  // what has not been checked on the way
  const RoundingLoss& loss() const { return loss_; }

 private:
  void read_box(const WeightMap& map, const Box& box, DType dtype, std::byte* to);

  const ExportSource& source_;
  CheckedReads reads_;
  RoundingLoss loss_;
  std::vector<std::byte> raw_;
};

}  // namespace switchyard
