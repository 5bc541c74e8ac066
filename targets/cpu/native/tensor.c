/* Element types and shapes: their sizes and how they are shown. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "runtime.h"

static const struct {
    const char *name;
    uint64_t bytes;
} types[] = {
    [OW_BOOL] = {"bool", 1},         [OW_INT8] = {"int8", 1},       [OW_INT16] = {"int16", 2},
    [OW_INT32] = {"int32", 4},       [OW_INT64] = {"int64", 8},     [OW_UINT8] = {"uint8", 1},
    [OW_UINT16] = {"uint16", 2},     [OW_UINT32] = {"uint32", 4},   [OW_UINT64] = {"uint64", 8},
    [OW_FLOAT16] = {"float16", 2},   [OW_BFLOAT16] = {"bfloat16", 2},
    [OW_FLOAT32] = {"float32", 4},   [OW_FLOAT64] = {"float64", 8},
};

static int is_type(int32_t type)
{
    return type > 0 && (size_t)type < sizeof types / sizeof types[0] && types[type].name != NULL;
}

uint64_t ow_element_bytes(int32_t type)
{
    return is_type(type) ? types[type].bytes : 0;
}

const char *ow_type_name(int32_t type)
{
    return is_type(type) ? types[type].name : "unknown";
}

/* Not a number: what lies above infinity when the sign is left out. */
static uint64_t infinity_of(int32_t type)
{
    return type == OW_FLOAT16    ? 0x7c00
           : type == OW_BFLOAT16 ? 0x7f80
           : type == OW_FLOAT32  ? 0x7f800000
           : type == OW_FLOAT64  ? 0x7ff0000000000000
                                 : 0;
}

uint64_t ow_count_not_numbers(const struct ow_value *value)
{
    uint64_t infinity = infinity_of(value->type), width = ow_element_bytes(value->type);
    uint64_t place, element, found = 0;

    if (infinity == 0)
        return 0;
    for (place = 0; place + width <= value->bytes; place += width) {
        element = 0; /* systems that this is for keep the lowest byte first */
        memcpy(&element, (const unsigned char *)value->data + place, (size_t)width);
        found += (element & ((uint64_t)1 << (8 * width - 1)) - 1) > infinity;
    }
    return found;
}

int ow_count_bytes(int32_t type, int32_t rank, const int64_t *extents, uint64_t *bytes)
{
    uint64_t total = ow_element_bytes(type);
    int is_empty = 0;
    int32_t axis;

    for (axis = 0; axis < rank; axis++) {
        if (extents[axis] < 0)
            return 0;
        is_empty |= extents[axis] == 0;
    }
    for (axis = 0; axis < rank && !is_empty; axis++)
        if (__builtin_mul_overflow(total, (uint64_t)extents[axis], &total) || total >> 62 != 0)
            return 0;
    *bytes = is_empty ? 0 : total;
    return 1;
}

void ow_show_shape(char *text, size_t room, int32_t type, int32_t rank, const int64_t *extents,
                   const char *const *extent_texts)
{
    size_t used;
    int32_t axis;

    if (room == 0)
        return;
    (void)snprintf(text, room, "%s[", ow_type_name(type));
    for (axis = 0; axis < rank; axis++) {
        used = strlen(text);
        if (extent_texts != NULL)
            (void)snprintf(text + used, room - used, "%s%s", axis ? ", " : "", extent_texts[axis]);
        else
            (void)snprintf(text + used, room - used, "%s%lld", axis ? ", " : "",
                           (long long)extents[axis]);
    }
    used = strlen(text);
    (void)snprintf(text + used, room - used, "]");
}

void ow_say(struct ow_message *message, const char *format, ...)
{
    va_list arguments;

    if (message == NULL)
        return;
    va_start(arguments, format);
    (void)vsnprintf(message->text, sizeof message->text, format, arguments);
    va_end(arguments);
}
