#pragma once

#include <functional>
#include <string>
#include <vector>

#include "launch/path/options.h"
#include "model/generator.h"
#include "parallel/checkpoint/state_groups.h"

namespace switchyard {

struct GenerationRequest {
  std::string run;  // RUN[@STEP]
  std::string prompt;
  int64_t new_tokens = 256;
  SamplingOptions sampling;
  std::string weights = std::string(groups::model);  // the group of weights
  Settings run_settings;  // of layout_options(): the device and what belongs to it
};

struct Generation {
  std::vector<int32_t> ids;  // the new tokens, without the end of a document
  std::string text;          // theirs, but for the bytes of a last character that is not whole
};

// Continues the prompt on this process alone (one GPU), handing out each piece of text (whole UTF-8
// characters, or bytes that are part of none) as it comes; stops at the end of a document. Only
// tokens that the tokenizer has are sampled. Of a prompt longer than the context (seq-length) the
// last tokens are read, with a warning; behind the context's end the last half of it is read again.
// Throws Error before anything is handed out for what cannot be sampled or encoded.
Generation generate(const GenerationRequest& request,
                    const std::function<void(const std::string& piece)>& out);

}  // namespace switchyard
