#include "core/ops/attention/cudnn.h"

// In place of cudnn.cpp in a build without cuDNN's front-end.
namespace switchyard::ops {

namespace {
constexpr const char* refusal =
    "this build has no attention by cuDNN (launch/setup fetches its "
    "front-end's headers)";
}

int64_t cudnn_version() { return 0; }

std::string cudnn_attention_refusal(const CudnnAttention&) { return refusal; }

int64_t cudnn_attention_workspace_bytes(const CudnnAttention&) { return 0; }

std::string run_cudnn_attention(const Context&, const CudnnAttention&, const CudnnAttentionData&) {
  return refusal;
}

std::string cudnn_attention_refusal(const CudnnAttention&, const std::string&) { return refusal; }

}  // namespace switchyard::ops
