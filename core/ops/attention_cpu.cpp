#include "core/ops/attention.h"
