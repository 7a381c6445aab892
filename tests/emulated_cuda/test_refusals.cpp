#include <gmock/gmock.h>

#include <cstdlib>
#include <map>

#include "core/ops/attention/attention.h"
#include "core/ops/elementwise.h"
#include "core/ops/matmul/state.h"
#include "core/ops/matmul/tuning.h"
#include "core/profiler.h"
#include "tests/core/ops/op_test.h"

// A refusal by cuBLASLt or cuDNN, wherever it comes, costs speed and nothing else.
namespace switchyard::ops::test {
namespace {

using testing::EndsWith;
using testing::HasSubstr;

class Refusing {
 public:
  explicit Refusing(const std::string& words) {
    setenv("SWITCHYARD_EMULATED_REFUSALS", words.c_str(), 1);
  }
  ~Refusing() { unsetenv("SWITCHYARD_EMULATED_REFUSALS"); }
  Refusing(const Refusing&) = delete;
  Refusing& operator=(const Refusing&) = delete;
};

constexpr DType half = DType::bf16;
const MatmulTimer quick{.candidates = 3,
                        .repetitions = 1,
                        .milliseconds = 0.01,
                        .warm_milliseconds = 0.01,
                        .cold_bytes = 1 << 16};

// A product of each epilogue, aligned so that cuBLASLt may fuse all of it.
class RefusedMatmul : public testing::TestWithParam<std::string> {
 protected:
  struct Case {
    Tensor a, b, c;
    MatmulOptions options;
  };

  RefusedMatmul() {
    const Tensor x = bench.random({40, 48}, half), w = bench.random({64, 48}, half);
    const Tensor y = bench.zeros({40, 64}, half), bias = bench.random({64}, half);
    const Tensor dy = bench.random({40, 64}, half);
    cases["plain"] = {x, w, y, {.transpose_b = true}};
    cases["bias"] = {x, w, y, {.transpose_b = true, .bias = bias}};
    cases["gelu"] = {
        x, w, y, {.transpose_b = true, .bias = bias, .gelu_input = bench.zeros({40, 64}, half)}};
    cases["gelu gradient"] = {
        dy, w, bench.zeros({40, 48}, half), {.gelu_gradient = bench.random({40, 48}, half)}};
    cases["bias gradient"] = {dy,
                              x,
                              bench.zeros({64, 48}, DType::f32),
                              {.transpose_a = true, .row_sums = bench.zeros({64}, DType::f32)}};
  }
  ~RefusedMatmul() override { use_matmul_tuning(nullptr); }

  // All results, with choices made anew; `details` receives what each product became.
  std::vector<std::vector<double>> compute() {
    set_matmul_fusion(true);  // which drops what was chosen
    std::vector<std::vector<double>> all;
    for (const auto& [name, one] : cases) {
      if (one.options.row_sums) ops::fill(bench.context(), one.options.row_sums, 0);
      Profiler profiler(Device::cuda);
      profiler.begin();
      matmul(bench.context(), one.a, one.b, one.c, one.options);
      profiler.end(bench.context().stream);
      details[name] = profiler.lines()[0].note.detail;
      all.push_back(values(one.c));
      for (const Tensor& t : {one.options.gelu_input, one.options.row_sums}) {
        if (t) all.push_back(values(t));
      }
    }
    return all;
  }

  void expect_same(const std::vector<std::vector<double>>& wanted) {
    const auto found = compute();
    ASSERT_EQ(found.size(), wanted.size());
    for (size_t i = 0; i < found.size(); ++i) {
      expect_near(found[i], wanted[i], 4 * rounding(half), 8 * rounding(half));  // of sums near 8
    }
  }

  std::vector<MatmulProduct> products() const {
    std::vector<MatmulProduct> all;
    for (const auto& [name, one] : cases) {
      all.push_back(describe_product(one.a, one.b, one.c, one.options, false));
    }
    return all;
  }

  MatmulTuning timed() {
    MatmulTuning table(tuning_identity());
    tune_matmuls(bench.context(), products(), table, quick);
    return table;
  }

  void use(const MatmulTuning& table) {
    use_matmul_tuning(std::make_shared<const MatmulTuning>(table));
  }

  Workbench bench{Device::cuda};
  std::map<std::string, Case> cases;
  std::map<std::string, std::string> details;
};

TEST_P(RefusedMatmul, IsComputedInAnotherWay) {
  const auto wanted = compute();
  EXPECT_THAT(details["gelu"], EndsWith("fusion full (GELU_AUX_BIAS)"));
  const Refusing now(GetParam());
  expect_same(wanted);
}

TEST_P(RefusedMatmul, IsTimedInAnotherWay) {
  const auto wanted = compute();
  const Refusing now(GetParam());
  const MatmulTuning table = timed();
  EXPECT_TRUE(table.lacks(products()).empty());
  use(table);
  testing::internal::CaptureStderr();
  expect_same(wanted);
  // What is timed is what the table gives back: nothing of it is refused any more.
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST_P(RefusedMatmul, OfATableIsReplaced) {
  const auto wanted = compute();
  const MatmulTuning table = timed();
  use(table);
  const Refusing now(GetParam());
  expect_same(wanted);
}

INSTANTIATE_TEST_SUITE_P(Calls, RefusedMatmul,
                         testing::Values("heuristic", "check", "product", "check:first",
                                         "product:first", "launch", "launch:first",
                                         "heuristic:BGRADB", "check:DGELU",
                                         "product:GELU_AUX_BIAS"),
                         [](const testing::TestParamInfo<std::string>& test) {
                           std::string name = test.param;
                           std::ranges::replace(name, ':', '_');
                           return name;
                         });

class RefusedFusion : public RefusedMatmul {};

TEST_F(RefusedFusion, LeavesEverythingToTheTwins) {
  for (const std::string call : {"heuristic", "check", "product", "launch"}) {
    const Refusing now(call);
    compute();
    EXPECT_THAT(details["bias"], EndsWith("fusion none (DEFAULT), then bias"));
    EXPECT_THAT(details["gelu"], EndsWith("fusion none (DEFAULT), then bias gelu"));
    EXPECT_THAT(details["gelu gradient"], EndsWith("fusion none (DEFAULT), then gelu gradient"));
    EXPECT_THAT(details["bias gradient"], EndsWith("fusion none (DEFAULT), then bias gradient"));
  }
}

TEST_F(RefusedFusion, OfAGeluKeepsTheBias) {
  const Refusing now("product:GELU_AUX_BIAS");
  testing::internal::CaptureStderr();
  compute();
  EXPECT_THAT(details["gelu"], EndsWith("fusion bias (BIAS), then gelu"));
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_THAT(said, HasSubstr("GELU_AUX_BIAS, aux ld 64 (CUBLAS_STATUS_NOT_SUPPORTED); the next"));
}

TEST_F(RefusedFusion, WithNoWayLeftSaysSo) {
  const Tensor x = bench.random({8, 8}, half);  // not split, so there is one algorithm
  const Refusing now("product:first");
  expect_error(
      [&] {
        matmul(bench.context(), x, x, bench.zeros({8, 8}, half));
      },
      "cuBLASLt has no algorithm for [8, 8] x [8, 8] of bf16 to bf16");
}

class RefusedAttention : public testing::Test {
 protected:
  RefusedAttention() {
    const Shape shape{2, 24, 3, 16};
    for (Tensor* x : {&t.q, &t.k, &t.v, &t.dout}) *x = bench.random(shape, half);
    for (Tensor* x : {&t.out, &t.dq, &t.dk, &t.dv}) *x = bench.zeros(shape, half);
    t.log_sum = bench.zeros({2, 3, 24}, DType::f32);
    options.query_positions = bench.zeros({24}, DType::i32);
    iota(bench.context(), options.query_positions, 0);
    options.key_positions = options.query_positions;
    options.positions_in_order = true;
    options.sequence_length = 24;
    options.scale = 0.25f;
  }
  ~RefusedAttention() override { set_attention_backend(AttentionBackend::automatic); }

  // Both passes; the backends they ran on.
  std::vector<std::string> compute() {
    Profiler profiler(Device::cuda);
    profiler.begin();
    attention_forward(bench.context(), t.q, t.k, t.v, t.out, t.log_sum, options);
    attention_backward(bench.context(), t, options);
    profiler.end(bench.context().stream);
    std::vector<std::string> backends(2);
    for (const auto& line : profiler.lines()) {
      backends[line.operation == "attention_backward" ? 1 : 0] = line.note.backend;
    }
    return backends;
  }

  Workbench bench{Device::cuda};
  AttentionBackward t;
  AttentionOptions options;
};

using Backends = std::vector<std::string>;

TEST_F(RefusedAttention, RunsInOwnKernelsAndWarnsOnce) {
  EXPECT_EQ(compute(), (Backends{"cuDNN", "cuDNN"}));
  const auto out = values(t.out), dk = values(t.dk);
  testing::internal::CaptureStderr();
  for (const auto& [word, backends] :
       {std::pair{"attention-plan:backward", Backends{"cuDNN", "own kernels"}},
        {"attention-plan", {"own kernels", "own kernels"}},
        {"attention-run", {"own kernels", "own kernels"}}}) {
    const Refusing now(word);
    EXPECT_EQ(compute(), backends) << word;
    EXPECT_EQ(values(t.out), out);
    EXPECT_EQ(values(t.dk), dk);
  }
  const std::string said = testing::internal::GetCapturedStderr();
  for (const std::string pass : {"forward", "backward"}) {
    const std::string line =
        "attention " + pass + " runs in own kernels, not cuDNN's: the stand-in";
    EXPECT_THAT(said, HasSubstr(line));
    EXPECT_EQ(said.find(line), said.rfind(line)) << said;
  }
  EXPECT_THAT(said, HasSubstr("warning"));
}

TEST_F(RefusedAttention, IsAnErrorWhereCudnnIsAskedFor) {
  set_attention_backend(AttentionBackend::cudnn);
  EXPECT_EQ(compute(), (Backends{"cuDNN", "cuDNN"}));
  const Refusing now("attention-run:forward,attention-plan:backward");
  expect_error([&] { compute(); }, "cuDNN was asked for, but forward: the stand-in refuses to run");
  expect_error([&] { attention_backward(bench.context(), t, options); },
               "cuDNN was asked for, but the stand-in refuses the plan");
}

}  // namespace
}  // namespace switchyard::ops::test
