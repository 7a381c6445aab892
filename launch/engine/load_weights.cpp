#include "launch/engine/load_weights.h"

#include <string>

#include "core/error.h"
#include "core/memory.h"
#include "core/ops/elementwise.h"

namespace switchyard {

namespace {

// Through host memory, where another precision is rounded.
void load_weight(const Parameter& p, const CheckpointReader& reader, const StoredTensor& stored,
                 Stream& stream, const ops::Context& host) {
  const Device device = p.weight.device;
  const Tensor weight(p.weight.data, p.weight.dtype, p.box.extent, device);
  const bool direct = stored.dtype == weight.dtype;
  if (direct && device == Device::cpu) {
    reader.read(stored.name, p.box, weight.data);
    return;
  }
  Scratch::Scope scope(host.scratch);
  Tensor loaded = scope.allocate(p.box.extent, stored.dtype);
  reader.read(stored.name, p.box, loaded.data);
  if (!direct) {
    const Tensor rounded = scope.allocate(p.box.extent, weight.dtype);
    ops::cast(host, loaded, rounded);
    loaded = rounded;
  }
  copy_bytes(weight.data, loaded.data, loaded.bytes(), stream);
  stream.synchronize();
}

}  // namespace

void load_weights(std::span<const Parameter> parameters, const CheckpointReader& reader,
                  Stream& stream, std::string_view group) {
  Stream host;
  Scratch scratch;
  for (const Parameter& p : parameters) {
    if (p.box.empty()) continue;
    const std::string name = tensor_name(group, p.name);
    const auto* stored = reader.find(name);
    check(stored != nullptr, "checkpoint", "step {} has no tensor '{}'", reader.info().step, name);
    check(stored->shape == p.global, "checkpoint", "'{}' is stored as {}; the model needs {}", name,
          stored->shape.to_string(), p.global.to_string());
    load_weight(p, reader, *stored, stream, {host, scratch});
  }
}

}  // namespace switchyard
