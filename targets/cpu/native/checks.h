/* Whether tensors are what the model takes, and messages that say what is wrong. */
#ifndef OPWEAVE_CHECKS_H
#define OPWEAVE_CHECKS_H

#include "runtime.h"

/* The types, ranks and fixed extents of all inputs; collects their extents in given. */
int32_t ow_check_inputs(const struct ow_value *inputs, int64_t *given, struct ow_message *message);

/* The memory of all inputs, whose shapes were checked. */
int32_t ow_check_data(const struct ow_value *inputs, struct ow_message *message);

/* The memory that a caller brings for an output that takes so many bytes. */
int32_t ow_check_room(const struct ow_value *output, const char *name, uint64_t bytes,
                      struct ow_message *message);

/* Says which check of ow_prepare failed (from 1), and the inputs that it was given. */
void ow_say_unfit(struct ow_message *message, int64_t failed, const struct ow_value *inputs);

#endif
