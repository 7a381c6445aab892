#include "launch/exchange/export_source.h"

#include <algorithm>

#include "core/error.h"
#include "launch/path/companions.h"
#include "launch/path/verify.h"
#include "launch/path/weights_option.h"
#include "model/exchange/map_copy.h"

namespace switchyard {

ExportSource::ExportSource(const ExportRequest& given)
    : request(given),
      run(parse_run_reference(given.from).folder),
      path(run.read()),
      entry(run.checkpoint(parse_run_reference(given.from).step)),
      reader(entry.folder),
      companions(companions_of(run)) {
  check_weights_option(&reader, request.weights);
  for (const auto moments : {groups::exp_avg, groups::exp_avg_sq}) {
    check(request.weights != moments, "convert", "--weights {} are Adam's moments, no weights",
          moments);
  }
  if (path.model.max_positions == 0) path.model.max_positions = path.sequence_length();
}

const StoredTensor& ExportSource::stored(const std::string& weight) const {
  const auto* found = reader.find(tensor_name(request.weights, weight));
  check(found != nullptr, "convert", "step {} of '{}' has no '{}' in {}", entry.step,
        run.folder().string(), weight, request.weights);
  return *found;
}

std::vector<ForeignTensor> foreign_tensors(const ExportSource& source, Architecture architecture) {
  std::vector<ForeignTensor> all;
  for (auto& map : weight_maps(architecture, source.path.model)) {
    const auto& ours = source.stored(map.ours);
    check(ours.shape == map.shape, "convert", "'{}' is stored as {}; the model needs {}", map.ours,
          ours.shape.to_string(), map.shape.to_string());
    const DType dtype = source.request.dtype.value_or(ours.dtype);
    const auto known = std::ranges::find(all, map.theirs, &ForeignTensor::name);
    if (known == all.end()) {
      all.push_back({map.theirs, map.their_shape, dtype, {map}});
    } else {
      if (known->dtype != dtype) known->dtype = DType::f32;  // holds all
      known->maps.push_back(map);
    }
  }
  return all;
}

void ForeignReader::fill(const ForeignTensor& tensor, int64_t first, int64_t count, void* out) {
  const auto read = [&](const WeightMap& map, const Box& box, std::byte* to) {
    read_box(map, box, tensor.dtype, to);
  };
  for (const auto& map : tensor.maps) {
    copy_to_theirs(map, size_of(tensor.dtype), read, first, count, static_cast<std::byte*>(out));
  }
}

void ForeignReader::verify_rest() const {
  verify_rest_with_progress(source_.reader, reads_.checked_or_unread(), 0, 1);
}

void ForeignReader::read_box(const WeightMap& map, const Box& box, DType dtype, std::byte* to) {
  const auto& ours = source_.stored(map.ours);
  if (ours.dtype == dtype) return reads_.read(ours.name, box, to);
  const int64_t elements = box.extent.elements();
  raw_.resize(static_cast<size_t>(elements * size_of(ours.dtype)));
  reads_.read(ours.name, box, raw_.data());
  convert_elements(raw_.data(), ours.dtype, to, dtype, elements, map.ours, loss_);
}

}  // namespace switchyard
