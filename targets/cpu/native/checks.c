/* Whether tensors are what the model takes, and messages that say what is wrong. */
#include "checks.h"

#include <stdio.h>
#include <string.h>

enum { SHAPE_ROOM = 256 };

static const struct ow_description *const about = &ow_description;

static int32_t check_input(const struct ow_tensor *wanted, const struct ow_value *value,
                           struct ow_message *message)
{
    char expected[SHAPE_ROOM], found[SHAPE_ROOM];
    int32_t axis, is_wrong = value->type != wanted->type || value->rank != wanted->rank;

    for (axis = 0; axis < wanted->rank && !is_wrong; axis++)
        is_wrong = value->extents[axis] < 0 ||
                   (wanted->extents[axis] >= 0 && value->extents[axis] != wanted->extents[axis]);
    if (!is_wrong)
        return OW_OK;
    ow_show_shape(expected, sizeof expected, wanted->type, wanted->rank, wanted->extents,
                  wanted->extent_texts);
    if (value->rank < 0 || value->rank > OW_LARGEST_RANK)
        (void)snprintf(found, sizeof found, "a tensor of rank %d", (int)value->rank);
    else
        ow_show_shape(found, sizeof found, value->type, value->rank, value->extents, NULL);
    ow_say(message, "input '%s' is %s; %s takes %s", wanted->name, found, about->name, expected);
    return OW_INVALID;
}

int32_t ow_check_inputs(const struct ow_value *inputs, int64_t *given, struct ow_message *message)
{
    int32_t number, axis, status;

    for (number = 0; number < about->input_count; number++) {
        status = check_input(&about->inputs[number], &inputs[number], message);
        if (status != OW_OK)
            return status;
        for (axis = 0; axis < inputs[number].rank; axis++)
            *given++ = inputs[number].extents[axis];
    }
    return OW_OK;
}

int32_t ow_check_data(const struct ow_value *inputs, struct ow_message *message)
{
    const struct ow_tensor *wanted = about->inputs;
    uint64_t bytes, element;
    int32_t number;

    for (number = 0; number < about->input_count; number++) {
        element = ow_element_bytes(wanted[number].type);
        if (!ow_count_bytes(inputs[number].type, inputs[number].rank, inputs[number].extents,
                            &bytes)) {
            ow_say(message, "input '%s' is too large", wanted[number].name);
            return OW_LIMIT;
        }
        if (bytes == 0)
            continue;
        if (inputs[number].data == NULL || inputs[number].bytes < bytes) {
            ow_say(message, "input '%s' takes %llu bytes of data; there are %llu",
                   wanted[number].name, (unsigned long long)bytes,
                   inputs[number].data == NULL ? 0 : (unsigned long long)inputs[number].bytes);
            return OW_INVALID;
        }
        if ((uintptr_t)inputs[number].data % element != 0) {
            ow_say(message, "input '%s' has data that is not aligned to its elements of %d bytes",
                   wanted[number].name, (int)element);
            return OW_INVALID;
        }
    }
    return OW_OK;
}

int32_t ow_check_room(const struct ow_value *output, const char *name, uint64_t bytes,
                      struct ow_message *message)
{
    if (output->bytes < bytes) {
        ow_say(message, "output '%s' takes %llu bytes; there is room for %llu", name,
               (unsigned long long)bytes, (unsigned long long)output->bytes);
        return OW_INVALID;
    }
    if (bytes > 0 && (uintptr_t)output->data % ow_element_bytes(output->type) != 0) {
        ow_say(message, "output '%s' has memory that is not aligned to its elements of %d bytes",
               name, (int)ow_element_bytes(output->type));
        return OW_INVALID;
    }
    return OW_OK;
}

void ow_say_unfit(struct ow_message *message, int64_t failed, const struct ow_value *inputs)
{
    char found[SHAPE_ROOM], all[2 * SHAPE_ROOM] = "";
    size_t used = 0;
    int32_t number;

    for (number = 0; number < about->input_count && used < sizeof all; number++) {
        ow_show_shape(found, sizeof found, inputs[number].type, inputs[number].rank,
                      inputs[number].extents, NULL);
        (void)snprintf(all + used, sizeof all - used, "%s'%s' is %s", number > 0 ? ", " : "",
                       about->inputs[number].name, found);
        used = strlen(all);
    }
    ow_say(message, "these inputs do not fit %s: %s (%s)", about->name, about->checks[failed - 1],
           all);
}
