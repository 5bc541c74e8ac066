/* The command line of a compiled program. */
#ifndef OPWEAVE_ARGUMENTS_H
#define OPWEAVE_ARGUMENTS_H

#include <stdint.h>

#include "runtime.h"

enum { OW_USAGE = 2 };          /* beside enum ow_status: an exit status */

enum ow_action { OW_RUN, OW_BENCH, OW_INFORM, OW_HELP, OW_VERSION };

/* Pointers are into argv. Counts are no larger than argc. */
struct ow_arguments {
    enum ow_action action;
    const char **files;         /* of inputs, in order; "-" is standard input */
    int file_count;
    const char **shapes;        /* NAME=1,3,224,224 or 1,3,224,224 */
    int shape_count;
    const char **sizes;         /* SYMBOL=8 */
    int size_count;
    const char *output;         /* NULL: standard output */
    int is_raw;
    int32_t threads;
    double seconds;
};

/* OW_OK or OW_USAGE with a message. To be freed. */
int32_t ow_read_arguments(struct ow_arguments *arguments, int argc, char **argv,
                          struct ow_message *message);
void ow_free_arguments(struct ow_arguments *arguments);

/* The shape of an input from the command line and what the model declares; -1 where neither says. */
int32_t ow_given_shape(const struct ow_arguments *arguments, const struct ow_tensor *input,
                       int64_t *extents, struct ow_message *message);

/* Every --shape and --dim names something there is. */
int32_t ow_check_sizes(const struct ow_arguments *arguments, struct ow_message *message);

#endif
