#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/json.h"
#include "launch/path/specification.h"
#include "parallel/checkpoint/checkpoint.h"

// Imported runs: published weights as a run folder, of which `fork` makes paths. path.json has the
// kind "imported"; a checkpoint step-N, N >= 0, holds /model/... alone, each tensor in f32, bf16 or
// f16, and the document "import" says what it was made of.
namespace switchyard {

inline constexpr const char* import_document = "import";

// Of the model's options and seq-length alone, the length of windows that eval and forks take where
// none is given. tokenizer: as a data set names it; empty: not known.
PathSpecification imported_path(const GptConfig& model, int64_t sequence_length,
                                const std::string& tokenizer);

// Without `step`, which a checkpoint says itself. Back again: throws nlohmann's exception for what
// is no such object.
Json imported_json(const ImportedWeights& weights);
ImportedWeights imported_from(const Json& j);

// What a checkpoint of an imported run, or of an average of them, was made of. Throws Error where
// it does not say it.
ImportedWeights imported_weights_in(const CheckpointInfo& info);

// Of the mean of imported checkpoints; members: RUN@STEP (checkpoint ID) each, in their order.
ImportedWeights imported_mean(const std::vector<ImportedWeights>& weights,
                              std::vector<std::string> members);

// Whether both were made of the same files in the same way, so that they are the same numbers.
bool is_same_import(const ImportedWeights& a, const ImportedWeights& b);

// Whether the checkpoint is the one that the fork began with, or the same files imported once more.
bool is_checkpoint_of(const LineageEntry& fork, const CheckpointInfo& info);

// "'pythia-160m' (gpt_neox), step 1000", for messages and lineages.
std::string describe(const ImportedWeights& weights);

}  // namespace switchyard
