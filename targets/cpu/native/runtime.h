/* A model's instances: what library.c exports and program.c uses. All names are hidden. */
#ifndef OPWEAVE_RUNTIME_H
#define OPWEAVE_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#include "description.h"

enum { OW_LARGEST_RANK = 16, OW_MESSAGE_BYTES = 1024 };

/* What went wrong; the numbers are exit statuses of programs too. */
enum ow_status {
    OW_OK = 0,
    OW_INVALID = 3,             /* an input or an argument */
    OW_LIMIT = 5,               /* memory or size */
    OW_FILES = 6,
    OW_DEVICE = 7,              /* the processor lacks something, or no thread can be made */
    OW_BUG = 70
};

/* A tensor in row-major order. Of an output that is given, bytes is the room at data. */
struct ow_value {
    void *data;
    uint64_t bytes;
    int32_t type;
    int32_t rank;
    int64_t extents[OW_LARGEST_RANK];
};

struct ow_options {
    int32_t threads;            /* of one run; 0: all processors that the process may use */
    int32_t weights_in_place;   /* not 0: neither read weights ahead nor copy them to large pages */
    const char *weights_file;   /* where separate weights are; NULL: beside the library */
};

struct ow_message {
    char text[OW_MESSAGE_BYTES];
};

struct ow_model;

/* NULL, and *status and a message, when there is no such model. */
struct ow_model *ow_create(const struct ow_options *options, int32_t *status,
                           struct ow_message *message);
void ow_destroy(struct ow_model *model);

/* One inference. An output whose data is NULL is allocated, and given back by free(). */
int32_t ow_infer(struct ow_model *model, const struct ow_value *inputs, struct ow_value *outputs,
                 struct ow_message *message);

/* The types and extents of outputs for inputs of these shapes (no data needed); -1 where late. */
int32_t ow_describe_outputs(struct ow_model *model, const struct ow_value *inputs,
                            struct ow_value *outputs, struct ow_message *message);

int32_t ow_thread_count(const struct ow_model *model);

/* Waits until weights are where they stay; for measurements. */
void ow_settle(struct ow_model *model);

/* Bytes of one element of an enum ow_type; 0 for no such type. */
uint64_t ow_element_bytes(int32_t type);
const char *ow_type_name(int32_t type);

/* How many elements are not a number. */
uint64_t ow_count_not_numbers(const struct ow_value *value);

/* "float32[1, 3, n]", cut to the room there is. */
void ow_show_shape(char *text, size_t room, int32_t type, int32_t rank, const int64_t *extents,
                   const char *const *extent_texts);

/* The bytes of a tensor; 0 when they do not fit 63 bits or an extent is negative. */
int ow_count_bytes(int32_t type, int32_t rank, const int64_t *extents, uint64_t *bytes);

void ow_say(struct ow_message *message, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
