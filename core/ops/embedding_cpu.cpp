#include "core/ops/embedding.h"
