/* The exported functions, named after the model. The types of library.h are those of runtime.h
 * under other names: same fields, same order. */
#include "library.h"

#include <stdlib.h>
#include <string.h>

#include "runtime.h"

#define JOIN_(prefix, name) prefix##_##name
#define JOIN(prefix, name) JOIN_(prefix, name)
#define NAME(name) JOIN(OW_PREFIX, name)

_Static_assert(sizeof(NAME(tensor)) == sizeof(struct ow_value), "one layout");
_Static_assert(offsetof(NAME(tensor), extents) == offsetof(struct ow_value, extents), "one layout");
_Static_assert(sizeof(NAME(options)) == sizeof(struct ow_options), "one layout");
_Static_assert(sizeof(NAME(descriptor)) == sizeof(struct ow_tensor), "one layout");
_Static_assert(offsetof(NAME(descriptor), is_late) == offsetof(struct ow_tensor, is_late), "order");
_Static_assert(offsetof(NAME(descriptor), extents) == offsetof(struct ow_tensor, extents), "order");
_Static_assert((int)NAME(FLOAT64) == (int)OW_FLOAT64, "one numbering");
_Static_assert((int)NAME(LARGEST_RANK) == (int)OW_LARGEST_RANK, "one limit");

/* Messages belong to threads, so that callers of one instance do not overwrite each other's. */
static _Thread_local struct ow_message last;

int32_t NAME(interface_version)(void)
{
    return NAME(INTERFACE_VERSION);
}

const char *NAME(information)(void)
{
    return ow_description.information;
}

int32_t NAME(input_count)(void)
{
    return ow_description.input_count;
}

int32_t NAME(output_count)(void)
{
    return ow_description.output_count;
}

const NAME(descriptor) *NAME(input)(int32_t number)
{
    if (number < 0 || number >= ow_description.input_count)
        return NULL;
    return (const NAME(descriptor) *)&ow_description.inputs[number];
}

const NAME(descriptor) *NAME(output)(int32_t number)
{
    if (number < 0 || number >= ow_description.output_count)
        return NULL;
    return (const NAME(descriptor) *)&ow_description.outputs[number];
}

uint64_t NAME(element_bytes)(int32_t type)
{
    return ow_element_bytes(type);
}

NAME(model) *NAME(create)(const NAME(options) *options, NAME(status) *status)
{
    struct ow_options chosen;
    struct ow_model *model;
    int32_t found = OW_OK;

    memset(&chosen, 0, sizeof chosen);
    if (options != NULL)
        memcpy(&chosen, options, sizeof chosen);
    model = ow_create(&chosen, &found, &last);
    if (status != NULL)
        *status = (NAME(status))found;
    return (NAME(model) *)model;
}

void NAME(destroy)(NAME(model) *model)
{
    ow_destroy((struct ow_model *)model);
}

int32_t NAME(threads)(const NAME(model) *model)
{
    return ow_thread_count((const struct ow_model *)model);
}

static int is_missing(const void *model, const void *inputs, const void *outputs)
{
    if (model != NULL && (inputs != NULL || ow_description.input_count == 0) && outputs != NULL)
        return 0;
    ow_say(&last, "the model, its inputs or its outputs are NULL");
    return 1;
}

NAME(status) NAME(run)(NAME(model) *model, const NAME(tensor) *inputs, NAME(tensor) *outputs)
{
    if (is_missing(model, inputs, outputs))
        return NAME(INVALID);
    return (NAME(status))ow_infer((struct ow_model *)model, (const struct ow_value *)inputs,
                                  (struct ow_value *)outputs, &last);
}

NAME(status) NAME(describe)(NAME(model) *model, const NAME(tensor) *inputs, NAME(tensor) *outputs)
{
    if (is_missing(model, inputs, outputs))
        return NAME(INVALID);
    return (NAME(status))ow_describe_outputs((struct ow_model *)model,
                                             (const struct ow_value *)inputs,
                                             (struct ow_value *)outputs, &last);
}

void NAME(free)(void *data)
{
    free(data);
}

const char *NAME(last_error)(const NAME(model) *model)
{
    (void)model;
    return last.text;
}
