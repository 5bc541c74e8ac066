/* What the processor must have, and how many of them a process may use. */
#ifndef OPWEAVE_PROCESSOR_H
#define OPWEAVE_PROCESSOR_H

#include <stdint.h>

#include "description.h"

/* The name of the first extension that this processor or system lacks; NULL if it has all. */
const char *ow_missing_feature(const struct ow_feature *features, int32_t count);

/* Processors by the process's affinity and its control group's quota; at least 1. */
int32_t ow_available_threads(void);

#endif
