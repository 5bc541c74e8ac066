/* The inputs of a run of the program: files, standard input, or random numbers. */
#ifndef OPWEAVE_INPUTS_H
#define OPWEAVE_INPUTS_H

#include "arguments.h"
#include "runtime.h"

/* All inputs of the model, in new memory. */
int32_t ow_read_inputs(const struct ow_arguments *arguments, struct ow_value *inputs,
                       struct ow_message *message);

/* Evenly distributed numbers from 0 to 1, the same each time; open extents are 1. */
int32_t ow_make_inputs(const struct ow_arguments *arguments, struct ow_value *inputs,
                       struct ow_message *message);

/* Frees the data of count values. */
void ow_free_values(struct ow_value *values, int32_t count);

#endif
