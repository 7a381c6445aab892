#pragma once

#include "launch/exchange/export_request.h"

namespace switchyard {

// Writes a folder that transformers' from_pretrained reads. It is there when it is whole and the
// logits of both sides have been compared. Throws Error for a model that no architecture expresses,
// naming the option.
void export_model(const ExportRequest& request);

}  // namespace switchyard
