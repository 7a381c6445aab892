#pragma once

#include <string_view>

namespace emulated {

// Whether the stand-ins for NVIDIA's libraries are told to refuse a call.
// SWITCHYARD_EMULATED_REFUSALS is a list of words behind commas, read at each call: "heuristic",
// "check" and "product" are cuBLASLt's calls for every product with an epilogue, "launch" is
// "product" with the status of a launch that the device refused, "check:DGELU" is for one epilogue,
// "check:first" for the first algorithm of any product; "attention-plan" and "attention-run" are
// cuDNN's, "attention-plan:backward" of one pass.
bool refuses(std::string_view call, std::string_view of = "");

}  // namespace emulated
