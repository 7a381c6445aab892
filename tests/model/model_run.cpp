#include "tests/model/model_run.h"

#include <omp.h>

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "core/ops/elementwise.h"
#include "core/ops/matmul/plan.h"
#include "core/profiler.h"
#include "core/random.h"
#include "optim/gradient_sync.h"
#include "parallel/comm/scratch_pool.h"
#include "tests/model/host_elements.h"
#include "tests/parallel/pipeline/peak_live.h"

namespace switchyard::test {

namespace {

GptConfig tiny(double dropout) {
  GptConfig c;
  c.layers = 3;
  c.hidden = 32;
  c.heads = 4;
  c.ffn_hidden = 48;
  c.vocabulary = 150;  // padded to 256: the second half of it is mostly padding
  c.max_positions = 11;
  c.init_deviation = 0.15;
  c.hidden_dropout = c.attention_dropout = dropout;
  return c;
}

int32_t token_at(int64_t sample, int64_t position, int64_t vocabulary) {
  const RandomKey key{99, 0, 1};
  return static_cast<int32_t>(key.word(static_cast<uint64_t>(sample * 1000 + position)) %
                              static_cast<uint64_t>(vocabulary));
}

// Calls visit(element of the global tensor, element of the storage) for the box of a parameter.
template <class Visit>
void visit_box(const Parameter& p, const Visit& visit) {
  const bool matrix = p.global.rank() == 2;
  const int64_t columns = matrix ? p.box.extent[1] : 1;
  for (int64_t i = 0; i < p.box.extent[0]; ++i) {
    for (int64_t j = 0; j < columns; ++j) {
      const int64_t global =
          matrix ? (p.box.offset[0] + i) * p.global[1] + p.box.offset[1] + j : p.box.offset[0] + i;
      visit(static_cast<size_t>(global), static_cast<size_t>(i * columns + j));
    }
  }
}

// Norms and biases away from ones and zeros, so that mistakes in them show.
void shake(Parameter& p, Stream& stream) {
  if (p.initial == Initial::normal) return;
  const RandomKey key{5, 0, random_purpose(p.name)};
  const HostElements host(p.weight, stream);
  visit_box(p, [&](size_t global, size_t local) {
    const float shift = 0.2f * random_normal(key, global);
    if (p.weight.dtype == DType::bf16) {
      auto& value = host.view().span<bf16>()[local];
      value = bf16(float(value) + shift);
    } else {
      host.view().span<float>()[local] += shift;
    }
  });
  host.put_back();
}

double value_at(const Tensor& t, size_t i) {
  return t.dtype == DType::bf16 ? double{float(t.span<bf16>()[i])} : double{t.span<float>()[i]};
}

// One rank of a run.
class Rank {
 public:
  Rank(const ModelRun& run, Communicator& world)
      : run_(run),
        stream_(run.device),
        scratch_(run.device),
        mesh_(make_mesh(run.layout, world)),
        schedule_(schedule(run.training)),
        stage_(run.config, mesh_, options(), {stream_, scratch_}),
        buffers_(stage_.parameters(), {.dp = run.layout.dp,
                                       .dp_rank = mesh_.place.dp,
                                       .dtype = run.dtype,
                                       .bucket_elements = 4096,
                                       .gradients = run.training,
                                       .device = run.device}),
        sync_(buffers_, mesh_, {stream_, scratch_}),
        executor_(mesh_, stage_.exchanged(), run.dtype, peak_live(schedule_), stream_) {
    stage_.initialize(run.seed);
    for (Parameter& p : stage_.parameters()) shake(p, stream_);
    make_inputs();
    for (int i = mesh_.place.dp; i < run.microbatches; i += run.layout.dp) add_batch(i);
  }

  double evaluate() {
    stage_.begin_evaluation(batches_);
    executor_.run(schedule(false), stage_);
    return loss_sum();
  }

  double repeat() {
    if (run_.training) {
      sync_.begin_step();
      poison_overwritten();
      sync_.start_gathering_weights();
      stage_.begin(batches_,
                   {.step = run_.step,
                    .gradient_scale = {.loss_scale = loss_scale_, .multiplier = run_.multiplier},
                    .needed = [&](int i) { sync_.weights_needed(i); },
                    .ready = [&](int i) { sync_.parameter_ready(i); }});
    } else {
      stage_.begin_evaluation(batches_);
    }
    std::optional<Profiler> profiler;
    if (run_.expect_stated_products) profiler.emplace(run_.device).begin();
    executor_.run(schedule_, stage_);
    if (profiler) {
      profiler->end(stream_);
      EXPECT_EQ(products_run(*profiler), products_stated())
          << "tp " << mesh_.place.tp << ", pp " << mesh_.place.pp;
    }
    if (run_.training) {
      sync_.finish();
      sync_.wait_for_weights();
    }
    return loss_sum();
  }

  void collect(ModelResult& result) {
    const bool counts = mesh_.last_stage() && mesh_.place.tp == 0;
    if (counts) result.loss_sum += loss_sum();
    for (const Parameter& p : stage_.parameters()) {
      if (!p.stored) continue;
      take(p, p.weight, result.weights[p.name]);
      if (run_.training) take(p, p.gradient, result.gradients[p.name]);
    }
  }

 private:
  double loss_sum() { return HostElements(stage_.loss_sum(), stream_).view().span<double>()[0]; }

  // What backward overwrites may hold anything before.
  void poison_overwritten() {
    for (const Parameter& p : stage_.parameters()) {
      if (!p.gradient_overwritten) continue;
      ops::fill({stream_, scratch_}, p.gradient, std::numeric_limits<float>::quiet_NaN());
    }
  }

  // Calls of ops::matmul by what it notes of each: shape, transposes, dtypes, whether it adds, what
  // follows.
  using Products = std::map<std::string, int64_t>;

  static Products products_run(const Profiler& profiler) {
    Products products;
    for (const Profiler::Line& line : profiler.lines()) {
      if (line.operation == "matmul") products[line.note.detail] += line.calls;
    }
    return products;
  }

  Products products_stated() const {
    Products products;
    for (const CountedProduct& p : GptStage::step_products(run_.config, run_.layout, mesh_.place,
                                                           options(), microbatches())) {
      products[plan_matmul(p.product, ops::Fusion::bias, 0).brief()] += p.times;
    }
    return products;
  }

  int microbatches() const {
    return (run_.microbatches - mesh_.place.dp + run_.layout.dp - 1) / run_.layout.dp;
  }

  void make_inputs() {
    const Shape tokens{run_.samples, run_.length};
    inputs_ = Arena("inputs",
                    2 * microbatches() * Arena::footprint(tokens, DType::i32) +
                        Arena::footprint({1}, DType::f32),
                    run_.device);
    loss_scale_ = inputs_.allocate({1}, DType::f32, "loss scale");
    ops::fill({stream_, scratch_}, loss_scale_, run_.loss_scale);
  }

  Tensor put(const std::vector<int32_t>& numbers) {
    const Tensor t = inputs_.allocate({run_.samples, run_.length}, DType::i32, "tokens");
    copy_bytes(t.data, numbers.data(), t.bytes(), stream_);
    return t;
  }

  std::vector<Action> schedule(bool training) const {
    return training ? schedule_1f1b(run_.layout.pp, microbatches(), mesh_.place.pp)
                    : schedule_forward_only(run_.layout.pp, microbatches(), mesh_.place.pp);
  }

  GptStage::Options options() const {
    GptStage::Options o;
    o.dtype = run_.dtype;
    o.micro_batch = run_.samples;
    o.sequence_length = run_.length;
    o.layers_of_stages = run_.layers_of_stages;
    o.slots = peak_live(schedule_);
    o.training = run_.training;
    o.seed = run_.seed;
    o.device = run_.device;
    o.head_chunk = run_.head_chunk;
    o.exchange_chunks = run_.exchange_chunks;
    return o;
  }

  void add_batch(int microbatch) {
    const int64_t first = microbatch * run_.samples;
    const ReferenceBatch b = reference_batch(run_, first, run_.samples);
    batches_.push_back({put(b.tokens), put(b.targets), first});
  }

  void take(const Parameter& p, const Tensor& from, std::vector<double>& to) {
    const HostElements host(from, stream_);
    to.resize(static_cast<size_t>(p.global.elements()), std::numeric_limits<double>::quiet_NaN());
    // A dp rank has its part of the gradients alone; all else is the same bits wherever it lies.
    const bool same = run_.layout.dp == 1 || from.data == p.weight.data;
    visit_box(p, [&](size_t global, size_t local) {
      const double value = value_at(host.view(), local);
      if (same && !std::isnan(to[global])) {
        EXPECT_EQ(to[global], value) << p.name;
      }
      to[global] = value;
    });
  }

  ModelRun run_;
  Stream stream_;
  Scratch scratch_;
  Mesh mesh_;
  std::vector<Action> schedule_;
  GptStage stage_;
  FlatBuffers buffers_;
  GradientSync sync_;
  PipelineExecutor executor_;
  Arena inputs_;
  Tensor loss_scale_;  // f32 [1]
  std::vector<TokenBatch> batches_;
};

}  // namespace

GptConfig tiny_gpt2(double dropout) { return tiny(dropout).completed(); }

GptConfig tiny_llama(double dropout) {
  GptConfig c = tiny(dropout);
  c.query_groups = 2;
  c.positions = Positions::rotary;
  c.norm = ops::Norm::rms;
  c.activation = ops::Activation::swiglu;
  c.linear_bias = c.norm_bias = c.tied_output = false;
  return c.completed();
}

GptConfig tiny_qwen2(double dropout) {
  GptConfig c = tiny_llama(dropout);
  c.qkv_bias = true;
  return c;
}

// Of its four frequencies the first stays, the second is interpolated, the others are divided.
GptConfig tiny_llama3(double dropout) {
  GptConfig c = tiny_llama(dropout);
  c.rope_scaling = true;
  c.rope_factor = 4;
  c.rope_low_frequency = 0.5;
  c.rope_original_positions = 64;
  c.qkv_bias = c.attention_output_bias = true;
  c.tied_output = true;
  return c;
}

GptConfig tiny_biased_mlp(double dropout) {
  GptConfig c = tiny_llama(dropout);
  c.mlp_bias = true;
  return c;
}

GptConfig tiny_neox(double dropout) {
  GptConfig c = tiny(dropout);
  c.positions = Positions::rotary;
  c.rotary_percent = 0.5;
  c.activation = ops::Activation::gelu_erf;
  c.parallel_residual = true;
  c.tied_output = false;
  return c.completed();
}

ReferenceBatch reference_batch(const ModelRun& run, int64_t first_sample, int64_t samples) {
  ReferenceBatch batch;
  batch.samples = samples;
  batch.length = run.length;
  batch.first_sample = first_sample;
  batch.dropout = run.training;
  batch.seed = run.seed;
  batch.step = run.step;
  for (int64_t s = first_sample; s < first_sample + samples; ++s) {
    for (int64_t t = 0; t < run.length; ++t) {
      batch.tokens.push_back(token_at(s, t, run.config.vocabulary));
      const bool scored = (s * run.length + t) % 7 != 6;
      batch.targets.push_back(scored ? token_at(s, t + 1, run.config.vocabulary) : -1);
    }
  }
  return batch;
}

ModelResult run_model(const ModelRun& run, int repetitions) {
  ModelResult result;
  std::mutex mutex;
  const auto body = [&](Communicator& world) {
    if (world.size() > 1) omp_set_num_threads(1);  // ranks share the cores
    Rank rank(run, world);
    for (int i = 0; i < repetitions; ++i) {
      const double evaluated = run.evaluate_between ? rank.evaluate() : 0;
      const double loss = rank.repeat();
      world.barrier({"end of repetition"});
      if (world.rank() == world.size() - 1) {
        result.losses.push_back(loss);
        result.evaluated.push_back(evaluated);
        result.allocations.push_back(memory_statistics().allocations - ScratchPool::allocations());
      }
      world.barrier({"allocations counted"});
    }
    const std::lock_guard lock(mutex);
    rank.collect(result);
  };
  if (run.layout.ranks() == 1) {
    const auto world = make_self_communicator();
    body(*world);
  } else {
    run_thread_ranks(run.layout.ranks(), {.delay_and_poison = true}, body);
  }
  return result;
}

}  // namespace switchyard::test
