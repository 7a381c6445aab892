#include "core/ops/rotary.h"
