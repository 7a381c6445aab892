#include "launch/reshard/copied_tensors.h"

#include <algorithm>
#include <map>
#include <utility>

#include "core/error.h"
#include "core/memory.h"
#include "parallel/checkpoint/index.h"
#include "parallel/checkpoint/state_groups.h"

namespace switchyard {

namespace {

CopiedTensor copied(ReadOnce& from, const std::string& name, const StoredTensor& as,
                    std::vector<std::string> aliases = {}) {
  return {as, std::move(aliases),
          [&from, name](const Box& part, void* out) { from.reads.read(name, part, out); }};
}

// In the order in which they lie in the files, so that each of these is read from its begin to its
// end. A rank's further pieces of a tensor are in the same order.
std::vector<const IndexedTensor*> in_order(const CheckpointReader& reader) {
  std::vector<const IndexedTensor*> all;
  for (const IndexedTensor& entry : reader.index().tensors) all.push_back(&entry);
  std::ranges::stable_sort(all, {}, [](const IndexedTensor* entry) {
    return entry->pieces.empty()
               ? std::pair<int, int64_t>(0, 0)
               : std::pair(entry->pieces.front().shard, entry->pieces.front().address);
  });
  return all;
}

// Weights of other steps, as a checkpoint holds them that has no such steps beside it.
void add_members(const StepSource& source, std::vector<CopiedTensor>& all) {
  for (const AverageRecord& record : source.averages().records) {
    for (const int64_t member : record.members) {
      const auto from = source.members.find(member);
      if (from == source.members.end()) continue;
      ReadOnce& read = *from->second;
      for (const std::string& weight : weights_in(read.reader)) {
        const std::string name = tensor_name(groups::master, weight);
        const StoredTensor* stored = read.reader.find(name);
        check(stored != nullptr, ExitCode::storage, "reshard", "step {} has no {}", member, name);
        const auto group = fmt::format("average/{}/member-{}", record.spec.name, member);
        all.push_back(copied(read, name, {tensor_name(group, weight), stored->shape, DType::f32}));
      }
    }
  }
}

CopiedTensor converted(ReadOnce& from, const StoredTensor& stored, const StoredTensor& as,
                       RoundingLoss& loss) {
  return {as, {}, [&from, &loss, stored, as](const Box& part, void* out) {
            const int64_t elements = part.extent.elements();
            const Memory raw(elements * size_of(stored.dtype), Device::cpu, "stored weights");
            from.reads.read(stored.name, part, raw.data());
            convert_elements(raw.data(), stored.dtype, out, as.dtype, elements, as.name, loss);
          }};
}

}  // namespace

std::vector<CopiedTensor> all_tensors(const StepSource& source) {
  ReadOnce& step = *source.step;
  std::vector<CopiedTensor> all;
  for (const IndexedTensor* entry : in_order(step.reader)) {
    if (source.at_fork && entry->tensor.name.starts_with("/average/")) continue;
    all.push_back(copied(step, entry->tensor.name, entry->tensor, entry->aliases));
  }
  add_members(source, all);
  return all;
}

std::vector<CopiedTensor> weights_alone(const StepSource& source, std::optional<DType> dtype,
                                        RoundingLoss& loss) {
  ReadOnce& step = *source.step;
  std::map<std::string, std::string> weights;  // by the name of their most precise copy
  for (const std::string& weight : weights_in(step.reader)) {
    const std::string master = tensor_name(groups::master, weight);
    const std::string model = tensor_name(groups::model, weight);
    weights[step.reader.find(master) != nullptr ? master : model] = model;
  }
  std::vector<CopiedTensor> all;
  const auto add = [&](const StoredTensor& stored, const std::string& name) {
    const auto weight = weights.find(name);
    if (weight == weights.end()) return;
    const StoredTensor as{weight->second, stored.shape, dtype.value_or(stored.dtype)};
    all.push_back(as.dtype == stored.dtype ? copied(step, stored.name, as)
                                           : converted(step, stored, as, loss));
  };
  for (const IndexedTensor* entry : in_order(step.reader)) {
    add(entry->tensor, entry->tensor.name);
    for (const std::string& alias : entry->aliases) add(entry->tensor, alias);
  }
  return all;
}

int64_t bytes_of(const std::vector<CopiedTensor>& tensors) {
  int64_t bytes = 0;
  for (const auto& each : tensors)
    bytes += each.tensor.shape.elements() * size_of(each.tensor.dtype);
  return bytes;
}

}  // namespace switchyard
