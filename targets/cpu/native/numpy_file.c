#include "numpy_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAGIC_BYTES = 6, SHORT_HEADER = 10, LONG_HEADER = 12, HEADER_ALIGNMENT = 64,
    LONGEST_HEADER = 1 << 20, DESCRIPTION_ROOM = 24
};
static const unsigned char magic[MAGIC_BYTES] = {0x93, 'N', 'U', 'M', 'P', 'Y'};

struct header {
    char description[DESCRIPTION_ROOM]; /* "<f4"; longer ones are cut */
    char kind;                  /* b, i, u, f, V; 0: something else */
    int bytes;                  /* of one element */
    int is_big_endian, is_fortran;
    int32_t rank;
    int64_t extents[OW_LARGEST_RANK];
};

int ow_is_npy(const unsigned char *bytes, uint64_t size)
{
    return size >= MAGIC_BYTES && memcmp(bytes, magic, MAGIC_BYTES) == 0;
}

void *ow_new_data(uint64_t bytes)
{
    if (bytes > (uint64_t)PTRDIFF_MAX / 2)
        return NULL;
    return aligned_alloc(64, ((size_t)bytes + 64) & ~(size_t)63);
}

static const char *skip_blanks(const char *text)
{
    while (*text == ' ' || *text == '\n' || *text == '\t')
        text++;
    return text;
}

/* Behind 'name': in the header's dictionary; NULL when it is not there. */
static const char *entry(const char *text, const char *name)
{
    const char *found = strstr(text, name);

    if (found == NULL || found == text || (found[-1] != '\'' && found[-1] != '"'))
        return NULL;
    found += strlen(name);
    if (*found != '\'' && *found != '"')
        return NULL;
    found = skip_blanks(found + 1);
    return *found == ':' ? skip_blanks(found + 1) : NULL;
}

/* Types that are not one letter and one digit are right, but none of ours: their kind is 0. */
static int parse_type(const char *text, struct header *header)
{
    size_t length = 0;
    char order;

    if (text == NULL || (*text != '\'' && *text != '"' && *text != '['))
        return 0;
    if (*text == '[') {
        (void)snprintf(header->description, sizeof header->description, "of a structure");
        return 1;
    }
    text++;
    while (text[length] != '\0' && text[length] != '\'' && text[length] != '"')
        length++;
    if (length == 0 || text[length] == '\0')
        return 0;
    (void)snprintf(header->description, sizeof header->description, "%.*s",
                   (int)(length < DESCRIPTION_ROOM ? length : DESCRIPTION_ROOM), text);
    order = *text;
    if (order == '<' || order == '>' || order == '|' || order == '=') {
        text++;
        length--;
    }
    header->is_big_endian = order == '>';
    if (length == 2 && text[1] >= '1' && text[1] <= '9') {
        header->kind = text[0];
        header->bytes = text[1] - '0';
    }
    return 1;
}

static int parse_extents(const char *text, struct header *header)
{
    char *end;
    long long extent;

    if (text == NULL || *text != '(')
        return 0;
    text = skip_blanks(text + 1);
    header->rank = 0;
    while (*text != ')') {
        if (header->rank == OW_LARGEST_RANK || *text < '0' || *text > '9')
            return 0;
        extent = strtoll(text, &end, 10);
        if (extent > INT64_MAX / 2)
            return 0;
        header->extents[header->rank++] = extent;
        if (*end == 'L')
            end++;
        text = skip_blanks(end);
        if (*text == ',')
            text = skip_blanks(text + 1);
        else if (*text != ')')
            return 0;
    }
    return 1;
}

/* The header of an array; where its data begins, or 0 when there is none. */
static uint64_t parse_header(const unsigned char *bytes, uint64_t size, struct header *header)
{
    uint64_t start = SHORT_HEADER, length;
    const char *order;
    char *text;
    int is_right;

    if (!ow_is_npy(bytes, size) || size < LONG_HEADER || bytes[6] < 1 || bytes[6] > 3)
        return 0;
    length = (uint64_t)bytes[8] | (uint64_t)bytes[9] << 8;
    if (bytes[6] > 1) {
        length |= (uint64_t)bytes[10] << 16 | (uint64_t)bytes[11] << 24;
        start = LONG_HEADER;
    }
    if (length > size - start || length > LONGEST_HEADER)
        return 0;
    text = malloc((size_t)length + 1);
    if (text == NULL)
        return 0;
    memcpy(text, bytes + start, (size_t)length);
    text[length] = '\0';
    order = entry(text, "fortran_order");
    header->is_fortran = order != NULL && strncmp(order, "True", 4) == 0;
    is_right = order != NULL && (header->is_fortran || strncmp(order, "False", 5) == 0) &&
               parse_type(entry(text, "descr"), header) &&
               parse_extents(entry(text, "shape"), header);
    free(text);
    return is_right ? start + length : 0;
}

static int32_t type_of(const struct header *header, int32_t wanted)
{
    static const struct {
        char kind;
        int bytes;
        int32_t type;
    } known[] = {
        {'b', 1, OW_BOOL},    {'i', 1, OW_INT8},    {'i', 2, OW_INT16},   {'i', 4, OW_INT32},
        {'i', 8, OW_INT64},   {'u', 1, OW_UINT8},   {'u', 2, OW_UINT16},  {'u', 4, OW_UINT32},
        {'u', 8, OW_UINT64},  {'f', 2, OW_FLOAT16}, {'f', 4, OW_FLOAT32}, {'f', 8, OW_FLOAT64},
    };
    size_t number;

    for (number = 0; number < sizeof known / sizeof known[0]; number++)
        if (known[number].kind == header->kind && known[number].bytes == header->bytes)
            return known[number].type;
    /* bfloat16 is two bytes of no type that NumPy has a name for. */
    return header->kind == 'V' && header->bytes == 2 && wanted == OW_BFLOAT16 ? OW_BFLOAT16 : 0;
}

static void swap_bytes(unsigned char *data, uint64_t bytes, uint64_t element)
{
    uint64_t place, low;
    unsigned char kept;

    for (place = 0; place + element <= bytes; place += element)
        for (low = 0; low < element / 2; low++) {
            kept = data[place + low];
            data[place + low] = data[place + element - 1 - low];
            data[place + element - 1 - low] = kept;
        }
}

/* Row-major from column-major order. */
static void transpose(unsigned char *to, const unsigned char *from, uint64_t element,
                      const struct header *header, uint64_t bytes)
{
    uint64_t strides[OW_LARGEST_RANK], stride = element, place, source = 0;
    int64_t index[OW_LARGEST_RANK] = {0};
    int32_t axis;

    for (axis = 0; axis < header->rank; axis++) {
        strides[axis] = stride;
        stride *= (uint64_t)header->extents[axis];
    }
    for (place = 0; place < bytes; place += element) {
        memcpy(to + place, from + source, (size_t)element);
        for (axis = header->rank - 1; axis >= 0; axis--) {
            source += strides[axis];
            if (++index[axis] < header->extents[axis])
                break;
            source -= strides[axis] * (uint64_t)header->extents[axis];
            index[axis] = 0;
        }
    }
}

int32_t ow_read_npy(const unsigned char *bytes, uint64_t size, int32_t wanted, const char *what,
                    struct ow_value *value, uint64_t *used, struct ow_message *message)
{
    struct header header;
    uint64_t start, count = 0;
    int32_t axis;

    memset(&header, 0, sizeof header);
    start = parse_header(bytes, size, &header);
    if (start == 0) {
        ow_say(message, "%s is no .npy file, or its header is damaged", what);
        return OW_INVALID;
    }
    value->type = type_of(&header, wanted);
    if (value->type == 0) {
        ow_say(message, "%s has elements of the NumPy type %s, which the model does not take; it "
               "takes %s", what, header.description, ow_type_name(wanted));
        return OW_INVALID;
    }
    value->rank = header.rank;
    for (axis = 0; axis < header.rank; axis++)
        value->extents[axis] = header.extents[axis];
    if (!ow_count_bytes(value->type, value->rank, value->extents, &count) ||
        count > size - start) {
        ow_say(message, "%s is cut off: it holds %llu bytes, less than its shape says", what,
               (unsigned long long)(size - start));
        return OW_INVALID;
    }
    value->data = ow_new_data(count);
    if (value->data == NULL) {
        ow_say(message, "there is no memory for %s: %llu bytes", what, (unsigned long long)count);
        return OW_LIMIT;
    }
    value->bytes = count;
    if (header.is_fortran && header.rank > 1)
        transpose(value->data, bytes + start, (uint64_t)header.bytes, &header, count);
    else if (count > 0)
        memcpy(value->data, bytes + start, (size_t)count);
    if (header.is_big_endian)
        swap_bytes(value->data, count, (uint64_t)header.bytes);
    *used = start + count;
    return OW_OK;
}

uint64_t ow_npy_header(char *header, const struct ow_value *value)
{
    static const char *const descriptions[] = {
        [OW_BOOL] = "|b1",    [OW_INT8] = "|i1",    [OW_INT16] = "<i2",    [OW_INT32] = "<i4",
        [OW_INT64] = "<i8",   [OW_UINT8] = "|u1",   [OW_UINT16] = "<u2",   [OW_UINT32] = "<u4",
        [OW_UINT64] = "<u8",  [OW_FLOAT16] = "<f2", [OW_BFLOAT16] = "<V2", [OW_FLOAT32] = "<f4",
        [OW_FLOAT64] = "<f8",
    };
    int used = SHORT_HEADER, axis;
    unsigned length;

    used += snprintf(header + used, OW_NPY_HEADER_ROOM - (size_t)used,
                     "{'descr': '%s', 'fortran_order': False, 'shape': (",
                     descriptions[value->type]);
    for (axis = 0; axis < value->rank; axis++)
        used += snprintf(header + used, OW_NPY_HEADER_ROOM - (size_t)used,
                         value->rank == 1 ? "%lld," : axis == 0 ? "%lld" : ", %lld",
                         (long long)value->extents[axis]);
    used += snprintf(header + used, OW_NPY_HEADER_ROOM - (size_t)used, "), }");
    while ((used + 1) % HEADER_ALIGNMENT != 0)
        header[used++] = ' ';
    header[used++] = '\n';
    memcpy(header, magic, MAGIC_BYTES);
    header[6] = 1;
    header[7] = 0;
    length = (unsigned)used - SHORT_HEADER;
    header[8] = (char)(length & 0xff);
    header[9] = (char)(length >> 8);
    return (uint64_t)used;
}
