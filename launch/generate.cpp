#include "launch/generate.h"

#include "core/error.h"
#include "data/tokenizer.h"
#include "launch/run_folder.h"
#include "launch/trainer.h"
#include "parallel/communicators.h"

namespace switchyard {

namespace {

// Appends a token; a full context is begun anew with its last half.
std::span<const float> feed(Generator& generator, std::vector<int32_t>& text) {
  if (generator.length() < generator.context_length()) {
    return generator.feed(std::span<const int32_t>(text).last(1));
  }
  generator.reset();
  const auto half = static_cast<size_t>((generator.context_length() + 1) / 2);
  return generator.feed(std::span<const int32_t>(text).last(half));
}

}  // namespace

void generate(const GenerationRequest& request,
              const std::function<void(const std::string& piece)>& out) {
  const auto reference = parse_run_reference(request.run);
  const RunFolder folder(reference.folder);
  const auto path = folder.read();
  check(!path.tokenizer.empty(), "generate", "'{}' was trained on sets whose tokenizer is unknown",
        reference.folder.string());
  const auto tokenizer = make_tokenizer(path.tokenizer);
  const CheckpointReader reader(folder.checkpoint(reference.step).folder);
  reader.verify();
  const auto world = make_self_communicator();
  const Mesh mesh = make_mesh({}, *world);
  const Settings run = with_fallbacks(layout_options(), request.run_settings);
  apply_device_settings(run);
  Engine engine(engine_options(path, run, false), mesh);
  engine.load_weights(reader);
  Generator generator(path.model, engine.stage().parameters(), path.sequence_length(),
                      engine.context());
  std::vector<int32_t> text;
  tokenizer->encode(request.prompt, text);
  if (text.empty()) text.push_back(tokenizer->end_of_document());
  const auto context = static_cast<size_t>(generator.context_length());
  auto logits = generator.feed(std::span<const int32_t>(text).last(std::min(text.size(), context)));
  for (int64_t i = 0; i < request.new_tokens; ++i) {
    const int32_t token = sample_token(logits, request.sampling, static_cast<int64_t>(text.size()));
    if (token == tokenizer->end_of_document()) break;
    text.push_back(token);
    out(tokenizer->decode(std::span<const int32_t>(text).last(1)));
    if (i + 1 < request.new_tokens) logits = feed(generator, text);
  }
}

}  // namespace switchyard
