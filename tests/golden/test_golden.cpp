#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <mutex>

#include "core/error.h"
#include "model/gpt_stage.h"
#include "optim/distributed_optimizer.h"
#include "optim/schedule.h"
#include "parallel/communicators.h"
#include "parallel/gradient_sync.h"
#include "tests/golden/golden_file.h"

namespace switchyard::test {
namespace {

constexpr int64_t micro_batch = 1;

// One rank that trains as PyTorch did.
class Trainer {
 public:
  Trainer(const GoldenFile& golden, const Layout& layout, Communicator& world)
      : golden_(golden),
        mesh_(make_mesh(layout, world)),
        schedule_(
            schedule_1f1b(layout.pp, static_cast<int>(golden.batch) / layout.dp, mesh_.place.pp)),
        stage_(GptConfig::from_json(golden.config), mesh_,
               {.micro_batch = micro_batch,
                .sequence_length = golden.length,
                .slots = peak_live(schedule_)},
               context_),
        buffers_(stage_.parameters(), {.dp = layout.dp, .dp_rank = mesh_.place.dp}),
        sync_(buffers_, mesh_, context_),
        optimizer_(buffers_, mesh_, options(), context_),
        executor_(mesh_, stage_.exchanged(), DType::f32, peak_live(schedule_), stream_),
        rate_(schedule_from_scratch(golden.optimizer.at("learning_rate"), 0,
                                    static_cast<int64_t>(golden.optimizer.at("warmup")),
                                    DecayStyle::constant, 0)) {
    load_weights();
    optimizer_.adopt_weights();
  }

  // The sum of the losses over the global batch of step 1, 2, ...
  double step(int64_t number) {
    std::vector<TokenBatch> batches = read_batches(number);
    sync_.begin_step();
    stage_.begin(batches, {.step = number, .ready = [&](int i) { sync_.parameter_ready(i); }});
    executor_.run(schedule_, stage_);
    sync_.finish();
    const auto tokens = static_cast<double>(golden_.batch * golden_.length);
    optimizer_.step(number, learning_rate(rate_, number), 1.0 / tokens);
    sync_.gather_weights();
    const bool counts = mesh_.last_stage() && mesh_.place.tp == 0;
    return counts ? *stage_.loss_sum().as<double>() / tokens : 0.0;
  }

 private:
  DistributedOptimizer::Options options() const {
    const auto& given = golden_.optimizer;
    DistributedOptimizer::Options o;
    o.adamw.beta1 = static_cast<float>(given.at("beta1"));
    o.adamw.beta2 = static_cast<float>(given.at("beta2"));
    o.adamw.epsilon = static_cast<float>(given.at("epsilon"));
    o.adamw.weight_decay = static_cast<float>(given.at("weight_decay"));
    o.clip_norm = given.at("clip_norm");
    return o;
  }

  // The box of each parameter out of the whole tensor.
  void load_weights() {
    for (const Parameter& p : stage_.parameters()) {
      const std::vector<float>& whole = golden_.weights.at(p.name);
      ASSERT_EQ(static_cast<int64_t>(whole.size()), p.global.elements()) << p.name;
      const bool matrix = p.global.rank() == 2;
      const int64_t columns = matrix ? p.box.extent[1] : 1;
      for (int64_t row = 0; row < p.box.extent[0]; ++row) {
        const int64_t from = matrix ? (p.box.offset[0] + row) * p.global[1] + p.box.offset[1]
                                    : p.box.offset[0] + row;
        std::copy_n(whole.data() + from, columns, p.weight.as<float>() + row * columns);
      }
    }
  }

  std::vector<TokenBatch> read_batches(int64_t number) {
    data_.clear();
    data_.reserve(static_cast<size_t>(2 * golden_.batch));
    std::vector<TokenBatch> batches;
    const Shape shape{micro_batch, golden_.length};
    const auto view = [&](const int32_t* begin) {
      data_.emplace_back(begin, begin + golden_.length);
      return Tensor(data_.back().data(), DType::i32, shape);
    };
    for (int64_t s = mesh_.place.dp; s < golden_.batch; s += mesh_.layout.dp) {
      const int64_t row = ((number - 1) * golden_.batch + s) * (golden_.length + 1);
      const int32_t* sample = golden_.tokens.data() + row;
      const Tensor tokens = view(sample);
      batches.push_back({tokens, view(sample + 1), s});
    }
    return batches;
  }

  const GoldenFile& golden_;
  Stream stream_;
  Scratch scratch_;
  ops::Context context_{stream_, scratch_};
  Mesh mesh_;
  std::vector<Action> schedule_;
  GptStage stage_;
  FlatBuffers buffers_;
  GradientSync sync_;
  DistributedOptimizer optimizer_;
  PipelineExecutor executor_;
  Schedule rate_;
  std::vector<std::vector<int32_t>> data_;
};

std::vector<double> train(const GoldenFile& golden, const Layout& layout) {
  std::vector<double> losses(static_cast<size_t>(golden.steps), 0.0);
  std::mutex mutex;
  run_thread_ranks(layout.ranks(), {}, [&](Communicator& world) {
    omp_set_num_threads(1);  // the models are tiny
    Trainer trainer(golden, layout, world);
    for (int64_t step = 1; step <= golden.steps; ++step) {
      const double loss = trainer.step(step);
      const std::lock_guard lock(mutex);
      losses[static_cast<size_t>(step - 1)] += loss;
    }
  });
  return losses;
}

using Case = std::tuple<const char*, Layout>;
class Golden : public testing::TestWithParam<Case> {};

// Measured: 2e-7. The bound shows a norm that is decayed or a clip that is left out.
TEST_P(Golden, EveryLossFollowsPyTorch) {
  const auto& [name, layout] = GetParam();
  const GoldenFile golden = read_golden(std::string(GOLDEN_FOLDER) + "/" + name + ".h5");
  const std::vector<double> losses = train(golden, layout);
  for (size_t i = 0; i < losses.size(); ++i) {
    EXPECT_NEAR(losses[i], golden.losses[i], 1e-5 * golden.losses[i]) << "step " << i + 1;
  }
}

const Layout layouts[] = {{}, {.tp = 2}, {.pp = 2}, {.tp = 2, .dp = 2, .pp = 2}};
INSTANTIATE_TEST_SUITE_P(Models, Golden,
                         testing::Combine(testing::Values("gpt2", "llama", "neox"),
                                          testing::ValuesIn(layouts)),
                         [](const auto& instance) {
                           const Layout& l = std::get<1>(instance.param);
                           return fmt::format("{}_{}x{}x{}", std::get<0>(instance.param), l.tp,
                                              l.pp, l.dp);
                         });

}  // namespace
}  // namespace switchyard::test
