#pragma once

#include <functional>
#include <string>

#include "launch/options.h"
#include "model/generator.h"

namespace switchyard {

struct GenerationRequest {
  std::string run;  // RUN[@STEP]
  std::string prompt;
  int64_t new_tokens = 256;
  SamplingOptions sampling;
  Settings run_settings;  // of layout_options(): the device and what belongs to it
};

// Continues the prompt on this process alone (one GPU), handing out each piece of text as it comes;
// stops at the end of a document. Behind the context's end the last half of it is read again.
void generate(const GenerationRequest& request,
              const std::function<void(const std::string& piece)>& out);

}  // namespace switchyard
