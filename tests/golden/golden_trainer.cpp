#include "tests/golden/golden_trainer.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "core/ops/elementwise.h"
#include "tests/model/host_elements.h"
#include "tests/parallel/pipeline/peak_live.h"

namespace switchyard::test {

namespace {

constexpr int64_t micro_batch = 1;

}  // namespace

GoldenTrainer::GoldenTrainer(const GoldenFile& golden, const Layout& layout, Device device,
                             DType dtype, Communicator& world)
    : golden_(golden),
      stream_(device),
      scratch_(device),
      mesh_(make_mesh(layout, world)),
      schedule_(
          schedule_1f1b(layout.pp, static_cast<int>(golden.batch) / layout.dp, mesh_.place.pp)),
      stage_(GptConfig::from_json(golden.config), mesh_, stage_options(device, dtype), context_),
      buffers_(stage_.parameters(),
               {.dp = layout.dp, .dp_rank = mesh_.place.dp, .dtype = dtype, .device = device}),
      sync_(buffers_, mesh_, context_),
      optimizer_(buffers_, mesh_, optimizer_options(), context_),
      executor_(mesh_, stage_.exchanged(), dtype, peak_live(schedule_), stream_),
      rate_(schedule_from_scratch(golden.optimizer.at("learning_rate"), 0,
                                  static_cast<int64_t>(golden.optimizer.at("warmup")),
                                  DecayStyle::constant, 0)) {
  load_weights();
  optimizer_.adopt_weights();
  make_inputs();
}

GptStage::Options GoldenTrainer::stage_options(Device device, DType dtype) const {
  return {.dtype = dtype,
          .micro_batch = micro_batch,
          .sequence_length = golden_.length,
          .device = device,
          .slots = peak_live(schedule_)};
}

DistributedOptimizer::Options GoldenTrainer::optimizer_options() const {
  const auto& given = golden_.optimizer;
  DistributedOptimizer::Options o;
  o.adamw.beta1 = given.at("beta1");
  o.adamw.beta2 = given.at("beta2");
  o.adamw.epsilon = given.at("epsilon");
  o.adamw.weight_decay = given.at("weight_decay");
  o.clip_norm = given.at("clip_norm");
  return o;
}

double GoldenTrainer::step(int64_t number) {
  inputs_.clear();
  const std::vector<TokenBatch> batches = read_batches(number);
  sync_.begin_step();
  stage_.begin(batches, {.step = number, .ready = [&](int i) { sync_.parameter_ready(i); }});
  executor_.run(schedule_, stage_);
  sync_.finish();
  const auto tokens = static_cast<double>(golden_.batch * golden_.length);
  const double rate = learning_rate(rate_, number);
  DistributedOptimizer::Contribution own;
  if (mesh_.world->rank() == 0) own.tokens = put(&tokens, {1}, DType::f64);
  optimizer_.step(own, put(&rate, {1}, DType::f64));
  sync_.gather_weights();
  if (!mesh_.last_stage() || mesh_.place.tp != 0) return 0;
  return HostElements(stage_.loss_sum(), stream_).view().span<double>()[0] / tokens;
}

// The box of each parameter out of the whole tensor.
void GoldenTrainer::load_weights() {
  for (const Parameter& p : stage_.parameters()) {
    const std::vector<float>& whole = golden_.weights.at(p.name);
    ASSERT_EQ(static_cast<int64_t>(whole.size()), p.global.elements()) << p.name;
    const bool matrix = p.global.rank() == 2;
    const int64_t columns = matrix ? p.box.extent[1] : 1;
    std::vector<float> box(static_cast<size_t>(p.weight.elements()), 0.0f);
    for (int64_t row = 0; row < p.box.extent[0]; ++row) {
      const int64_t from =
          matrix ? (p.box.offset[0] + row) * p.global[1] + p.box.offset[1] : p.box.offset[0] + row;
      std::copy_n(whole.data() + from, columns, box.data() + row * columns);
    }
    const HostElements host(p.weight, stream_);
    Stream host_stream;
    Scratch host_scratch;
    ops::cast({host_stream, host_scratch}, Tensor(box.data(), DType::f32, p.weight.shape),
              host.view());
    host.put_back();
  }
}

void GoldenTrainer::make_inputs() {
  const Shape tokens{micro_batch, golden_.length};
  inputs_ = Arena("inputs",
                  2 * golden_.batch * Arena::footprint(tokens, DType::i32) +
                      2 * Arena::footprint({1}, DType::f64),
                  stream_.device());
}

Tensor GoldenTrainer::put(const void* host, const Shape& shape, DType dtype) {
  const Tensor t = inputs_.allocate(shape, dtype, "input");
  copy_bytes(t.data, host, t.bytes(), stream_);
  return t;
}

std::vector<TokenBatch> GoldenTrainer::read_batches(int64_t number) {
  std::vector<TokenBatch> batches;
  const Shape shape{micro_batch, golden_.length};
  for (int64_t s = mesh_.place.dp; s < golden_.batch; s += mesh_.layout.dp) {
    const int64_t row = ((number - 1) * golden_.batch + s) * (golden_.length + 1);
    const int32_t* sample = golden_.tokens.data() + row;
    batches.push_back({put(sample, shape, DType::i32), put(sample + 1, shape, DType::i32), s});
  }
  return batches;
}

}  // namespace switchyard::test
