#include "core/ops/attention/cudnn.h"

#include <cuda_runtime_api.h>
// Nothing here is read from or written as JSON, and the front-end's copy of that library is not the
// one that other files include.
#define CUDNN_FRONTEND_SKIP_JSON_LIB
#include <cudnn_frontend.h>

#include <algorithm>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "core/cuda/runtime.h"
#include "core/error.h"

namespace switchyard::ops {

namespace {

namespace fe = cudnn_frontend;
using fe::graph::Graph, fe::graph::Tensor_attributes;
using TensorHandle = std::shared_ptr<Tensor_attributes>;
using Pass = CudnnAttention::Pass;

constexpr std::string_view where = "attention by cuDNN";

constexpr int64_t workspace_alignment = 256;  // as cudaMalloc gives; scratch has 64

// Names of a graph's tensors when it runs.
enum Id : int64_t {
  id_q = 1,
  id_k,
  id_v,
  id_out,
  id_log_sum,
  id_mask,
  id_dout,
  id_dq,
  id_dk,
  id_dv
};

void check_cudnn(cudnnStatus_t status, std::string_view call) {
  check(status == CUDNN_STATUS_SUCCESS, where, "{}: {}", call, cudnnGetErrorString(status));
}

// cuDNN tells each engine's calls, deepest first; the first of them says it all.
std::string reason_of(fe::error_t status) {
  if (status.is_good()) return "";
  const std::string message = status.get_message();
  constexpr std::string_view mark = "Reason: ";
  const size_t at = message.find(mark);
  std::string reason = at == std::string::npos ? message : message.substr(at + mark.size());
  reason = reason.substr(0, std::min(reason.find(" at: "), reason.find('\n')));
  return reason.empty() ? "it gives no reason" : reason;
}

class GraphBuilder {
 public:
  explicit GraphBuilder(const CudnnAttention& a) : a_(a), graph_(std::make_shared<Graph>()) {
    graph_
        ->set_io_data_type(a.dtype == DType::f32   ? fe::DataType_t::FLOAT
                           : a.dtype == DType::f16 ? fe::DataType_t::HALF
                                                   : fe::DataType_t::BFLOAT16)
        .set_intermediate_data_type(fe::DataType_t::FLOAT)
        .set_compute_data_type(fe::DataType_t::FLOAT);
  }

  std::shared_ptr<Graph> build() {
    if (a_.pass == Pass::forward) {
      add_forward();
    } else {
      add_backward();
    }
    return graph_;
  }

 private:
  std::vector<int64_t> dims(int64_t heads) const {
    return {a_.batch, heads, a_.length, a_.head_dim};
  }
  // cuDNN's order of axes is sample, head, row, channel.
  static std::vector<int64_t> strides(const CudnnAttention::Strides& s) {
    return {s[0], s[2], s[1], 1};
  }

  TensorHandle input(Id id, const char* name, int64_t heads, const CudnnAttention::Strides& s) {
    return graph_->tensor(
        Tensor_attributes().set_uid(id).set_name(name).set_dim(dims(heads)).set_stride(strides(s)));
  }
  void output(const TensorHandle& t, Id id, int64_t heads, const CudnnAttention::Strides& s) {
    t->set_output(true).set_uid(id).set_dim(dims(heads)).set_stride(strides(s));
  }
  // With dropout a plan's part of it may begin at any head.
  void describe_log_sum(Tensor_attributes& t) const {
    t.set_uid(id_log_sum)
        .set_name("log_sum")
        .set_data_type(fe::DataType_t::FLOAT)
        .set_dim({a_.batch, a_.heads, a_.length, 1})
        .set_stride({a_.heads * a_.length, a_.length, 1, 1})
        .set_alignment(a_.length % 4 == 0 ? 16 : 4);
  }

  TensorHandle mask() {
    const int64_t rows = a_.length * a_.length;
    return graph_->tensor(Tensor_attributes()
                              .set_uid(id_mask)
                              .set_name("mask")
                              .set_dim({a_.batch, a_.heads, a_.length, a_.length})
                              .set_stride({a_.heads * rows, rows, a_.length, 1}));
  }
  TensorHandle constant(double value) {
    return graph_->tensor(Tensor_attributes(static_cast<float>(value)));
  }

  void add_forward() {
    const auto q = input(id_q, "q", a_.heads, a_.q), k = input(id_k, "k", a_.kv_heads, a_.k);
    const auto v = input(id_v, "v", a_.kv_heads, a_.v);
    auto options = fe::graph::SDPA_attributes()
                       .set_name("attention")
                       .set_generate_stats(true)
                       .set_causal_mask(true)
                       .set_attn_scale(a_.scale);
    if (a_.dropout > 0) options.set_dropout(mask(), constant(1 / (1 - a_.dropout)));
    const auto [out, log_sum] = graph_->sdpa(q, k, v, options);
    output(out, id_out, a_.heads, a_.out);
    log_sum->set_output(true);
    describe_log_sum(*log_sum);
  }

  void add_backward() {
    const auto q = input(id_q, "q", a_.heads, a_.q), k = input(id_k, "k", a_.kv_heads, a_.k);
    const auto v = input(id_v, "v", a_.kv_heads, a_.v);
    const auto out = input(id_out, "out", a_.heads, a_.out);
    const auto dout = input(id_dout, "dout", a_.heads, a_.dout);
    Tensor_attributes of_log_sum;
    describe_log_sum(of_log_sum);
    const auto log_sum = graph_->tensor(of_log_sum);
    auto options = fe::graph::SDPA_backward_attributes()
                       .set_name("attention gradient")
                       .set_causal_mask(true)
                       .set_attn_scale(a_.scale)
                       .set_deterministic_algorithm(a_.deterministic);
    if (a_.dropout > 0) {
      options.set_dropout(mask(), constant(1 / (1 - a_.dropout)), constant(1 - a_.dropout));
    }
    const auto [dq, dk, dv] = graph_->sdpa_backward(q, k, v, out, dout, log_sum, options);
    output(dq, id_dq, a_.heads, a_.dq);
    output(dk, id_dk, a_.kv_heads, a_.dk);
    output(dv, id_dv, a_.kv_heads, a_.dv);
  }

  const CudnnAttention& a_;
  std::shared_ptr<Graph> graph_;
};

// The handle of a GPU, made at its first use and kept to the end of the process, as plans that were
// made with it are. The plans' lock must be held.
cudnnHandle_t handle_of(int device) {
  static auto& handles = *new std::map<int, cudnnHandle_t>();
  cudnnHandle_t& handle = handles[device];
  if (handle == nullptr) check_cudnn(cudnnCreate(&handle), "cudnnCreate");
  return handle;
}

struct Plan {
  std::shared_ptr<Graph> graph;
  std::string refusal;
  int64_t workspace_bytes = 0;
};

// A library that cannot be loaded refuses, too.
Plan make_plan(const CudnnAttention& attention, int device) {
  Plan plan;
  try {
    plan.graph = GraphBuilder(attention).build();
    auto status = plan.graph->build(handle_of(device), {fe::HeurMode_t::A});
    if (status.is_good()) status = plan.graph->get_workspace_size(plan.workspace_bytes);
    plan.refusal = reason_of(status);
  } catch (const std::exception& error) {
    plan.refusal = error.what();
  }
  return plan;
}

int selected_gpu() {
  int device = 0;
  switchyard::cuda::check_cuda(cudaGetDevice(&device), where, "cudaGetDevice");
  return device;
}

// Plans of this process. The lock is held while one is made or started, both by the host alone.
struct Plans {
  std::mutex mutex;
  std::map<std::pair<int, CudnnAttention>, Plan> made;

  Plan& find(const CudnnAttention& attention) {
    const int device = selected_gpu();
    const std::pair key(device, attention);
    if (const auto found = made.find(key); found != made.end()) return found->second;
    return made.emplace(key, make_plan(attention, device)).first->second;
  }
};
Plans& plans() {
  static auto* all = new Plans;  // the driver may end before us
  return *all;
}

std::unordered_map<int64_t, void*> arguments(const CudnnAttention& a, const CudnnAttentionData& d) {
  std::unordered_map<int64_t, void*> all{
      {id_q, d.q}, {id_k, d.k}, {id_v, d.v}, {id_out, d.out}, {id_log_sum, d.log_sum}};
  if (a.dropout > 0) all[id_mask] = d.mask;
  if (a.pass == Pass::backward) {
    all[id_dout] = d.dout;
    all[id_dq] = d.dq;
    all[id_dk] = d.dk;
    all[id_dv] = d.dv;
  }
  return all;
}

}  // namespace

int64_t cudnn_version() { return static_cast<int64_t>(cudnnGetVersion()); }

std::string cudnn_attention_refusal(const CudnnAttention& attention) {
  const std::lock_guard lock(plans().mutex);
  return plans().find(attention).refusal;
}

int64_t cudnn_attention_workspace_bytes(const CudnnAttention& attention) {
  const std::lock_guard lock(plans().mutex);
  return plans().find(attention).workspace_bytes + workspace_alignment;
}

std::string run_cudnn_attention(const Context& context, const CudnnAttention& attention,
                                const CudnnAttentionData& data) {
  const std::lock_guard lock(plans().mutex);
  Plan& plan = plans().find(attention);
  if (!plan.refusal.empty()) return plan.refusal;
  Scratch::Scope scope(context.scratch);
  void* workspace = scope.allocate_bytes(plan.workspace_bytes + workspace_alignment);
  auto room = static_cast<size_t>(plan.workspace_bytes + workspace_alignment);
  std::align(workspace_alignment, static_cast<size_t>(plan.workspace_bytes), workspace, room);
  cudnnHandle_t handle = handle_of(selected_gpu());
  check_cudnn(cudnnSetStream(handle, switchyard::cuda::native(context.stream)), "cudnnSetStream");
  auto pointers = arguments(attention, data);
  plan.refusal = reason_of(plan.graph->execute(handle, pointers, workspace));
  return plan.refusal;
}

std::string cudnn_attention_refusal(const CudnnAttention& attention, const std::string& device) {
  const auto properties = std::make_shared<fe::DeviceProperties>();
  const auto graph = GraphBuilder(attention).build();
  auto status = properties->deserialize({device.begin(), device.end()});
  graph->set_device_properties(properties);
  if (status.is_good()) status = graph->validate();
  if (status.is_good()) status = graph->build_operation_graph();
  if (status.is_good()) {
    status = graph->create_execution_plans({fe::HeurMode_t::A});
  }
  if (status.is_good()) status = graph->check_support();
  return reason_of(status);
}

}  // namespace switchyard::ops
